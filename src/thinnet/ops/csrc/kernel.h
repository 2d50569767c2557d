// The arithmetic of noise: plain loops, compiled once for each instruction set (kernel_*.cpp).
// src/thinnet/ops/reference.py defines the bits that these loops give.
//
// THINNET_ISA names the namespace, THINNET_WIDE counts the 64-bit numbers of a vector. Everything in here is internal to the
// file that includes it, so that no function compiled for a newer processor can be picked by the linker for an older one.

#include "isa.h"

namespace thinnet::THINNET_ISA {
namespace {

#include "philox.h"
#include "numbers.h"
#include "normal.h"

// ---- rules: what random bits do to a number ------------------------------------------------------------------------------

// kept: scale * x; dropped: zero, selected and not multiplied, so that inf and nan do not leak.
struct Scale {
  using Random = uint16_t;
  static constexpr int64_t kUnits = 128, kTogether = 1;  // units that sixteen blocks serve; how often that is drawn at a time
  int32_t threshold;
  float scale;

  template <int segments>
  void draw(const Stream& stream, uint32_t first_block, Random* random) const {
    Words words;
    draw_words(stream, first_block, words);
    std::memcpy(random, words.word, sizeof words.word);  // little endian: half 0 of a word comes first
  }
  template <class Number>
  Number apply(Random random, Number x) const {
    return int32_t{random} >= threshold ? x * Number{scale} : Number{0};
  }
};

// kept: scale * x + shift; dropped: a constant.
struct Affine : Scale {
  float shift, dropped;

  template <class Number>
  Number apply(Random random, Number x) const {
    return int32_t{random} >= threshold ? x * Number{scale} + Number{shift} : Number{dropped};
  }
};

// Odd multiples of 2^-23 in (-1, 1), exact in a float.
template <int count>
inline void uniform(const uint32_t* word, float* r) {
  for (int i = 0; i < count; ++i) r[i] = static_cast<float>(static_cast<int32_t>(word[i] >> 9) * 2 - 0x7FFFFF) * 0x1p-23f;
}

// Every unit is multiplied by 1 + width * noise(word).
template <bool gaussian>
struct Continuous {
  using Random = float;
  static constexpr int64_t kUnits = 64, kTogether = 2;
  float width;

  template <int segments>
  void draw(const Stream& stream, uint32_t first_block, Random* random) const {
    constexpr int kCount = segments * kUnits;
    Words words[segments];
    for (int i = 0; i < segments; ++i) draw_words(stream, first_block + i * kLanes, words[i]);
    const uint32_t* word = words[0].word[0];
    gaussian ? normal<kCount>(word, random) : uniform<kCount>(word, random);
    for (int i = 0; i < kCount; ++i) random[i] = 1.0f + width * random[i];
  }
  template <class Number>
  Number apply(Random random, Number x) const { return x * Number{random}; }
};

// ---- the walk: tiles of units times inner elements ---------------------------------------------------------------------

// The random bits, or noise, of `count` units from `first` on.
template <class Rule>
void draw_range(const Rule& rule, const Stream& stream, int64_t first, int64_t count, typename Rule::Random* random) {
  typename Rule::Random segment[Rule::kUnits];
  while (count > 0) {
    const int64_t skipped = first % Rule::kUnits, taken = std::min(Rule::kUnits - skipped, count);
    rule.template draw<1>(stream, static_cast<uint32_t>(first / Rule::kUnits * kLanes), segment);
    std::memcpy(random, segment + skipped, sizeof(typename Rule::Random) * taken);
    first += taken, random += taken, count -= taken;
  }
}

// y[i] = rule(random[i], x[i]): each element has its own. The rule comes by value, and `ivdep` says that y is x itself or
// apart from it. Otherwise a compiler must assume that writing y changes the rule or the next x.
template <class Rule, class Type>
void apply_each(const Rule rule, const typename Rule::Random* random, const typename Type::Stored* x, int64_t x_step,
                typename Type::Stored* y, int64_t y_step, int64_t count) {
  if (x_step == 1 && y_step == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) y[i] = Type::store(rule.apply(random[i], Type::load(x[i])));
  } else {
    for (int64_t i = 0; i < count; ++i)
      y[i * y_step] = Type::store(rule.apply(random[i], Type::load(x[i * x_step])));
  }
}

// y[i] = rule(random, x[i]): a run of elements with the same random bits.
template <class Rule, class Type>
void apply_run(const Rule rule, const typename Rule::Random random, const typename Type::Stored* x, int64_t x_step,
               typename Type::Stored* y, int64_t y_step, int64_t count) {
  if (x_step == 1 && y_step == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) y[i] = Type::store(rule.apply(random, Type::load(x[i])));
  } else {
    for (int64_t i = 0; i < count; ++i) y[i * y_step] = Type::store(rule.apply(random, Type::load(x[i * x_step])));
  }
}

