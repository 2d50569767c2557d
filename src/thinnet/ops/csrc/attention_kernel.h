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

class Task {
 public:
  Task(const AttentionPlan& plan, int64_t task, float* scratch, bool backward)
      : plan_(plan), task_(task), part_(task % plan.parts), kv_(task / plan.parts % plan.key_heads),
        b_(task / plan.parts / plan.key_heads), group_(plan.group()), width_(padded(plan.width, kFloats)),
        value_width_(padded(plan.value_width, kFloats)), load_(load_of(plan.dtype)), store_(store_of(plan.dtype)) {
    if (plan.query_starts != nullptr) {
      query_row_ = plan.query_starts[b_], key_row_ = plan.key_starts[b_], batch_ = 0;
      queries_ = plan.query_starts[b_ + 1] - query_row_, keys_ = plan.key_starts[b_ + 1] - key_row_;
    } else {
      queries_ = plan.queries, keys_ = plan.keys, batch_ = b_;
    }
    first_query_ = plan.first_query ? plan.first_query[plan.one_first_query ? 0 : b_] : 0;
    first_key_ = plan.first_key ? plan.first_key[plan.one_first_key ? 0 : b_] : 0;
    const int64_t rows = group_ * padded(queries_, kStrip);
    const auto take = [&scratch](int64_t floats) {
      float* taken = scratch;
      scratch += padded(floats, kLongest);
      return taken;
    };
    q_ = take(rows * width_), out_ = take(rows * value_width_), most_ = take(rows), total_ = take(rows), whole_ = take(rows);
    k_ = take((kChunk + kTileRows) * width_), kt_ = take(kChunk * width_);
    v_ = take((kChunk + kTileRows) * value_width_), s_ = take(kStrip * kTileStride);
    if (backward) {
      dq_ = take(rows * width_), vt_ = take(kChunk * value_width_), ds_ = take(kStrip * kTileStride);
      dk_ = take((kChunk + kTileRows) * width_), dv_ = take((kChunk + kTileRows) * value_width_);
      std::fill(dq_, dq_ + rows * width_, 0.0f);
    }
  }

  void forward() {
    each_strip([&](int64_t g, int64_t strip, int64_t rows) {
      load_queries(g, strip, rows);
      std::fill(out_row(g, strip), out_row(g, strip + kStrip), 0.0f);
      std::fill_n(most_ + row(g, strip), kStrip, -kInfinity);
      std::fill_n(total_ + row(g, strip), kStrip, 0.0f);
    });
    for (chunk_ = 0; chunk_ < keys_; chunk_ += kChunk) {
      load_keys();
      load_rows(plan_.v, key_row_ + chunk_, count_, value_width_, plan_.value_width, 1.0f, v_);
      each_strip([&](int64_t g, int64_t strip, int64_t rows) {
        if (!meet(g, strip, rows)) return;
        for (int64_t r = 0; r < rows; ++r) forward_row(g, strip, r);
        product(groups_, value_width_, count_, {s_, kTileStride, 1}, {v_, kPanel, value_width_}, out_row(g, strip), value_width_,
                true, [&](int64_t i) { return spans_[i]; }, [&](int64_t) { return Span{0, value_width_}; });
      });
    }
    each_strip([&](int64_t g, int64_t strip, int64_t rows) {
      for (int64_t r = strip; r < strip + rows; ++r) {
        const float total = total_[row(g, r)], factor = total > 0 ? this->factor(g) / total : total;  // nan stays nan
        store_(out_row(g, r), element(plan_.y, head(g), query_row_ + r), plan_.y.element, plan_.value_width, factor);
        lse_of(g, r) = most_[row(g, r)] * kLn2 + std::log(total);
      }
    });
    each_dropped_head([&](int64_t g, int64_t r) {
      std::fill_n(s_, value_width_, 0.0f);
      store_(s_, element(plan_.y, head(g), query_row_ + r), plan_.y.element, plan_.value_width, 1.0f);
      lse_of(g, r) = 0;
    });
  }

  void backward() {
    each_strip([&](int64_t g, int64_t strip, int64_t rows) {
      load_queries(g, strip, rows);
      load_gradients(g, strip, rows);
    });
    for (chunk_ = 0; chunk_ < keys_; chunk_ += kChunk) {
      load_keys();
      load_rows(plan_.v, key_row_ + chunk_, count_, value_width_, plan_.value_width, 1.0f, v_);
      transpose(v_, padded(count_, kColumns), value_width_, vt_);
      std::fill(dk_, dk_ + (kChunk + kTileRows) * width_, 0.0f);
      std::fill(dv_, dv_ + (kChunk + kTileRows) * value_width_, 0.0f);
      each_strip([&](int64_t g, int64_t strip, int64_t rows) {
        if (meet(g, strip, rows)) backward_strip(g, strip, rows);
      });
      store_keys();
    }
    each_strip([&](int64_t g, int64_t strip, int64_t rows) {
      for (int64_t r = strip; r < strip + rows; ++r)
        store_(dq_ + row(g, r) * width_, element(plan_.dq, head(g), query_row_ + r), plan_.dq.element, plan_.width, plan_.scale);
    });
    each_dropped_head([&](int64_t g, int64_t r) {
      std::fill_n(s_, width_, 0.0f);
      store_(s_, element(plan_.dq, head(g), query_row_ + r), plan_.dq.element, plan_.width, 1.0f);
    });
  }

