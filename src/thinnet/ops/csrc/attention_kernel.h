// Attention with dropout, forward and backward, for the heads of one task. src/thinnet/ops/attention/reference.py defines it.
//
// Strips of queries meet chunks of keys. Of a chunk, one pass over each row does everything between the products: scale, mask,
// maximum, exponential, sum, random bits and selection. Only the log-sum-exp of a row is kept for backward, which computes the
// weights again: the undropped ones for the gradient of the logits, the dropped ones for that of v.

namespace thinnet::THINNET_ISA {
namespace {

#include "philox.h"
#include "numbers.h"
#include "vector.h"
#include "product.h"
#include "attention_bits.h"
#include "attention_rows.h"
#include "attention_places.h"
#include "attention_task.h"

// Tiny weights would be denormal numbers, which are slow: this treats them as zeros while it lives.
class FlushToZero {
 public:
#if defined(__SSE2__)
  FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
  ~FlushToZero() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushToZero() {
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before_));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(before_ | (1ull << 24)));
  }
  ~FlushToZero() { __asm__ __volatile__("msr fpcr, %0" : : "r"(before_)); }

 private:
  uint64_t before_;
#endif
};

void forward(const AttentionPlan& plan, int64_t task, float* scratch) {
  const FlushToZero flush;
  Task(plan, task, scratch, false).forward();
}

void backward(const AttentionPlan& plan, int64_t task, float* scratch) {
  const FlushToZero flush;
  Task(plan, task, scratch, true).backward();
}

// Adds the sums of the parts of a key head in their order, whichever thread had them.
void reduce(const AttentionPlan& plan, int64_t head) {
  const FlushToZero flush;
  const int64_t b = head / plan.key_heads, kv = head % plan.key_heads, width = plan.width + plan.value_width;
  const StoreRow store = store_of(plan.dtype);
  for (int64_t r = 0; r < plan.keys; ++r) {
    float* const first = plan.private_sums + (head * plan.parts * plan.keys + r) * width;
    for (int64_t part = 1; part < plan.parts; ++part)
      for (int64_t i = 0; i < width; ++i) first[i] += first[part * plan.keys * width + i];
    const auto at = [&](const Rows& x) { return x.data + (b * x.batch + kv * x.head + r * x.row) * size_of(plan.dtype); };
    store(first, at(plan.dk), plan.dk.element, plan.width, kLn2);
    store(first + plan.width, at(plan.dv), plan.dv.element, plan.value_width, 1.0f);
  }
}

}  // namespace

extern const AttentionKernel attention;
const AttentionKernel attention{forward, backward, reduce};

}  // namespace thinnet::THINNET_ISA
