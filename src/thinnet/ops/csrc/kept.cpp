// The units with the smallest numbers, in ascending order: `thinnet::smallest` on the CPU.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <tuple>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

namespace thinnet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Positive floats have the order of their bits. Equal numbers have the order of their units, as in a stable sort.
uint64_t key_of(float number, int64_t unit) { return uint64_t{std::bit_cast<uint32_t>(number)} << 32 | static_cast<uint64_t>(unit); }

// The least key that is not among the `count` smallest.
uint64_t bound_of(std::vector<uint64_t>& keys, int64_t count) {
  if (count >= static_cast<int64_t>(keys.size())) return ~uint64_t{0};
  std::nth_element(keys.begin(), keys.begin() + count, keys.end());
  return keys[count];
}

// Of each row of `numbers`, whose last one is for rounding: the `width` units with the smallest numbers, and whether each is
// among the `whole` smallest, or `whole + 1` where the last number is below `more`.
std::tuple<Tensor, Tensor> smallest(Tensor numbers, int64_t width, int64_t whole, double more) {
  STD_TORCH_CHECK(numbers.dim() == 2 && numbers.is_contiguous() && numbers.scalar_type() == ScalarType::Float,
                  "thinnet::smallest: numbers must be contiguous float32, (groups, units + 1)");
  const int64_t groups = numbers.size(0), units = numbers.size(1) - 1;
  STD_TORCH_CHECK(0 <= width && width <= units, "thinnet::smallest: width must be at most the number of units; got ", width);
  Tensor kept = torch::stable::new_empty(numbers, {groups, width}, ScalarType::Long);
  Tensor live = torch::stable::new_empty(numbers, {groups, width}, ScalarType::Bool);
  const auto* from = static_cast<const float*>(numbers.const_data_ptr());
  auto* to = static_cast<int64_t*>(kept.mutable_data_ptr());
  auto* alive = static_cast<bool*>(live.mutable_data_ptr());
  std::vector<uint64_t> keys(units);
  for (int64_t group = 0; group < groups; ++group, from += units + 1) {
    for (int64_t unit = 0; unit < units; ++unit) keys[unit] = key_of(from[unit], unit);
    const uint64_t bound = bound_of(keys, width), live_bound = bound_of(keys, whole + (from[units] < static_cast<float>(more)));
    for (int64_t unit = 0; unit < units; ++unit) {
      const uint64_t key = key_of(from[unit], unit);
      if (key < bound) *to++ = unit, *alive++ = key < live_bound;
    }
  }
  return {kept, live};
}

}  // namespace
}  // namespace thinnet

STABLE_TORCH_LIBRARY_IMPL(thinnet, CPU, m) { m.impl("smallest", TORCH_BOX(&thinnet::smallest)); }
