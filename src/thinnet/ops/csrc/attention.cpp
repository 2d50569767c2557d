// From tensors to a plan of attention, and its tasks to the threads; registered as the CPU path of `thinnet::attention`.

#include <atomic>
#include <cmath>
#include <new>
#include <optional>
#include <tuple>
#include <vector>

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include "attention_plan.h"
#include "dispatch.h"

namespace thinnet {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;

constexpr int64_t kRenormalised = 1, kColumnsAlone = 2, kBackend = 4;  // ops/attention/settings.py

const AttentionKernel& kernel_of(int64_t options) {
  switch (isa_of(options / kBackend)) {
#if defined(__x86_64__) || defined(_M_X64)
    case Isa::avx512: return avx512::attention;
    case Isa::avx2: return avx2::attention;
#endif
    default: return baseline::attention;
  }
}

Rows rows_of(const Tensor& x) {
  return {static_cast<char*>(const_cast<void*>(x.const_data_ptr())), x.stride(0), x.stride(1), x.stride(2), x.stride(3)};
}

Dtype dtype_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case ScalarType::Float: return Dtype::f32;
    case ScalarType::BFloat16: return Dtype::bf16;
    case ScalarType::Half: return Dtype::f16;
    default: STD_TORCH_CHECK(false, "thinnet::attention: q must be float32, bfloat16 or float16");
  }
}

MaskType mask_type_of(const Tensor& mask) {
  switch (mask.scalar_type()) {
    case ScalarType::Bool: return MaskType::boolean;
    case ScalarType::Float: return MaskType::f32;
    case ScalarType::Double: return MaskType::f64;
    case ScalarType::BFloat16: return MaskType::bf16;
    case ScalarType::Half: return MaskType::f16;
    default: STD_TORCH_CHECK(false, "thinnet::attention: mask must be bool or floating-point");
  }
}

int64_t scalar(const Optional& x) { return x ? *static_cast<const int64_t*>(x->const_data_ptr()) : 0; }

const int64_t* integers(const Optional& x, std::vector<Tensor>& held) {
  if (!x) return nullptr;
  held.push_back(torch::stable::contiguous(*x));
  STD_TORCH_CHECK(x->scalar_type() == ScalarType::Long, "thinnet::attention: positions, starts and ids must be int64");
  return static_cast<const int64_t*>(held.back().const_data_ptr());
}

// Starts must ascend, or the kernel would leave the tensor.
int64_t longest(const int64_t* starts, int64_t count, int64_t rows) {
  int64_t most = 0;
  bool inside = starts[0] >= 0 && starts[count] <= rows;
  for (int64_t i = 0; i < count; ++i) {
    inside = inside && starts[i] <= starts[i + 1];
    most = std::max(most, starts[i + 1] - starts[i]);
  }
  STD_TORCH_CHECK(inside, "thinnet::attention: starts of packed sequences must ascend and end with the rows");
  return most;
}

// (batch, heads, rows, width) in which the heads of a row are neighbours.
Tensor rows_first(const Tensor& like, int64_t batch, int64_t heads, int64_t rows, int64_t width) {
  return torch::stable::transpose(torch::stable::new_empty(like, {batch, rows, heads, width}), 1, 2);
}

struct Call {
  AttentionPlan plan{};
  std::vector<Tensor> held;  // what the plan points into

