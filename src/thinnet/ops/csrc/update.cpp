// From tensors to plans: `thinnet::sgd_` and `thinnet::adamw_` on the CPU.

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include "dispatch.h"
#include "update_plan.h"

namespace thinnet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;

constexpr int64_t kGrain = 16384;  // numbers a task

float* numbers_of(const Tensor& parameter, const Tensor& x) {
  const bool fits = x.dim() == 2 && x.is_contiguous() && x.scalar_type() == ScalarType::Float &&
                    x.size(0) == parameter.size(0) && x.size(1) == parameter.size(1);
  STD_TORCH_CHECK(fits, "thinnet::sgd_: a parameter and its state must be contiguous float32, (rows, columns)");
  return static_cast<float*>(x.mutable_data_ptr());
}

float* numbers_of(const Tensor& parameter, const Optional& x) { return x ? numbers_of(parameter, *x) : nullptr; }

const int64_t* places_of(const Tensor& index, int64_t some, int64_t count) {
  STD_TORCH_CHECK(index.is_contiguous() && index.numel() == some && index.scalar_type() == ScalarType::Long,
                  "thinnet::sgd_: an index must be contiguous int64 with a place for each row or column of the part");
  const auto* at = static_cast<const int64_t*>(index.const_data_ptr());
  for (int64_t i = 0; i < some; ++i)
    STD_TORCH_CHECK(at[i] >= 0 && at[i] < count, "thinnet::sgd_: an index must be below ", count, "; got ", at[i]);
  return at;
}

// `source` receives the row in the part of each row of the parameter, or -1.
Gradient gradient_of(const Tensor& parameter, const Tensor& part, const Optional& rows, const Optional& columns, bool maximize,
                     std::vector<int64_t>& source) {
  STD_TORCH_CHECK(part.dim() == 2 && part.is_contiguous() && part.scalar_type() == ScalarType::Float,
                  "thinnet::sgd_: a part must be contiguous float32, (some rows, some columns)");
  const int64_t count = parameter.size(0), width = parameter.size(1), some = part.size(1);
  STD_TORCH_CHECK((rows || part.size(0) == count) && (columns || some == width), "thinnet::sgd_: a part must have all rows and columns that no index chooses");
  source.assign(count, -1);
  const int64_t* at = rows ? places_of(*rows, part.size(0), count) : nullptr;
  for (int64_t r = 0; r < part.size(0); ++r) source[at ? at[r] : r] = r;
  return {static_cast<const float*>(part.const_data_ptr()), source.data(), columns ? places_of(*columns, some, width) : nullptr,
          some, width, maximize ? -1.0f : 1.0f};
}

template <class Plan>
using Kernel = void (*)(const Plan&, int64_t, int64_t);

template <class Plan>
void run(const Plan& plan, int64_t rows, Kernel<Plan> wide, Kernel<Plan> middle, Kernel<Plan> least) {
  const Isa isa = isa_of(automatic);
  const Kernel<Plan> kernel = isa == Isa::avx512 ? wide : isa == Isa::avx2 ? middle : least;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, plan.gradient.width));
  torch::stable::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) { kernel(plan, begin, end); });
}

#if defined(__x86_64__) || defined(_M_X64)
#define THINNET_KERNELS(name) avx512::name, avx2::name, baseline::name
#else
#define THINNET_KERNELS(name) baseline::name, baseline::name, baseline::name
#endif

void sgd(Tensor parameter, Optional buffer, Tensor part, Optional rows, Optional columns, double lr, double momentum,
         double dampening, double weight_decay, bool nesterov, bool maximize) {
  std::vector<int64_t> source;
  const SgdPlan plan{numbers_of(parameter, parameter), numbers_of(parameter, buffer),
                     gradient_of(parameter, part, rows, columns, maximize, source), static_cast<float>(lr),
                     static_cast<float>(momentum), static_cast<float>(1 - dampening), static_cast<float>(weight_decay), nesterov};
  run(plan, parameter.size(0), THINNET_KERNELS(sgd));
}

void adamw(Tensor parameter, Tensor mean, Tensor square, Optional largest, Tensor part, Optional rows, Optional columns,
           double step, double lr, double beta1, double beta2, double eps, double weight_decay, bool maximize) {
  std::vector<int64_t> source;
  const double correction1 = 1 - std::pow(beta1, step), correction2 = 1 - std::pow(beta2, step);
  const AdamPlan plan{numbers_of(parameter, parameter), numbers_of(parameter, mean), numbers_of(parameter, square),
                      numbers_of(parameter, largest), gradient_of(parameter, part, rows, columns, maximize, source),
                      static_cast<float>(1 - lr * weight_decay), static_cast<float>(beta2), static_cast<float>(1 - beta1),
                      static_cast<float>(1 - beta2), static_cast<float>(lr / correction1),
                      static_cast<float>(std::sqrt(correction2)), static_cast<float>(eps)};
  run(plan, parameter.size(0), THINNET_KERNELS(adamw));
}

}  // namespace
}  // namespace thinnet

STABLE_TORCH_LIBRARY_IMPL(thinnet, CPU, m) {
  m.impl("sgd_", TORCH_BOX(&thinnet::sgd));
  m.impl("adamw_", TORCH_BOX(&thinnet::adamw));
}
