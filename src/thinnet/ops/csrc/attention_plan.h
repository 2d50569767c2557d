// One call of `thinnet::attention` as plain numbers, so that the kernels know nothing of PyTorch.
#pragma once

#include <algorithm>
#include <cstdint>

#include "plan.h"

namespace thinnet {

// A tensor (batch, heads, rows, width): its strides in elements.
struct Rows {
  char* data = nullptr;
  int64_t batch = 0, head = 0, row = 0, element = 0;
};

enum class MaskType { none, boolean, f32, f64, bf16, f16 };

struct AttentionPlan {
  Dtype dtype;
  Rows q, k, v, y, dy, dq, dk, dv;  // the gradients in backward alone
  Rows mask;
  MaskType mask_type = MaskType::none;
  float* lse;          // (batch, heads, query rows), contiguous
  float* of_logits;    // (batch, heads, query rows, key rows), zeros, or none
  int64_t batch, heads, key_heads, queries, keys, width, value_width;
  int64_t total_queries;  // of all packed sequences; otherwise `queries`
  const int64_t *query_starts, *key_starts;  // of packed sequences, `batch + 1` each, or none
  const int64_t *first_query, *first_key;    // positions: none, or one for all samples, or one for each
  bool one_first_query, one_first_key;
  const float* head_scale;  // (batch, heads) or (1, heads), or none
  int64_t head_scale_stride;
  const int64_t* samples;   // none, or one from which the samples count on, or one for each
  bool one_sample;
  const int64_t* head_numbers;
  uint64_t seed;
  const int64_t* steps;     // none, or one for all samples, or one for each
  bool one_step;
  uint32_t site;
  int32_t threshold;
  float scale, kept_scale;
  int64_t left, right;
  bool renormalised, columns;
  int64_t parts;         // into how many parts the queries of a head are cut
  float* private_sums;   // with several parts: dk and dv of each, (tasks, keys, width + value_width)

  int64_t tasks() const { return batch * key_heads * parts; }
  int64_t group() const { return heads / key_heads; }
};

// A strip of queries meets a chunk of keys. 6 rows make a register tile; 48 columns are whole tiles and whole vectors.
constexpr int64_t kTileRows = 6, kStrip = 96, kChunk = 384, kColumns = 48;
constexpr int64_t kTileStride = kChunk + 16;  // no power of two, so that rows do not share cache sets
constexpr int64_t kLongest = 16;              // the most floats in a vector

constexpr int64_t padded(int64_t size, int64_t to) { return (size + to - 1) / to * to; }

// How many floats of memory a task needs: queries, what meets them, their sums, then keys and values of a chunk, then tiles.
inline int64_t scratch_floats(const AttentionPlan& plan, bool backward) {
  const int64_t rows = plan.group() * padded(plan.queries, kStrip);
  const int64_t width = padded(plan.width, kLongest), value_width = padded(plan.value_width, kLongest);
  const int64_t of_rows = rows * ((backward ? 2 : 1) * width + value_width + 4);
  const int64_t of_chunk = (kChunk + kTileRows) * (width + value_width) * (backward ? 3 : 2);
  return of_rows + of_chunk + 2 * kStrip * kTileStride + 16 * 64;
}

struct AttentionKernel {
  void (*forward)(const AttentionPlan&, int64_t task, float* scratch);
  void (*backward)(const AttentionPlan&, int64_t task, float* scratch);
  void (*reduce)(const AttentionPlan&, int64_t task);
};

#if defined(__x86_64__) || defined(_M_X64)
namespace avx512 { extern const AttentionKernel attention; }
namespace avx2 { extern const AttentionKernel attention; }
#endif
namespace baseline { extern const AttentionKernel attention; }

}  // namespace thinnet