 private:
  // ---- where things are -------------------------------------------------------------------------------------------------

  int64_t head(int64_t g) const { return kv_ * group_ + g; }
  int64_t row(int64_t g, int64_t r) const { return g * padded(queries_, kStrip) + r; }
  float* out_row(int64_t g, int64_t r) const { return out_ + row(g, r) * value_width_; }
  float& lse_of(int64_t g, int64_t r) const {
    return plan_.lse[(batch_ * plan_.heads + head(g)) * plan_.total_queries + query_row_ + r];
  }

  char* element(const Rows& x, int64_t head, int64_t row) const {
    return x.data + (batch_ * x.batch + head * x.head + row * x.row) * size_of(plan_.dtype);
  }

  // What multiplies the output of a head: 0 drops it.
  float factor(int64_t g) const {
    const float of_head = plan_.head_scale ? plan_.head_scale[b_ * plan_.head_scale_stride + head(g)] : 1.0f;
    return plan_.renormalised ? of_head : of_head * plan_.kept_scale;
  }

  // The strips of this task, in the heads that are not dropped.
  template <class Work>
  void each_strip(const Work& work) {
    for (int64_t g = 0; g < group_; ++g) {
      if (factor(g) == 0) continue;
      for (int64_t strip = part_ * kStrip; strip < queries_; strip += plan_.parts * kStrip)
        work(g, strip, std::min(kStrip, queries_ - strip));
    }
  }

  template <class Work>
  void each_dropped_head(const Work& work) {
    for (int64_t g = 0; g < group_; ++g)
      for (int64_t r = 0; factor(g) == 0 && part_ == 0 && r < queries_; ++r) work(g, r);
  }

  // ---- memory in, memory out --------------------------------------------------------------------------------------------

  void load_rows(const Rows& x, int64_t first, int64_t count, int64_t padded_width, int64_t width, float factor, float* to,
                 int64_t head = -1) const {
    for (int64_t r = 0; r < count; ++r, to += padded_width) {
      load_(element(x, head < 0 ? kv_ : head, first + r), x.element, to, width, factor);
      std::fill(to + width, to + padded_width, 0.0f);
    }
  }

  // Queries come with the factor of the logits to the base 2; rows behind the last one are zeros.
  void load_queries(int64_t g, int64_t strip, int64_t rows) {
    float* const to = q_ + row(g, strip) * width_;
    load_rows(plan_.q, query_row_ + strip, rows, width_, plan_.width, plan_.scale * kLog2e, to, head(g));
    std::fill(to + rows * width_, to + padded(rows, kTileRows) * width_, 0.0f);
    for (int64_t r = strip; plan_.renormalised && plan_.threshold && r < strip + rows; ++r)
      whole_[row(g, r)] = loses_all(g, r) ? 1.0f : 0.0f;
  }

  // The gradient of the output, with the factor of its head, and what each row subtracts: its product with the output.
  void load_gradients(int64_t g, int64_t strip, int64_t rows) {
    float* const to = out_row(g, strip);
    load_rows(plan_.dy, query_row_ + strip, rows, value_width_, plan_.value_width, 1.0f, to, head(g));
    std::fill(to + rows * value_width_, to + padded(rows, kTileRows) * value_width_, 0.0f);
    for (int64_t r = 0; r < padded(rows, kTileRows); ++r) {
      float lse = 0, product = 0;
      if (r < rows) {
        load_rows(plan_.y, query_row_ + strip + r, 1, value_width_, plan_.value_width, 1.0f, s_, head(g));
        product = dot(to + r * value_width_, s_, value_width_);
        scale_row(to + r * value_width_, value_width_, factor(g));
        lse = lse_of(g, strip + r) * kLog2e;
      }
      most_[row(g, strip + r)] = lse == -kInfinity ? 0.0f : lse;
      total_[row(g, strip + r)] = product;
    }
  }

  void load_keys() {
    count_ = std::min(kChunk, keys_ - chunk_);
    load_rows(plan_.k, key_row_ + chunk_, count_, width_, plan_.width, 1.0f, k_);
    const int64_t whole = padded(count_, kColumns);
    std::fill(k_ + count_ * width_, k_ + whole * width_, 0.0f);
    std::fill(v_ + count_ * value_width_, v_ + whole * value_width_, 0.0f);
    transpose(k_, whole, width_, kt_);
    bits_of_ = -1;
  }

