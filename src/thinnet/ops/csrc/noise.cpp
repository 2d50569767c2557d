// From tensors to a plan, from a plan to the kernel of this processor; registered as the CPU path of `thinnet::apply_noise`.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include "dispatch.h"
#include "plan.h"

namespace thinnet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

Dtype dtype_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Float: return Dtype::f32;
    case ScalarType::Double: return Dtype::f64;
    case ScalarType::BFloat16: return Dtype::bf16;
    case ScalarType::Half: return Dtype::f16;
    default: STD_TORCH_CHECK(false, "thinnet::apply_noise: x must be float32, float64, bfloat16 or float16");
  }
}

int64_t scalar(const Tensor& tensor) { return *static_cast<const int64_t*>(tensor.const_data_ptr()); }

int64_t scalar_or_zero(const std::optional<Tensor>& tensor) { return tensor ? scalar(*tensor) : 0; }

// The strides of the unit number where every unit has its own noise: row-major, without the axes of steps and samples.
std::vector<int64_t> row_major(const Tensor& x, int64_t first) {
  std::vector<int64_t> units(x.dim(), 0);
  for (int64_t d = x.dim() - 1, stride = 1; d >= first; --d) units[d] = stride, stride *= x.size(d);
  return units;
}

// The axes of more than one element, outermost in the memory of `y` first, those that continue each other joined.
std::vector<Axis> axes_of(const Tensor& x, const Tensor& y, const std::vector<int64_t>& units, bool has_samples,
                          bool has_steps) {
  std::vector<Axis> axes;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (x.size(d) != 1)
      axes.push_back({x.size(d), x.stride(d), y.stride(d), units[d], has_samples && d == has_steps, has_steps && d == 0});
  std::stable_sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.y > b.y; });
  std::vector<Axis> joined;
  for (const Axis& axis : axes) {
    if (!joined.empty()) {
      Axis& last = joined.back();
      if (last.x == axis.x * axis.size && last.y == axis.y * axis.size && last.unit == axis.unit * axis.size &&
          last.sample == axis.sample * axis.size && last.step == axis.step * axis.size) {
        last = {last.size * axis.size, axis.x, axis.y, axis.unit, axis.sample, axis.step};
        continue;
      }
    }
    joined.push_back(axis);
  }
  return joined;
}

// Takes the axis of consecutive units and the axis of consecutive memory out of `axes`; the rest is outer.
void choose_axes(Plan& plan, std::vector<Axis> axes) {
  const auto units = std::find_if(axes.begin(), axes.end(), [](const Axis& axis) { return axis.unit == 1; });
  const bool dense = units != axes.end() && units + 1 == axes.end();
  if (!dense && !axes.empty()) {
    plan.inner = axes.back();
    if (units != axes.end()) plan.units = *units, axes.erase(units);
    axes.pop_back();
  } else if (dense) {
    plan.units = axes.back();
    axes.pop_back();
  }
  plan.outer = std::move(axes);
}

constexpr int64_t kUnitChunk = 4096, kRun = 16384, kElementsATask = 16384;

Tasks cut(const Plan& plan) {
  Tasks tasks{1, 1, 1, 1, 1};
  for (const Axis& axis : plan.outer) tasks.outer *= axis.size;
  const bool dense = plan.inner.size == 1, run = plan.inner.shared();
  tasks.unit_chunk = dense ? kUnitChunk : kTileUnits;
  tasks.inner_chunk = run ? kRun : kTileInner;
  if (run && !dense) tasks.unit_chunk = std::clamp<int64_t>(kElementsATask / plan.inner.size, 1, kTileUnits);
  tasks.unit_chunks = (plan.units.size + tasks.unit_chunk - 1) / tasks.unit_chunk;
  tasks.inner_chunks = (plan.inner.size + tasks.inner_chunk - 1) / tasks.inner_chunk;
  return tasks;
}

// `options` packs what would be three arguments: 2 bits of kind, 1 bit of linear, then the backend.
Kernel kernel_of(int64_t backend) {
  switch (isa_of(backend)) {
#if defined(__x86_64__) || defined(_M_X64)
    case Isa::avx512: return avx512::apply_noise;
    case Isa::avx2: return avx2::apply_noise;
#endif
    default: return baseline::apply_noise;
  }
}

