// From tensors to plans: noise, factors and sums of units, and `thinnet::drop_blocks`, on the CPU.

#include <algorithm>
#include <optional>
#include <tuple>
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

constexpr int64_t kGroups = 16;       // of tasks, each with sums of its own
constexpr int64_t kLeastOfUnit = 16;  // numbers of a unit for which a group is worth its sums

// The axes of the units over x, by the strides of `rate`: how many of the last ones follow its memory (or all have one value),
// and the others.
void set_rows(UnitsPlan& plan, const Tensor& x, const std::vector<int64_t>& strides) {
  const int64_t axes = x.dim();
  int64_t axis = axes - 1;
  const auto stride = [&](int64_t d) { return x.size(d) == 1 ? 0 : strides[d]; };
  plan.rate_step = stride(axis) != 0, plan.length = x.size(axis);
  for (--axis; axis >= 1 && (x.size(axis) == 1 || stride(axis) == plan.rate_step * plan.length); --axis) plan.length *= x.size(axis);
  for (int64_t d = 0; d <= axis; ++d) plan.outer.emplace_back(x.size(d), stride(d)), plan.rows *= x.size(d);
}

UnitsPlan plan_of(UnitsRule rule, const Tensor& x, const std::vector<int64_t>& strides) {
  STD_TORCH_CHECK(x.is_contiguous() && x.dim() > 0 && x.scalar_type() != ScalarType::Double,
                  "thinnet::select_units: x must be contiguous, with an axis, and no float64");
  UnitsPlan plan{};
  plan.rule = rule, plan.dtype = dtype_of(x), plan.rows = 1, plan.groups = 1;
  plan.x = static_cast<const char*>(x.const_data_ptr());
  set_rows(plan, x, strides);
  plan.sample_size = plan.outer.empty() ? x.numel() : x.numel() / std::max<int64_t>(1, x.size(0));  // one axis: one sample
  return plan;
}

// The strides of rates or factors, which are expanded to the shape of x.
std::vector<int64_t> strides_of(const Tensor& x, const Tensor& rate) {
  bool fits = rate.dim() == x.dim() && rate.scalar_type() == ScalarType::Float;
  std::vector<int64_t> strides;
  for (int64_t d = 0; fits && d < x.dim(); ++d) fits = rate.size(d) == x.size(d), strides.push_back(rate.stride(d));
  STD_TORCH_CHECK(fits, "thinnet::select_units: x must be contiguous, with float32 rates and scales expanded to its shape");
  return strides;
}