  void store_keys() {
    for (int64_t r = 0; r < count_; ++r) {
      const float *dk = dk_ + r * width_, *dv = dv_ + r * value_width_;
      if (plan_.parts > 1) {
        float* to = plan_.private_sums + (task_ * plan_.keys + chunk_ + r) * (plan_.width + plan_.value_width);
        std::copy(dk, dk + plan_.width, to);
        std::copy(dv, dv + plan_.value_width, to + plan_.width);
      } else {
        store_(dk, element(plan_.dk, kv_, key_row_ + chunk_ + r), plan_.dk.element, plan_.width, kLn2);
        store_(dv, element(plan_.dv, kv_, key_row_ + chunk_ + r), plan_.dv.element, plan_.value_width, 1.0f);
      }
    }
  }

  // ---- a strip of queries and a chunk of keys ----------------------------------------------------------------------------

  // The keys of the chunk that a query may attend to, as far as its position says.
  Span window(int64_t r) const {
    const int64_t ahead = first_query_ + r - first_key_ - chunk_;
    return {plan_.left < 0 ? 0 : std::clamp<int64_t>(ahead - plan_.left, 0, count_),
            plan_.right < 0 ? count_ : std::clamp<int64_t>(ahead + plan_.right + 1, 0, count_)};
  }

  // Computes the logits of a strip and a chunk; returns whether any query attends to any key.
  bool meet(int64_t g, int64_t strip, int64_t rows) {
    groups_ = padded(rows, kTileRows) / kTileRows;
    bool any = false;
    for (int64_t i = 0; i < groups_; ++i) {
      const Span first = window(strip + i * kTileRows), last = window(std::min(strip + i * kTileRows + kTileRows, strip + rows) - 1);
      spans_[i] = {first.begin / kColumns * kColumns, padded(last.end, kColumns)};
      any = any || first.begin < last.end;
    }
    if (!any) return false;
    product(groups_, padded(count_, kColumns), width_, {q_ + row(g, strip) * width_, width_, 1}, {kt_, kPanel * width_, kPanel},
            s_, kTileStride, false, [&](int64_t) { return Span{0, width_}; }, [&](int64_t i) { return spans_[i]; });
    if (plan_.threshold && bits_of_ != g) start_bits(g, chunk_);
    return true;
  }

  void start_bits(int64_t g, int64_t first) {
    const int64_t sample = (plan_.samples ? plan_.samples[plan_.one_sample ? 0 : b_] : 0) +
                           (plan_.samples && !plan_.one_sample ? 0 : b_);
    const int64_t number = plan_.head_numbers ? plan_.head_numbers[head(g)] : head(g);
    bits_.start(subkey(plan_.seed, plan_.site, static_cast<uint32_t>(number)), static_cast<uint32_t>(sample),
                plan_.steps ? static_cast<uint32_t>(plan_.steps[plan_.one_step ? 0 : b_]) : 0u, first_key_ + first);
    bits_of_ = g;
  }

  const uint16_t* random(int64_t r, const Span& span) {
    bits_.draw(plan_.columns ? 0u : static_cast<uint32_t>(first_query_ + r), span);
    return bits_.at(span.begin);
  }

  // The logits of a row with what masks add; -inf where it may not attend, and where DropKey drops.
  Span prepare_row(int64_t g, int64_t strip, int64_t r) {
    const Span span = spans_[r / kTileRows], inside = window(strip + r);
    float* const s = s_ + r * kTileStride;
    std::fill(s + span.begin, s + std::max(span.begin, std::min(inside.begin, span.end)), -kInfinity);
    std::fill(s + std::min(span.end, std::max(inside.end, span.begin)), s + span.end, -kInfinity);
    if (plan_.mask_type != MaskType::none && !inside.empty())
      add_mask(plan_, b_, head(g), strip + r, chunk_ + inside.begin, s + inside.begin, inside.end - inside.begin);
    if (plan_.threshold && plan_.renormalised && whole_[row(g, strip + r)] == 0.0f)
      drop_row(random(strip + r, span), plan_.threshold, s + span.begin, span.end - span.begin);
    return span;
  }

  void forward_row(int64_t g, int64_t strip, int64_t r) {
    const Span span = prepare_row(g, strip, r);
    float* const s = s_ + r * kTileStride + span.begin;
    const int64_t count = span.end - span.begin, at = row(g, strip + r);
    const float before = most_[at], most = std::max(before, largest_of(s, count));
    if (most == -kInfinity) return std::fill(s, s + count, 0.0f);
    const bool drops = plan_.threshold && !plan_.renormalised;
    const float total = drops ? weigh<true>(s, count, most, random(strip + r, span), plan_.threshold)
                              : weigh<false>(s, count, most, nullptr, 0);
    const float shrink = before == most ? 1.0f : exp2(broadcast(before - most))[0];
    if (shrink != 1.0f) scale_row(out_row(g, strip + r), value_width_, shrink);
    most_[at] = most, total_[at] = total_[at] * shrink + total;
  }

