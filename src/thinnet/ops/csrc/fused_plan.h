// One call of a fused operation as plain numbers.
#pragma once

#include <cstdint>

#include "address.h"

namespace thinnet {

// `relu_result` is the derivative of dropout(relu(x)) from its result.
enum class Activation : int64_t { none = 0, relu = 1, gelu = 2, gelu_tanh = 3, silu = 4, relu_result = 5 };

// y = dropout(activation(x + bias) gate) + residual on contiguous tensors, in float32, rounded once. Backward:
// y = dropout(gradient) gate activation'(x + bias), and the gradient of the gate, dropout(gradient) activation(x + bias).
struct ElementPlan {
  const char *x, *bias, *gate, *residual, *gradient;  // all but x may be none
  const int64_t* ids;  // the row of x that each row of the result is, or none
  char *y, *gate_gradient;
  Dtype dtype;
  Activation activation;
  int64_t count, width;  // numbers of the result, and of its last axis
  int64_t period;        // numbers of the bias, which repeats
  int64_t sample_size;   // numbers of a sample
  int32_t threshold;     // the rate in 65536ths
  bool draws;            // false where x is the result, which is zero where a number was dropped
  Address address;
};

// h = residual + dropout(x), y = norm(h) weight + bias over the last axis. Backward: the gradients of x, residual and weights.
struct NormPlan {
  const char *x, *residual, *weight, *bias, *gradient, *h_gradient;  // forward reads the first four; weights may be none
  char *y, *h;                      // backward reads h, and writes the gradient of x to y
  char* residual_gradient;
  float *weight_sums, *bias_sums;   // backward: (chunks, width)
  Dtype dtype;
  bool rms;                         // divides by the root of the mean square; no mean is subtracted
  float epsilon;
  int64_t rows, width, chunk;       // a chunk of rows is a task
  int64_t sample_rows;              // rows of a sample
  int32_t threshold;
  Address address;
};

// Rows of attention: logits whose dropped numbers become -inf, or weights that keep their sum without the dropped ones.
// A row that would lose everything stays as it is. Backward reads `kept`, which forward wrote, or for weights x.
struct RowsPlan {
  const char *x, *gradient;
  char* y;
  uint8_t* kept;  // for each row of logits, whether something is kept
  Dtype dtype;
  bool logits;
  int64_t rows, width, chunk, sample_rows;
  int32_t threshold;
  Address address;
};

constexpr int64_t kElementChunk = 16384;  // numbers of a task

#define THINNET_FUSED(isa)                                   \
  namespace isa {                                            \
  void fused(const ElementPlan&, int64_t, int64_t);          \
  void fused_norm(const NormPlan&, int64_t, int64_t);        \
  void drop_rows(const RowsPlan&, int64_t, int64_t);         \
  void fused_norm_backward(const NormPlan&, int64_t, int64_t); \
  }
#if defined(__x86_64__) || defined(_M_X64)
THINNET_FUSED(avx512)
THINNET_FUSED(avx2)
#endif
THINNET_FUSED(baseline)
#undef THINNET_FUSED

}  // namespace thinnet
