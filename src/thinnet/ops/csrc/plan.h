// One call of the op as plain numbers, so that the kernels know nothing of PyTorch.
#pragma once

#include <cstdint>
#include <vector>

namespace thinnet {

enum class NoiseKind : int64_t { inverted = 0, alpha = 1, gaussian = 2, uniform = 3 };
enum class Dtype { f32, f64, bf16, f16 };

// One axis of the tensor: its strides in `x`, in `y`, in the units, in the samples and in the steps.
struct Axis {
  int64_t size = 1, x = 0, y = 0, unit = 0, sample = 0, step = 0;

  // Whether all elements along the axis have the same random bits.
  bool shared() const { return unit == 0 && sample == 0 && step == 0; }
};

// y[i] = rule(random(seed, site, step, sample(i), unit(i)), x[i]) for every index i of the axes.
// `units` is the axis along which the unit number grows by one; `inner` the one along which the memory of `y` does.
// Where these are the same axis, `inner` is left at its default of size one.
struct Plan {
  const char* x;
  char* y;
  Dtype dtype;
  NoiseKind kind;
  bool linear;         // the derivative of the rule in x: what backward applies
  int32_t threshold;   // the rate in 65536ths
  uint64_t seed;
  uint32_t step, site;
  const int64_t* samples;  // one id for each row, or none
  int64_t sample_stride;   // how far one id is from the next
  int64_t first_sample;    // added to `samples`, or to the row number where there are none
  const int64_t* steps;    // one step for each index of axis 0, or none: then it is `step`
  int64_t step_stride;
  int64_t offset;          // the unit number of the first element
  Axis units, inner;
  std::vector<Axis> outer;
};

// The largest tile that is not one run of units: kernels keep its random bits on the stack.
constexpr int64_t kTileUnits = 512, kTileInner = 16;

// How a plan is cut into tasks that any thread may take in any order.
struct Tasks {
  int64_t outer, unit_chunks, inner_chunks, unit_chunk, inner_chunk;
  int64_t count() const { return outer * unit_chunks * inner_chunks; }
};

using Kernel = void (*)(const Plan&, const Tasks&, int64_t begin, int64_t end);

#if defined(__x86_64__) || defined(_M_X64)
namespace avx512 { void apply_noise(const Plan&, const Tasks&, int64_t, int64_t); }
namespace avx2 { void apply_noise(const Plan&, const Tasks&, int64_t, int64_t); }
#endif
namespace baseline { void apply_noise(const Plan&, const Tasks&, int64_t, int64_t); }

}  // namespace thinnet