void run(const Tensor& x, const Tensor& y, const Tensor& rate, const Tensor& seed, const std::optional<Tensor>& step,
         const std::optional<Tensor>& site, const std::optional<Tensor>& samples, std::vector<int64_t> units, int64_t options) {
  Plan plan{};
  plan.dtype = dtype_of(x);
  const int64_t count = x.numel();
  if (count == 0) return;
  plan.x = static_cast<const char*>(x.const_data_ptr());
  plan.y = static_cast<char*>(y.mutable_data_ptr());
  plan.kind = static_cast<NoiseKind>(options & 3);
  plan.linear = options & 4;
  plan.threshold = *static_cast<const int32_t*>(rate.const_data_ptr());
  plan.seed = static_cast<uint64_t>(scalar(seed));
  const bool has_steps = step && step->dim() == 1;
  if (has_steps) {
    STD_TORCH_CHECK(x.dim() > 0 && step->size(0) == x.size(0), "thinnet::apply_noise: steps must be one for each index of axis 0");
    plan.steps = static_cast<const int64_t*>(step->const_data_ptr());
    plan.step_stride = step->stride(0);
  } else {
    plan.step = static_cast<uint32_t>(scalar_or_zero(step));
  }
  plan.site = static_cast<uint32_t>(scalar_or_zero(site));
  if (samples && samples->numel() == 1) plan.first_sample = scalar(*samples);
  if (samples && samples->numel() > 1) {
    plan.samples = static_cast<const int64_t*>(samples->const_data_ptr());
    plan.sample_stride = samples->stride(0);
  }
  if (units.empty() && !samples && !has_steps && x.is_contiguous() && y.is_contiguous()) {
    plan.units = {count, 1, 1, 1, 0, 0};
  } else {
    if (units.empty()) {
      units = row_major(x, has_steps + samples.has_value());
    } else {
      plan.offset = units.back();
    }
    choose_axes(plan, axes_of(x, y, units, samples.has_value(), has_steps));
  }
  const Tasks tasks = cut(plan);
  const Kernel kernel = kernel_of(options >> 3);
  if (tasks.count() == 1) return kernel(plan, tasks, 0, 1);
  const int64_t least = std::max<int64_t>(1, kElementsATask * tasks.count() / count);
  torch::stable::parallel_for(0, tasks.count(), least,
                              [&](int64_t begin, int64_t end) { kernel(plan, tasks, begin, end); });
}

// `empty_like` of the stable ABI goes through the dispatcher; a contiguous tensor needs none.
Tensor allocate_like(const Tensor& x) {
  if (!x.is_contiguous()) return torch::stable::empty_like(x);
  int64_t *sizes, *strides;
  int32_t dtype;
  AtenTensorHandle y;
  const bool made = !aoti_torch_get_sizes(x.get(), &sizes) && !aoti_torch_get_strides(x.get(), &strides) &&
                    !aoti_torch_get_dtype(x.get(), &dtype) &&
                    !aoti_torch_empty_strided(x.dim(), sizes, strides, dtype, aoti_torch_device_type_cpu(), 0, &y);
  STD_TORCH_CHECK(made, "thinnet::apply_noise: no memory for the result");
  return Tensor(y);
}

Tensor apply_noise(Tensor x, Tensor rate, Tensor seed, std::optional<Tensor> step, std::optional<Tensor> site,
                   std::optional<Tensor> samples, std::vector<int64_t> units, int64_t options) {
  Tensor y = allocate_like(x);
  run(x, y, rate, seed, step, site, samples, std::move(units), options);
  return y;
}

void apply_noise_(Tensor x, Tensor rate, Tensor seed, std::optional<Tensor> step, std::optional<Tensor> site,
                  std::optional<Tensor> samples, std::vector<int64_t> units, int64_t options) {
  run(x, x, rate, seed, step, site, samples, std::move(units), options);
}

std::string path() {
  switch (isa_of(automatic)) {
    case Isa::avx512: return "avx512";
    case Isa::avx2: return "avx2";
    default: break;
  }
#if defined(__aarch64__)
  return "neon";
#else
  return "baseline";
#endif
}

}  // namespace
}  // namespace thinnet

STABLE_TORCH_LIBRARY_IMPL(thinnet, CPU, m) {
  m.impl("apply_noise", TORCH_BOX(&thinnet::apply_noise));
  m.impl("apply_noise_", TORCH_BOX(&thinnet::apply_noise_));
}

STABLE_TORCH_LIBRARY_IMPL(thinnet, CompositeExplicitAutograd, m) { m.impl("cpu_path", TORCH_BOX(&thinnet::path)); }
