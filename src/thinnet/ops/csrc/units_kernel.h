// Noise and factors of units, and dropout of blocks: plain loops, compiled once for each instruction set (units_*.cpp).
// They give the bits of `methods/elementwise/selection.py` and `methods/spatial/blocks.py`.

#include "isa.h"
#include "units_plan.h"

namespace thinnet::THINNET_ISA {
namespace {

#include "philox.h"
#include "numbers.h"
#include "normal.h"
#include "stream.h"

constexpr int64_t kSegment = 64;  // words of sixteen blocks

// Calls `use(words, done, taken)` for the words of `count` units from `first` on, up to `segments` at a time.
template <int segments, class Use>
void for_words(const Stream& stream, int64_t first, int64_t count, const Use& use) {
  Words words[segments];
  for (int64_t done = 0; done < count;) {
    const int64_t unit = first + done, skipped = unit % kSegment, taken = std::min(segments * kSegment - skipped, count - done);
    const uint32_t block = static_cast<uint32_t>(unit / kSegment * kLanes);
    for (int i = 0; i * kSegment < skipped + taken; ++i) draw_words(stream, block + i * kLanes, words[i]);
    use(&words[0].word[0][0] + skipped, done, taken);
    done += taken;
  }
}

// ---- a rate of each unit ------------------------------------------------------------------------------------------------

// u in (0, 1), as `NoiseKey.uniform` gives it: an odd multiple of 2^-24, exact.
inline float uniform_of(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 9) * 2 + 1) * 0x1p-24f; }

// At most so many numbers, copied. Otherwise compilers make masked loads, which wait for what selects, and which no prefetcher
// follows.
template <class Stored, int most>
struct Copied {
  Stored at[most];

  Copied(const Stored* x, int64_t count) {
    if (count == most) {
      std::memcpy(at, x, sizeof at);  // a length known to the compiler
    } else {
      std::memcpy(at, x, count * sizeof(Stored));
    }
  }
};

// Adds terms to the sums of their units: to one, or to one for each. In double, where hardly any order rounds differently.
template <bool same, class Term>
void add_terms(double* sums, const Term& term, int64_t count) {
  if constexpr (same) {
    constexpr int64_t kSide = 32;  // sums side by side, as each addition waits for the one before
    double side[kSide] = {}, rest = 0;
    const int64_t whole = count - count % kSide;
    for (int64_t i = 0; i < whole; i += kSide)
      for (int64_t j = 0; j < kSide; ++j) side[j] += static_cast<double>(term(i + j));
    for (int64_t i = whole; i < count; ++i) rest += static_cast<double>(term(i));
    for (int64_t width = kSide / 2; width > 0; width /= 2)
      for (int64_t j = 0; j < width; ++j) side[j] += side[j + width];
    *sums += side[0] + rest;
  } else {
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) sums[i] += static_cast<double>(term(i));
  }
}

constexpr bool draws_normal(UnitsRule rule) {
  return rule == UnitsRule::gaussian || rule == UnitsRule::added || rule == UnitsRule::learned;
}
constexpr int together(UnitsRule rule) { return draws_normal(rule) ? 2 : 4; }  // segments

// A place further on in what is there.
template <class Pointer>
inline Pointer behind(Pointer from, int64_t count) { return from ? from + count : nullptr; }

// Where the numbers of a row begin in each tensor.
template <class Type>
struct Numbers {
  const typename Type::Stored *x, *other;
  typename Type::Stored* y;
  const float *rate, *scale;
  double* sums;

  Numbers from(int64_t done, int64_t step) const {
    return {x + done, behind(other, done), y + done, behind(rate, done * step), scale + done * step, behind(sums, done * step)};
  }
};

// Up to as many numbers as are drawn together. `whole` says that they are as many, a length known to the compiler.
template <class Type, UnitsRule rule, bool same, bool whole>
void some_numbers(const uint32_t* words, const Numbers<Type>& at, int64_t several) {
  constexpr int kMost = together(rule) * kSegment;
  const int64_t count = whole ? kMost : several;
  const Copied<typename Type::Stored, kMost> read(at.x, count);
  const float one_rate = rule == UnitsRule::select ? *at.rate : 0.0f, one_scale = *at.scale;
  const float *rate = at.rate, *scale = at.scale;
  auto* y = at.y;
  float z[kMost];
  if constexpr (draws_normal(rule)) {
    if constexpr (whole) {
      normal<kMost>(words, z);
    } else {
      uint32_t all[kMost] = {};
      std::memcpy(all, words, count * sizeof *words);
      normal<kMost>(all, z);
    }
    for (int i = 0; i < kMost; ++i) z[i] = (1.0f + z[i]) - 1.0f;  // as `NoiseKey.normal` rounds it
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    const float number = Type::load(read.at[i]), factor = same ? one_scale : scale[i];
    if constexpr (rule == UnitsRule::gaussian || rule == UnitsRule::learned) {
      y[i] = Type::store(number * (1.0f + factor * z[i]));
    } else if constexpr (rule == UnitsRule::added) {
      y[i] = Type::store(number + factor * z[i]);
    } else if constexpr (rule == UnitsRule::select) {
      y[i] = Type::store(uniform_of(words[i]) >= (same ? one_rate : rate[i]) ? number * factor : 0.0f);
    } else {
      y[i] = Type::store(factor != 0.0f ? number * factor : 0.0f);
    }
  }
  if constexpr (rule == UnitsRule::learned) {
    const Copied<typename Type::Stored, kMost> other(at.other, count);
    add_terms<same>(at.sums, [&](int64_t i) { return Type::load(read.at[i]) * Type::load(other.at[i]) * z[i]; }, count);
  }
}

