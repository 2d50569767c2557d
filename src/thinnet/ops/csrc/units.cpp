// From tensors to plans: noise and factors of units, and `thinnet::drop_blocks`, on the CPU.

#include <algorithm>
#include <optional>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include "arguments.h"
#include "dispatch.h"
#include "units_plan.h"

namespace thinnet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The axes of `rate` over x: how many of the last ones follow its memory (or all have one value), and the others.
void set_rows(UnitsPlan& plan, const Tensor& x, const Tensor& rate) {
  const int64_t axes = x.dim();
  int64_t axis = axes - 1;
  const auto stride = [&](int64_t d) { return x.size(d) == 1 ? 0 : rate.stride(d); };
  plan.rate_step = stride(axis) != 0, plan.length = x.size(axis);
  for (--axis; axis >= 1 && (x.size(axis) == 1 || stride(axis) == plan.rate_step * plan.length); --axis) plan.length *= x.size(axis);
  for (int64_t d = 0; d <= axis; ++d) plan.outer.emplace_back(x.size(d), stride(d)), plan.rows *= x.size(d);
}

UnitsPlan plan_of(UnitsRule rule, const Tensor& x, const Tensor& y, const Tensor& rate, const Tensor& scale, double base,
                  int64_t first, const Address& address) {
  const bool fits = x.is_contiguous() && x.dim() > 0 && rate.dim() == x.dim() && scale.dim() == x.dim() &&
                    rate.scalar_type() == ScalarType::Float && scale.scalar_type() == ScalarType::Float &&
                    x.scalar_type() != ScalarType::Double;
  STD_TORCH_CHECK(fits, "thinnet::select_units: x must be contiguous, with float32 rates and scales expanded to its shape");
  for (int64_t d = 0; d < x.dim(); ++d)
    STD_TORCH_CHECK(rate.size(d) == x.size(d) && scale.size(d) == x.size(d) && (x.size(d) == 1 || rate.stride(d) == scale.stride(d)),
                    "thinnet::select_units: rates and scales must be expanded alike");
  UnitsPlan plan{rule, static_cast<const char*>(x.const_data_ptr()), static_cast<char*>(y.mutable_data_ptr()), dtype_of(x),
                 static_cast<const float*>(rate.const_data_ptr()), static_cast<const float*>(scale.const_data_ptr()),
                 static_cast<float>(base), 0, 1, 1, {}, 1, first, address};
  set_rows(plan, x, rate);
  plan.sample_size = x.numel() / x.size(0);
  if (plan.outer.empty()) plan.sample_size = x.numel();  // one axis: one sample
  return plan;
}

void run(const UnitsPlan& plan) {
  const int64_t tasks = plan.rows * ((plan.length + kRowChunk - 1) / kRowChunk);
  const int64_t least = std::max<int64_t>(1, kBlockNumbers * tasks / (plan.rows * plan.length));
  const auto kernel = [&]() -> void (*)(const UnitsPlan&, int64_t, int64_t) {
    switch (isa_of(automatic)) {
#if defined(__x86_64__) || defined(_M_X64)
      case Isa::avx512: return avx512::for_units;
      case Isa::avx2: return avx2::for_units;
#endif
      default: return baseline::for_units;
    }
  }();
  torch::stable::parallel_for(0, tasks, least, [&](int64_t begin, int64_t end) { kernel(plan, begin, end); });
}

Tensor select_units(Tensor x, Tensor rate, Tensor scale, int64_t first, Tensor seed, Optional step, Optional site,
                    Optional samples) {
  Tensor y = torch::stable::empty_like(x);
  if (x.numel()) run(plan_of(UnitsRule::select, x, y, rate, scale, 0.0, first, address_of(seed, step, site, samples)));
  return y;
}

Tensor scale_units(Tensor x, Tensor scale) {
  Tensor y = torch::stable::empty_like(x);
  if (x.numel()) run(plan_of(UnitsRule::scale, x, y, scale, scale, 0.0, 0, Address{}));
  return y;
}

Tensor gaussian_units(Tensor x, Tensor scale, double base, Tensor seed, Optional step, Optional site, Optional samples) {
  Tensor y = torch::stable::empty_like(x);
  if (x.numel()) run(plan_of(UnitsRule::gaussian, x, y, scale, scale, base, 0, address_of(seed, step, site, samples)));
  return y;
}

Tensor drop_blocks(Tensor x, Tensor scale, int64_t threshold, std::vector<int64_t> block, bool shared, Tensor seed, Optional step,
                   Optional site, Optional samples) {
  Tensor y = torch::stable::empty_like(x);
  if (x.numel() == 0) return y;
  const int64_t axes = block.size();
  const bool fits = x.is_contiguous() && axes >= 1 && axes <= 3 && x.dim() == 2 + axes && scale.is_contiguous() &&
                    scale.scalar_type() == (x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float);
  STD_TORCH_CHECK(fits, "thinnet::drop_blocks: x must be contiguous, (N, C, ...), with a scale for each position of a map");
  BlocksPlan plan{static_cast<const char*>(x.const_data_ptr()), static_cast<char*>(y.mutable_data_ptr()), dtype_of(x),
                  scale.const_data_ptr(), static_cast<uint32_t>(threshold), x.size(0), x.size(1), shared, {1, 1, 1}, {1, 1, 1},
                  address_of(seed, step, site, samples)};
  for (int64_t d = 0; d < axes; ++d) {
    plan.map[3 - axes + d] = x.size(2 + d), plan.block[3 - axes + d] = block[d];
    STD_TORCH_CHECK(block[d] >= 1 && block[d] <= x.size(2 + d), "thinnet::drop_blocks: a block must fit into the map");
  }
  STD_TORCH_CHECK(scale.numel() == plan.size(), "thinnet::drop_blocks: scale must have one number for each position");
  const int64_t each = std::max<int64_t>(1, kBlockNumbers / plan.size());
  const int64_t tasks = plan.samples * (shared ? 1 : (plan.channels + each - 1) / each);
  const auto kernel = [&]() -> void (*)(const BlocksPlan&, int64_t, int64_t) {
    switch (isa_of(automatic)) {
#if defined(__x86_64__) || defined(_M_X64)
      case Isa::avx512: return avx512::drop_blocks;
      case Isa::avx2: return avx2::drop_blocks;
#endif
      default: return baseline::drop_blocks;
    }
  }();
  torch::stable::parallel_for(0, tasks, std::max<int64_t>(1, kBlockNumbers * tasks / x.numel()),
                              [&](int64_t begin, int64_t end) { kernel(plan, begin, end); });
  return y;
}

}  // namespace
}  // namespace thinnet

STABLE_TORCH_LIBRARY_IMPL(thinnet, CPU, m) {
  m.impl("select_units", TORCH_BOX(&thinnet::select_units));
  m.impl("scale_units", TORCH_BOX(&thinnet::scale_units));
  m.impl("gaussian_units", TORCH_BOX(&thinnet::gaussian_units));
  m.impl("drop_blocks", TORCH_BOX(&thinnet::drop_blocks));
}