  Call(const Tensor& q, const Tensor& k, const Tensor& v, const Optional& mask, const Tensor& rate, const Tensor& seed,
       const Optional& step, const Optional& site, const Optional& samples, const Optional& heads, const Optional& head_scale,
       const Optional& first_query, const Optional& first_key, const Optional& query_starts, const Optional& key_starts,
       double scale, int64_t left, int64_t right, int64_t options) {
    plan.dtype = dtype_of(q);
    plan.q = rows_of(q), plan.k = rows_of(k), plan.v = rows_of(v);
    plan.batch = q.size(0), plan.heads = q.size(1), plan.key_heads = k.size(1);
    plan.queries = plan.total_queries = q.size(2), plan.keys = k.size(2), plan.width = q.size(3), plan.value_width = v.size(3);
    if (query_starts) {
      plan.query_starts = integers(query_starts, held), plan.key_starts = integers(key_starts, held);
      plan.batch = query_starts->numel() - 1;
      STD_TORCH_CHECK(key_starts->numel() == query_starts->numel(), "thinnet::attention: starts must be of as many sequences");
      plan.queries = longest(plan.query_starts, plan.batch, q.size(2));
      plan.keys = longest(plan.key_starts, plan.batch, k.size(2));
    }
    if (mask) plan.mask = rows_of(*mask), plan.mask_type = mask_type_of(*mask);
    plan.first_query = integers(first_query, held), plan.one_first_query = first_query && first_query->numel() == 1;
    plan.first_key = integers(first_key, held), plan.one_first_key = first_key && first_key->numel() == 1;
    plan.samples = integers(samples, held), plan.one_sample = samples && samples->numel() == 1;
    plan.head_numbers = integers(heads, held);
    check_count(first_query, "positions of queries"), check_count(first_key, "positions of keys"), check_count(samples, "samples");
    check_count(step, "steps");
    STD_TORCH_CHECK(!heads || heads->numel() == plan.heads, "thinnet::attention: heads must be one for each head of q");
    if (head_scale) {
      held.push_back(torch::stable::contiguous(*head_scale));
      plan.head_scale = static_cast<const float*>(held.back().const_data_ptr());
      plan.head_scale_stride = head_scale->size(0) == 1 ? 0 : plan.heads;
      STD_TORCH_CHECK(head_scale->scalar_type() == ScalarType::Float && head_scale->size(1) == plan.heads &&
                          (head_scale->size(0) == 1 || head_scale->size(0) == plan.batch),
                      "thinnet::attention: head_scale must be float32, one for each sample and head");
    }
    plan.seed = static_cast<uint64_t>(scalar(seed));
    plan.steps = integers(step, held), plan.one_step = step && step->numel() == 1;
    plan.site = static_cast<uint32_t>(scalar(site));
    plan.threshold = *static_cast<const int32_t*>(rate.const_data_ptr());
    plan.kept_scale = plan.threshold == 65536 ? 0.0f : 65536.0f / (65536.0f - static_cast<float>(plan.threshold));
    plan.scale = static_cast<float>(scale), plan.left = left, plan.right = right;
    plan.renormalised = options & kRenormalised, plan.columns = options & kColumnsAlone;
    plan.parts = 1;
  }

  // Where there are fewer heads than threads, several threads share a head, each with some of the strips.
  void share(int64_t threads) {
    const int64_t strips = padded(plan.queries, kStrip) / kStrip, heads = plan.batch * plan.key_heads;
    if (!plan.query_starts && heads > 0 && heads < threads) plan.parts = std::min(strips, (threads + heads - 1) / heads);
    plan.parts = std::max<int64_t>(plan.parts, 1);
  }

 private:
  void check_count(const Optional& x, const char* name) const {
    STD_TORCH_CHECK(!x || x->numel() == 1 || x->numel() == plan.batch, "thinnet::attention: ", name,
                    " must be one, or one for each sample");
  }
};

struct Memory {
  explicit Memory(int64_t floats)
      : data(static_cast<float*>(::operator new(sizeof(float) * floats, std::align_val_t(64)))) {}
  ~Memory() { ::operator delete(data, std::align_val_t(64)); }
  Memory(const Memory&) = delete;
  float* data;
};