template <class Rule, class Type>
class Walk {
  using Stored = typename Type::Stored;
  using Random = typename Rule::Random;

 public:
  Walk(const Plan& plan, const Tasks& tasks, const Rule& rule) : plan_(plan), tasks_(tasks), rule_(rule) {}

  void operator()(int64_t begin, int64_t end) const {
    for (int64_t task = begin; task < end; ++task) {
      int64_t rest = task;
      const int64_t inner = rest % tasks_.inner_chunks * tasks_.inner_chunk;
      rest /= tasks_.inner_chunks;
      const int64_t unit = rest % tasks_.unit_chunks * tasks_.unit_chunk;
      rest /= tasks_.unit_chunks;
      Place at{0, 0, plan_.offset, 0, 0};
      for (auto axis = plan_.outer.rbegin(); axis != plan_.outer.rend(); ++axis) {  // tasks follow each other in memory
        at.move(*axis, rest % axis->size);
        rest /= axis->size;
      }
      at.move(plan_.units, unit);
      at.move(plan_.inner, inner);
      tile(at, std::min(tasks_.unit_chunk, plan_.units.size - unit), std::min(tasks_.inner_chunk, plan_.inner.size - inner));
    }
  }

 private:
  struct Place {
    int64_t x, y, unit, sample, step;
    void move(const Axis& axis, int64_t by) {
      x += axis.x * by, y += axis.y * by, unit += axis.unit * by, sample += axis.sample * by, step += axis.step * by;
    }
  };

  Stream stream(const Place& at) const {
    const int64_t sample = (plan_.samples ? plan_.samples[at.sample * plan_.sample_stride] : at.sample) + plan_.first_sample;
    return {static_cast<uint32_t>(plan_.seed), static_cast<uint32_t>(plan_.seed >> 32), static_cast<uint32_t>(sample),
            plan_.steps ? static_cast<uint32_t>(plan_.steps[at.step * plan_.step_stride]) : plan_.step, plan_.site};
  }

  void tile(const Place& at, int64_t units, int64_t inners) const {
    const Stored* x = reinterpret_cast<const Stored*>(plan_.x) + at.x;
    Stored* y = reinterpret_cast<Stored*>(plan_.y) + at.y;
    if (plan_.inner.size == 1) {
      each(at, x, y, units);
    } else if (plan_.inner.shared()) {
      runs(at, x, y, units, inners);
    } else {
      transposed(at, x, y, units, inners);
    }
  }

