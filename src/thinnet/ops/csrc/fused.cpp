// From tensors to plans: `thinnet::fused`, `thinnet::fused_norm` and their derivatives on the CPU.

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
#include "fused_plan.h"

namespace thinnet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kMostChunks = 64, kNormChunk = 16384;  // chunks of rows; the fewest numbers of one

#if defined(__x86_64__) || defined(_M_X64)
#define THINNET_PICK(kernel) \
  (isa_of(automatic) == Isa::avx512 ? avx512::kernel : isa_of(automatic) == Isa::avx2 ? avx2::kernel : baseline::kernel)
#else
#define THINNET_PICK(kernel) baseline::kernel
#endif

int32_t threshold_of(const Tensor& rate) { return *static_cast<const int32_t*>(rate.const_data_ptr()); }

const char* data_of(const Optional& tensor) { return tensor ? static_cast<const char*>(tensor->const_data_ptr()) : nullptr; }

void check_alike(const Optional& tensor, const Tensor& x, int64_t count) {
  if (!tensor) return;
  STD_TORCH_CHECK(tensor->is_contiguous() && tensor->scalar_type() == x.scalar_type() && tensor->numel() == count,
                  "thinnet::fused: tensors must be contiguous and of one dtype, with ", count, " numbers");
}

ElementPlan plan_of(const Tensor& x, const Tensor& y, const Optional& ids, const Optional& bias, const Optional& gate,
                    const Optional& residual, int64_t activation, const Tensor& rate, const Address& address) {
  const int64_t count = y.numel();
  check_alike(x, x, ids ? x.numel() : count), check_alike(gate, x, count), check_alike(residual, x, count);
  check_alike(bias, x, bias ? bias->numel() : 0);
  STD_TORCH_CHECK(dtype_of(x) != Dtype::f64 && activation >= 0 && activation <= 5, "thinnet::fused: float64, or no activation");
  STD_TORCH_CHECK(!bias || (bias->numel() > 0 && count % bias->numel() == 0), "thinnet::fused: bias must repeat in x");
  const int64_t width = x.dim() ? x.size(x.dim() - 1) : 1;
  if (ids) {
    STD_TORCH_CHECK(ids->is_contiguous() && ids->scalar_type() == ScalarType::Long && x.dim() == 2 && count == ids->numel() * width,
                    "thinnet::fused: ids must be int64 and contiguous, and x the rows that they pick");
    const auto* at = static_cast<const int64_t*>(ids->const_data_ptr());
    for (int64_t i = 0; i < ids->numel(); ++i)
      STD_TORCH_CHECK(at[i] >= 0 && at[i] < x.size(0), "thinnet::fused: ids must be below ", x.size(0), "; got ", at[i]);
  }
  ElementPlan plan{};
  plan.x = data_of(x), plan.bias = data_of(bias), plan.gate = data_of(gate), plan.residual = data_of(residual);
  plan.ids = ids ? static_cast<const int64_t*>(ids->const_data_ptr()) : nullptr;
  plan.y = static_cast<char*>(y.mutable_data_ptr());
  plan.dtype = dtype_of(x);
  plan.draws = activation != static_cast<int64_t>(Activation::relu_result);
  plan.activation = plan.draws ? static_cast<Activation>(activation) : Activation::relu;
  plan.count = count, plan.width = width, plan.period = bias ? bias->numel() : 1;
  plan.sample_size = address.by_sample && y.dim() ? count / y.size(0) : count;
  plan.threshold = threshold_of(rate), plan.address = address;
  return plan;
}

void run(const ElementPlan& plan) {
  const auto kernel = THINNET_PICK(fused);
  const int64_t tasks = (plan.count + kElementChunk - 1) / kElementChunk;
  if (tasks == 1) return kernel(plan, 0, 1);
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) { kernel(plan, begin, end); });
}

Tensor fused(Tensor x, Optional ids, Optional bias, Optional gate, Optional residual, int64_t activation, Tensor rate, Tensor seed,
             Optional step, Optional site, Optional samples) {
  Tensor y = x;
  if (ids) {
    std::vector<int64_t> shape;
    for (int64_t d = 0; d < ids->dim(); ++d) shape.push_back(ids->size(d));
    shape.push_back(x.size(1));
    y = torch::stable::new_empty(x, shape);
  } else {
    y = torch::stable::empty_like(x);
  }
  if (y.numel() == 0) return y;
  run(plan_of(x, y, ids, bias, gate, residual, activation, rate, address_of(seed, step, site, samples)));
  return y;
}