template <class Type, UnitsRule rule, bool same>
void numbers(const UnitsPlan& plan, int64_t number, int64_t count, const Numbers<Type>& at) {
  constexpr int64_t kMost = together(rule) * kSegment;
  const auto use = [&](const uint32_t* words, int64_t done, int64_t taken) {
    taken == kMost ? some_numbers<Type, rule, same, true>(words, at.from(done, !same), taken)
                   : some_numbers<Type, rule, same, false>(words, at.from(done, !same), taken);
  };
  if constexpr (rule == UnitsRule::squares) {
    add_terms<same>(at.sums, [x = at.x](int64_t i) { return Type::load(x[i]) * Type::load(x[i]); }, count);
  } else if constexpr (rule == UnitsRule::positive) {
    add_terms<same>(at.sums, [x = at.x](int64_t i) { return Type::load(x[i]) > 0.0f ? 1.0f : 0.0f; }, count);
  } else if constexpr (rule == UnitsRule::scale) {
    for (int64_t done = 0; done < count; done += kMost) use(nullptr, done, std::min(kMost, count - done));
  } else {
    const int64_t sample = number / plan.sample_size, inside = number % plan.sample_size;
    const int64_t unit = (plan.address.by_sample ? 0 : sample * (plan.first + plan.sample_size)) + plan.first + inside;
    for_words<together(rule)>(stream_of(plan.address, sample), unit, count, use);
  }
}

template <class Type, UnitsRule rule>
void unit_rows(const UnitsPlan& plan, int64_t begin, int64_t end, double* sums) {
  const int64_t chunks = (plan.length + kRowChunk - 1) / kRowChunk;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t row = task / chunks, start = task % chunks * kRowChunk, count = std::min(kRowChunk, plan.length - start);
    int64_t unit = start * plan.rate_step, rest = row;
    for (auto axis = plan.outer.rbegin(); axis != plan.outer.rend(); ++axis) {
      unit += rest % axis->first * axis->second;
      rest /= axis->first;
    }
    using Stored = typename Type::Stored;
    const int64_t number = row * plan.length + start;
    const Numbers<Type> at{reinterpret_cast<const Stored*>(plan.x) + number,
                           behind(reinterpret_cast<const Stored*>(plan.other), number),
                           behind(reinterpret_cast<Stored*>(plan.y), number),
                           behind(plan.rate, unit),
                           behind(plan.scale, unit),
                           behind(sums, unit)};
    if (plan.rate_step == 0) {
      numbers<Type, rule, true>(plan, number, count, at);
    } else {
      numbers<Type, rule, false>(plan, number, count, at);
    }
  }
}

// With sums, `begin` and `end` count groups of tasks, each of which has sums of its own.
template <class Type>
void run_rule(const UnitsPlan& plan, int64_t begin, int64_t end) {
  const int64_t tasks = plan.tasks();
  const auto groups = [&]<UnitsRule rule>() {
    for (int64_t group = begin; group < end; ++group)
      unit_rows<Type, rule>(plan, tasks * group / plan.groups, tasks * (group + 1) / plan.groups, plan.sums + group * plan.units);
  };
  switch (plan.rule) {
    case UnitsRule::select: return unit_rows<Type, UnitsRule::select>(plan, begin, end, nullptr);
    case UnitsRule::scale: return unit_rows<Type, UnitsRule::scale>(plan, begin, end, nullptr);
    case UnitsRule::gaussian: return unit_rows<Type, UnitsRule::gaussian>(plan, begin, end, nullptr);
    case UnitsRule::added: return unit_rows<Type, UnitsRule::added>(plan, begin, end, nullptr);
    case UnitsRule::learned: return groups.template operator()<UnitsRule::learned>();
    case UnitsRule::squares: return groups.template operator()<UnitsRule::squares>();
    case UnitsRule::positive: return groups.template operator()<UnitsRule::positive>();
  }
}

#include "units_blocks.h"

}  // namespace

void for_units(const UnitsPlan& plan, int64_t begin, int64_t end) {
  switch (plan.dtype) {
    case Dtype::f32: return run_rule<Float32>(plan, begin, end);
    case Dtype::bf16: return run_rule<BFloat16>(plan, begin, end);
    case Dtype::f16: return run_rule<Float16>(plan, begin, end);
    case Dtype::f64: return;  // refused before
  }
}

void drop_blocks(const BlocksPlan& plan, int64_t begin, int64_t end) {
  switch (plan.dtype) {
    case Dtype::f32: return drop_type<Float32>(plan, begin, end);
    case Dtype::f64: return drop_type<Float64>(plan, begin, end);
    case Dtype::bf16: return drop_type<BFloat16>(plan, begin, end);
    case Dtype::f16: return drop_type<Float16>(plan, begin, end);
  }
}

}  // namespace thinnet::THINNET_ISA