  void backward_strip(int64_t g, int64_t strip, int64_t rows) {
    const float *q = q_ + row(g, strip) * width_, *dy = out_row(g, strip);
    const auto span = [&](int64_t i) { return spans_[i]; };
    const auto all = [&](int64_t) { return Span{0, std::max(width_, value_width_)}; };
    product(groups_, padded(count_, kColumns), value_width_, {dy, value_width_, 1}, {vt_, kPanel * value_width_, kPanel}, ds_,
            kTileStride, false, all, span);
    const bool drops = plan_.threshold && !plan_.renormalised;
    for (int64_t r = 0; r < groups_ * kTileRows; ++r) {
      const bool real = r < rows;
      const Span part = real ? prepare_row(g, strip, r) : spans_[r / kTileRows];
      float *const s = s_ + r * kTileStride + part.begin, *const ds = ds_ + r * kTileStride + part.begin;
      const int64_t count = part.end - part.begin, at = row(g, strip + r);
      if (!real) {
        std::fill(s, s + count, 0.0f);
        std::fill(ds, ds + count, 0.0f);
      } else if (drops) {
        differentiate<true>(s, ds, count, most_[at], total_[at], random(strip + r, part), plan_.threshold);
      } else {
        differentiate<false>(s, ds, count, most_[at], total_[at], nullptr, 0);
      }
      if (real && plan_.of_logits) {
        const int64_t first = (b_ * plan_.heads + head(g)) * plan_.queries + strip + r;
        std::copy_n(ds, std::min(count, count_ - part.begin), plan_.of_logits + first * plan_.keys + chunk_ + part.begin);
      }
    }
    product(groups_, width_, count_, {ds_, kTileStride, 1}, {k_, kPanel, width_}, dq_ + row(g, strip) * width_, width_, true, span,
            all);
    const auto rows_of = [&](int64_t keys) { return rows_that_meet(keys * kTileRows); };
    const int64_t key_groups = padded(count_, kTileRows) / kTileRows, depth = groups_ * kTileRows;
    product(key_groups, value_width_, depth, {s_, 1, kTileStride}, {dy, kPanel, value_width_}, dv_, value_width_, true, rows_of,
            all);
    product(key_groups, width_, depth, {ds_, 1, kTileStride}, {q, kPanel, width_}, dk_, width_, true, rows_of, all);
  }

  // The rows of the strip whose span has a key. Spans begin and end later from row to row.
  Span rows_that_meet(int64_t key) const {
    int64_t begin = 0, end = groups_;
    while (begin < end && spans_[begin].end <= key) ++begin;
    while (end > begin && spans_[end - 1].begin > key) --end;
    return {begin * kTileRows, end * kTileRows};
  }

  // Whether a query would lose every key that it may attend to: then it loses none.
  bool loses_all(int64_t g, int64_t r) {
    alignas(64) float logits[kChunk];
    bool lost = true;
    for (chunk_ = 0; lost && chunk_ < keys_; chunk_ += kChunk) {
      count_ = std::min(kChunk, keys_ - chunk_);
      const Span inside = window(r);
      if (inside.empty()) continue;
      start_bits(g, chunk_);
      std::fill_n(logits, kChunk, -kInfinity);
      std::fill(logits + inside.begin, logits + inside.end, 0.0f);
      if (plan_.mask_type != MaskType::none)
        add_mask(plan_, b_, head(g), r, chunk_ + inside.begin, logits + inside.begin, inside.end - inside.begin);
      drop_row(random(r, {0, padded(count_, kColumns)}), plan_.threshold, logits, padded(count_, kColumns));
      lost = largest_of(logits, padded(count_, kColumns)) == -kInfinity;
    }
    return lost;
  }

  const AttentionPlan& plan_;
  const int64_t task_, part_, kv_, b_, group_, width_, value_width_;
  const LoadRow load_;
  const StoreRow store_;
  int64_t query_row_ = 0, key_row_ = 0, batch_, queries_, keys_, first_query_, first_key_;
  int64_t chunk_ = 0, count_ = 0, groups_ = 0, bits_of_ = -1;
  float *q_, *out_, *most_, *total_, *whole_, *k_, *kt_, *v_, *s_;
  float *dq_ = nullptr, *vt_ = nullptr, *ds_ = nullptr, *dk_ = nullptr, *dv_ = nullptr;
  Span spans_[kStrip / kTileRows];
  WeightBits bits_;
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