std::tuple<Tensor, Tensor> fused_backward(Tensor gradient, Tensor x, Optional bias, Optional gate, int64_t activation, Tensor rate,
                                          Tensor seed, Optional step, Optional site, Optional samples) {
  Tensor y = torch::stable::empty_like(x);
  Tensor gate_gradient = gate ? torch::stable::empty_like(*gate) : torch::stable::new_empty(x, {0});
  if (x.numel() == 0) return {y, gate_gradient};
  check_alike(gradient, x, x.numel());
  ElementPlan plan =
      plan_of(x, y, std::nullopt, bias, gate, std::nullopt, activation, rate, address_of(seed, step, site, samples));
  plan.gradient = data_of(gradient);
  plan.gate_gradient = gate ? static_cast<char*>(gate_gradient.mutable_data_ptr()) : nullptr;
  run(plan);
  return {y, gate_gradient};
}

NormPlan norm_plan_of(const Tensor& x, const Optional& weight, const Optional& bias, double epsilon, bool rms, const Tensor& rate,
                      const Address& address) {
  STD_TORCH_CHECK(x.dim() > 0 && dtype_of(x) != Dtype::f64, "thinnet::fused_norm: x must have an axis, and not be float64");
  NormPlan plan{};
  plan.width = x.size(x.dim() - 1), plan.rows = x.numel() / plan.width;
  check_alike(x, x, x.numel()), check_alike(weight, x, plan.width), check_alike(bias, x, plan.width);
  plan.weight = data_of(weight), plan.bias = data_of(bias);
  plan.dtype = dtype_of(x), plan.rms = rms, plan.epsilon = static_cast<float>(epsilon);
  const int64_t least = std::max<int64_t>(1, kNormChunk / plan.width);
  plan.chunk = std::max(least, (plan.rows + kMostChunks - 1) / kMostChunks);
  plan.sample_rows = address.by_sample && x.dim() > 1 ? std::max<int64_t>(1, plan.rows / x.size(0)) : plan.rows;
  plan.threshold = threshold_of(rate), plan.address = address;
  return plan;
}

std::tuple<Tensor, Tensor> fused_norm(Tensor x, Tensor residual, Optional weight, Optional bias, double epsilon, bool rms, Tensor rate,
                                      Tensor seed, Optional step, Optional site, Optional samples) {
  Tensor y = torch::stable::empty_like(x), h = torch::stable::empty_like(x);
  if (x.numel() == 0) return {y, h};
  NormPlan plan = norm_plan_of(x, weight, bias, epsilon, rms, rate, address_of(seed, step, site, samples));
  check_alike(residual, x, x.numel());
  plan.x = data_of(x), plan.residual = data_of(residual);
  plan.y = static_cast<char*>(y.mutable_data_ptr()), plan.h = static_cast<char*>(h.mutable_data_ptr());
  const auto kernel = THINNET_PICK(fused_norm);
  const int64_t tasks = (plan.rows + plan.chunk - 1) / plan.chunk;
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) { kernel(plan, begin, end); });
  return {y, h};
}

// The sums of the chunks, in their order, whatever thread made them.
Tensor summed(const Tensor& sums, int64_t chunks, int64_t width, const Tensor& like) {
  auto* total = static_cast<float*>(sums.mutable_data_ptr());
  for (int64_t chunk = 1; chunk < chunks; ++chunk)
    for (int64_t i = 0; i < width; ++i) total[i] += total[chunk * width + i];
  return torch::stable::to(torch::stable::select(sums, 0, 0), like.scalar_type());
}