  void each(const Place& at, const Stored* x, Stored* y, int64_t units) const {
    constexpr int64_t kWhole = Rule::kTogether * Rule::kUnits;
    const Stream from = stream(at);
    Random random[kWhole];
    for (int64_t done = 0; done < units;) {
      const int64_t skipped = (at.unit + done) % Rule::kUnits;
      const uint32_t block = static_cast<uint32_t>((at.unit + done) / Rule::kUnits * kLanes);
      if (skipped == 0 && units - done >= kWhole && plan_.units.x == 1 && plan_.units.y == 1) {
        rule_.template draw<Rule::kTogether>(from, block, random);
        // A copy first: compilers make masked loads of x, which wait for the random bits, and which no prefetcher follows.
        Stored read[kWhole];
        std::memcpy(read, x + done, sizeof read);
        apply_each<Rule, Type>(rule_, random, read, 1, y + done, 1, kWhole);  // lengths known to the compiler
        done += kWhole;
      } else {
        const int64_t taken = std::min(Rule::kUnits - skipped, units - done);
        rule_.template draw<1>(from, block, random);
        apply_each<Rule, Type>(rule_, random + skipped, x + done * plan_.units.x, plan_.units.x,
                               y + done * plan_.units.y, plan_.units.y, taken);
        done += taken;
      }
    }
  }

  void runs(const Place& at, const Stored* x, Stored* y, int64_t units, int64_t inners) const {
    Random random[kTileUnits];
    draw_range(rule_, stream(at), at.unit, units, random);
    for (int64_t u = 0; u < units; ++u)
      apply_run<Rule, Type>(rule_, random[u], x + u * plan_.units.x, plan_.inner.x, y + u * plan_.units.y, plan_.inner.y,
                              inners);
  }

  // The memory runs across the units (channels_last, transposed): draw along the units, apply along the memory.
  void transposed(Place at, const Stored* x, Stored* y, int64_t units, int64_t inners) const {
    Random drawn[kTileUnits], random[kTileUnits * kTileInner];
    for (int64_t i = 0; i < inners; ++i) {
      draw_range(rule_, stream(at), at.unit, units, drawn);
      for (int64_t u = 0; u < units; ++u) random[u * kTileInner + i] = drawn[u];
      at.move(plan_.inner, 1);
    }
    for (int64_t u = 0; u < units; ++u)
      apply_each<Rule, Type>(rule_, random + u * kTileInner, x + u * plan_.units.x, plan_.inner.x,
                             y + u * plan_.units.y, plan_.inner.y, inners);
  }

  const Plan& plan_;
  const Tasks& tasks_;
  const Rule rule_;
};

// ---- the way in: from numbers known at run time to loops compiled for them ---------------------------------------------

// What is known of a rule from its rate alone, in float32 and in this order (ops/reference.py has the same lines).
constexpr float kAlpha = 1.7580993408473766f;

template <class Type>
void apply_noise_type(const Plan& plan, const Tasks& tasks, int64_t begin, int64_t end) {
  const auto walk = [&](auto rule) { Walk<decltype(rule), Type>(plan, tasks, rule)(begin, end); };
  const float dropped = static_cast<float>(plan.threshold), kept = 65536.0f - dropped;
  switch (plan.kind) {
    case NoiseKind::inverted:
      return walk(Scale{plan.threshold, 65536.0f / kept});
    case NoiseKind::alpha: {
      const float p = dropped / 65536.0f, q = kept / 65536.0f;
      const float a = kept == 0.0f ? 0.0f : 1.0f / std::sqrt(q * (1.0f + p * (kAlpha * kAlpha)));
      if (plan.linear) return walk(Scale{plan.threshold, a});
      const float b = a * p * kAlpha;
      return walk(Affine{{plan.threshold, a}, b, b - a * kAlpha});
    }
    case NoiseKind::gaussian:
      return walk(Continuous<true>{std::sqrt(dropped / kept)});
    case NoiseKind::uniform:
      return walk(Continuous<false>{std::sqrt(3.0f * dropped / kept)});
  }
}

}  // namespace

void apply_noise(const Plan& plan, const Tasks& tasks, int64_t begin, int64_t end) {
  switch (plan.dtype) {
    case Dtype::f32: return apply_noise_type<Float32>(plan, tasks, begin, end);
    case Dtype::f64: return apply_noise_type<Float64>(plan, tasks, begin, end);
    case Dtype::bf16: return apply_noise_type<BFloat16>(plan, tasks, begin, end);
    case Dtype::f16: return apply_noise_type<Float16>(plan, tasks, begin, end);
  }
}

}  // namespace thinnet::THINNET_ISA