// Threads take the next task as soon as they are free: causal and packed tasks differ in length.
template <class Work>
void by_threads(int64_t tasks, int64_t floats, const Work& work) {
  std::atomic<int64_t> next{0};
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), tasks);
  const auto run = [&](int64_t begin, int64_t end) {
    if (begin == end) return;
    const Memory memory(floats);
    for (int64_t thread = begin; thread < end; ++thread)
      for (int64_t task = next++; task < tasks; task = next++) work(task, memory.data);
  };
  if (threads <= 1) return run(0, tasks > 0);
  torch::stable::parallel_for(0, threads, 1, run);
}

#define THINNET_ATTENTION_PARAMETERS                                                                                           \
  Optional mask, Tensor rate, Tensor seed, Optional step, Optional site, Optional samples, Optional heads, Optional head_scale, \
      Optional first_query, Optional first_key, Optional query_starts, Optional key_starts, double scale, int64_t left,        \
      int64_t right, int64_t options
#define THINNET_ATTENTION_ARGUMENTS                                                                                         \
  mask, rate, seed, step, site, samples, heads, head_scale, first_query, first_key, query_starts, key_starts, scale, left, \
      right, options

std::tuple<Tensor, Tensor> attention(Tensor q, Tensor k, Tensor v, THINNET_ATTENTION_PARAMETERS) {
  Call call(q, k, v, THINNET_ATTENTION_ARGUMENTS);
  AttentionPlan& plan = call.plan;
  Tensor y = rows_first(q, q.size(0), q.size(1), q.size(2), v.size(3));
  Tensor lse = torch::stable::new_empty(q, {q.size(0), q.size(1), q.size(2)}, ScalarType::Float);
  plan.y = rows_of(y), plan.lse = static_cast<float*>(lse.mutable_data_ptr());
  call.share(torch::stable::get_num_threads());
  const AttentionKernel& kernel = kernel_of(options);
  by_threads(plan.tasks(), scratch_floats(plan, false),
             [&](int64_t task, float* scratch) { kernel.forward(plan, task, scratch); });
  return {y, lse};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> attention_backward(Tensor dy, Tensor y, Tensor lse, Tensor q, Tensor k, Tensor v,
                                                              THINNET_ATTENTION_PARAMETERS, bool of_logits) {
  Call call(q, k, v, THINNET_ATTENTION_ARGUMENTS);
  AttentionPlan& plan = call.plan;
  Tensor dq = torch::stable::empty_like(q), dk = torch::stable::empty_like(k), dv = torch::stable::empty_like(v);
  std::vector<int64_t> shape{0};
  if (of_logits) shape = {q.size(0), q.size(1), q.size(2), k.size(2)};
  Tensor dz = torch::stable::new_zeros(q, shape, ScalarType::Float);
  Tensor sums = torch::stable::contiguous(lse);
  plan.dy = rows_of(dy), plan.y = rows_of(y), plan.dq = rows_of(dq), plan.dk = rows_of(dk), plan.dv = rows_of(dv);
  plan.lse = static_cast<float*>(sums.mutable_data_ptr());
  plan.of_logits = of_logits ? static_cast<float*>(dz.mutable_data_ptr()) : nullptr;
  call.share(torch::stable::get_num_threads());
  const bool shared = plan.parts > 1;
  const Memory sums_of_parts(shared ? plan.tasks() * plan.keys * (plan.width + plan.value_width) : 0);
  plan.private_sums = sums_of_parts.data;
  const AttentionKernel& kernel = kernel_of(options);
  by_threads(plan.tasks(), scratch_floats(plan, true),
             [&](int64_t task, float* scratch) { kernel.backward(plan, task, scratch); });
  if (shared) by_threads(plan.batch * plan.key_heads, 0, [&](int64_t head, float*) { kernel.reduce(plan, head); });
  return {dq, dk, dv, dz};
}

}  // namespace
}  // namespace thinnet

STABLE_TORCH_LIBRARY_IMPL(thinnet, CPU, m) {
  m.impl("attention", TORCH_BOX(&thinnet::attention));
  m.impl("attention_backward", TORCH_BOX(&thinnet::attention_backward));
}