void run(const UnitsPlan& plan) {
  const int64_t tasks = plan.sums ? plan.groups : plan.tasks();
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

// Runs a plan that sums by unit. The groups depend on sizes alone, and their sums are added in order: threads change no bit.
std::vector<double> summed(UnitsPlan& plan, int64_t units) {
  const int64_t numbers = plan.rows * plan.length;
  plan.units = units;
  plan.groups = std::clamp<int64_t>(numbers / (kLeastOfUnit * units), 1, std::min(kGroups, plan.tasks()));
  std::vector<double> sums(plan.groups * units);
  plan.sums = sums.data();
  run(plan);
  for (int64_t group = 1; group < plan.groups; ++group)
    for (int64_t unit = 0; unit < units; ++unit) sums[unit] += sums[group * units + unit];
  sums.resize(units);
  return sums;
}

Tensor select_units(Tensor x, Tensor rate, Tensor scale, int64_t first, Tensor seed, Optional step, Optional site,
                    Optional samples) {
  Tensor y = torch::stable::empty_like(x);
  UnitsPlan plan = plan_of(UnitsRule::select, x, strides_of(x, rate));
  const std::vector<int64_t> strides = strides_of(x, scale);
  for (int64_t d = 0; d < x.dim(); ++d)
    STD_TORCH_CHECK(x.size(d) == 1 || rate.stride(d) == strides[d], "thinnet::select_units: rates and scales must be expanded alike");
  plan.y = static_cast<char*>(y.mutable_data_ptr()), plan.first = first, plan.address = address_of(seed, step, site, samples);
  plan.rate = static_cast<const float*>(rate.const_data_ptr()), plan.scale = static_cast<const float*>(scale.const_data_ptr());
  if (x.numel()) run(plan);
  return y;
}

UnitsPlan plan_of_scale(UnitsRule rule, const Tensor& x, const Tensor& scale, const Tensor& y) {
  UnitsPlan plan = plan_of(rule, x, strides_of(x, scale));
  plan.scale = static_cast<const float*>(scale.const_data_ptr()), plan.y = static_cast<char*>(y.mutable_data_ptr());
  return plan;
}

Tensor scale_units(Tensor x, Tensor scale) {
  Tensor y = torch::stable::empty_like(x);
  if (x.numel()) run(plan_of_scale(UnitsRule::scale, x, scale, y));
  return y;
}

// Factors or sums with the normal number of each unit.
template <UnitsRule rule>
Tensor with_normal(Tensor x, Tensor scale, Tensor seed, Optional step, Optional site, Optional samples) {
  Tensor y = torch::stable::empty_like(x);
  UnitsPlan plan = plan_of_scale(rule, x, scale, y);
  plan.address = address_of(seed, step, site, samples);
  if (x.numel()) run(plan);
  return y;
}

// How many different values an expanded tensor has.
int64_t units_of(const Tensor& x, const std::vector<int64_t>& strides) {
  int64_t units = 1;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (strides[d] != 0) units *= x.size(d);
  return units;
}

std::tuple<Tensor, Tensor> gaussian_units_backward(Tensor gradient, Tensor x, Tensor scale, Tensor seed, Optional step,
                                                   Optional site, Optional samples) {
  STD_TORCH_CHECK(x.is_contiguous() && x.numel() == gradient.numel() && x.scalar_type() == gradient.scalar_type(),
                  "thinnet::gaussian_units_backward: x must be contiguous, as its gradient");
  Tensor y = torch::stable::empty_like(gradient);
  UnitsPlan plan = plan_of_scale(UnitsRule::learned, gradient, scale, y);
  plan.other = static_cast<const char*>(x.const_data_ptr());
  plan.address = address_of(seed, step, site, samples);
  const int64_t units = units_of(x, strides_of(x, scale));
  Tensor of_scale = torch::stable::new_empty(scale, {units});
  auto* to = static_cast<float*>(of_scale.mutable_data_ptr());
  const auto sums = x.numel() ? summed(plan, units) : std::vector<double>(units);
  std::transform(sums.begin(), sums.end(), to, [](double sum) { return static_cast<float>(sum); });
  return {y, of_scale};
}

// Sums by unit, in double; the units are those of a contiguous tensor of `shape`, which is expanded to that of x.
Tensor sum_units(Tensor x, std::vector<int64_t> shape, bool squares) {
  std::vector<int64_t> strides(x.dim());
  int64_t units = 1;
  STD_TORCH_CHECK(static_cast<int64_t>(shape.size()) == x.dim(), "thinnet::sum_units: shape must have the axes of x");
  for (int64_t d = x.dim() - 1; d >= 0; units *= shape[d--]) {
    STD_TORCH_CHECK(shape[d] == 1 || shape[d] == x.size(d), "thinnet::sum_units: an axis must have size one, or that of x");
    strides[d] = shape[d] == 1 ? 0 : units;
  }
  UnitsPlan plan = plan_of(squares ? UnitsRule::squares : UnitsRule::positive, x, strides);
  Tensor y = torch::stable::new_empty(x, {units}, ScalarType::Double);
  const auto sums = x.numel() ? summed(plan, units) : std::vector<double>(units);
  std::copy(sums.begin(), sums.end(), static_cast<double*>(y.mutable_data_ptr()));
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
  m.impl("gaussian_units", TORCH_BOX(&thinnet::with_normal<thinnet::UnitsRule::gaussian>));
  m.impl("gaussian_units_backward", TORCH_BOX(&thinnet::gaussian_units_backward));
  m.impl("add_gaussian", TORCH_BOX(&thinnet::with_normal<thinnet::UnitsRule::added>));
  m.impl("sum_units", TORCH_BOX(&thinnet::sum_units));
  m.impl("drop_blocks", TORCH_BOX(&thinnet::drop_blocks));
}