std::tuple<Tensor, Tensor, Tensor, Tensor> fused_norm_backward(Tensor gradient, Optional h_gradient, Tensor h, Optional weight,
                                                              double epsilon, bool rms, Tensor rate, Tensor seed, Optional step,
                                                              Optional site, Optional samples) {
  Tensor x_gradient = torch::stable::empty_like(h), residual_gradient = torch::stable::empty_like(h);
  const int64_t width = h.size(h.dim() - 1);
  if (h.numel() == 0) {
    Tensor zeros = torch::stable::new_zeros(h, {width});
    return {x_gradient, residual_gradient, zeros, zeros};
  }
  NormPlan plan = norm_plan_of(h, weight, std::nullopt, epsilon, rms, rate, address_of(seed, step, site, samples));
  check_alike(gradient, h, h.numel()), check_alike(h_gradient, h, h.numel());
  const int64_t tasks = (plan.rows + plan.chunk - 1) / plan.chunk;
  Tensor weight_sums = torch::stable::new_empty(h, {tasks, width}, ScalarType::Float);
  Tensor bias_sums = torch::stable::new_empty(h, {tasks, width}, ScalarType::Float);
  plan.h = static_cast<char*>(h.mutable_data_ptr()), plan.gradient = data_of(gradient), plan.h_gradient = data_of(h_gradient);
  plan.y = static_cast<char*>(x_gradient.mutable_data_ptr());
  plan.residual_gradient = static_cast<char*>(residual_gradient.mutable_data_ptr());
  plan.weight_sums = static_cast<float*>(weight_sums.mutable_data_ptr());
  plan.bias_sums = static_cast<float*>(bias_sums.mutable_data_ptr());
  const auto kernel = THINNET_PICK(fused_norm_backward);
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) { kernel(plan, begin, end); });
  return {x_gradient, residual_gradient, summed(weight_sums, tasks, width, h), summed(bias_sums, tasks, width, h)};
}

void run_rows(RowsPlan plan, const Tensor& x, const Tensor& y, const Tensor& rate) {
  STD_TORCH_CHECK(x.is_contiguous() && x.dim() > 0 && dtype_of(x) != Dtype::f64, "thinnet::drop_rows: x must be contiguous, and not float64");
  plan.y = static_cast<char*>(y.mutable_data_ptr()), plan.dtype = dtype_of(x);
  plan.width = x.size(x.dim() - 1), plan.rows = x.numel() / plan.width;
  plan.chunk = std::max<int64_t>(1, kNormChunk / plan.width);
  plan.sample_rows = plan.address.by_sample && x.dim() > 1 ? std::max<int64_t>(1, plan.rows / x.size(0)) : plan.rows;
  plan.threshold = threshold_of(rate);
  const auto kernel = THINNET_PICK(drop_rows);
  const int64_t tasks = (plan.rows + plan.chunk - 1) / plan.chunk;
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) { kernel(plan, begin, end); });
}

std::tuple<Tensor, Tensor> drop_rows(Tensor x, bool logits, Tensor rate, Tensor seed, Optional step, Optional site, Optional samples) {
  Tensor y = torch::stable::empty_like(x);
  const int64_t rows = x.numel() ? x.numel() / x.size(x.dim() - 1) : 0;
  Tensor kept = torch::stable::new_empty(x, {logits ? rows : 0}, ScalarType::Byte);
  if (x.numel() == 0) return {y, kept};
  RowsPlan plan{};
  plan.x = data_of(x), plan.logits = logits, plan.address = address_of(seed, step, site, samples);
  plan.kept = static_cast<uint8_t*>(kept.mutable_data_ptr());
  run_rows(plan, x, y, rate);
  return {y, kept};
}

Tensor drop_rows_backward(Tensor gradient, Tensor x, bool logits, Tensor rate, Tensor seed, Optional step, Optional site,
                          Optional samples) {
  Tensor y = torch::stable::empty_like(gradient);
  if (gradient.numel() == 0) return y;
  if (!logits) check_alike(x, gradient, gradient.numel());
  RowsPlan plan{};
  plan.gradient = data_of(gradient), plan.logits = logits, plan.address = address_of(seed, step, site, samples);
  plan.x = logits ? nullptr : data_of(x);
  plan.kept = logits ? static_cast<uint8_t*>(x.mutable_data_ptr()) : nullptr;
  run_rows(plan, gradient, y, rate);
  return y;
}

}  // namespace
}  // namespace thinnet

STABLE_TORCH_LIBRARY_IMPL(thinnet, CPU, m) {
  m.impl("fused", TORCH_BOX(&thinnet::fused));
  m.impl("fused_backward", TORCH_BOX(&thinnet::fused_backward));
  m.impl("fused_norm", TORCH_BOX(&thinnet::fused_norm));
  m.impl("drop_rows", TORCH_BOX(&thinnet::drop_rows));
  m.impl("drop_rows_backward", TORCH_BOX(&thinnet::drop_rows_backward));
  m.impl("fused_norm_backward", TORCH_BOX(&thinnet::fused_norm_backward));
}
