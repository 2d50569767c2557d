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

constexpr int together(UnitsRule rule) { return rule == UnitsRule::gaussian ? 2 : 1; }  // segments

template <class Type, UnitsRule rule, bool same>
void segment(const UnitsPlan& plan, const uint32_t* words, const typename Type::Stored* x, typename Type::Stored* y,
             const float* rate, const float* scale, int64_t count) {
  constexpr int kMost = together(rule) * kSegment;
  const Copied<typename Type::Stored, kMost> read(x, count);
  const float one_rate = rule == UnitsRule::select ? *rate : 0.0f, one_scale = *scale, base = plan.base;
  float z[kMost];
  if constexpr (rule == UnitsRule::gaussian) {
    if (count == kMost) {
      normal<kMost>(words, z);
    } else {
      uint32_t all[kMost] = {};
      std::memcpy(all, words, count * sizeof *words);
      normal<kMost>(all, z);
    }
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    const float number = Type::load(read.at[i]), factor = same ? one_scale : scale[i];
    if constexpr (rule == UnitsRule::gaussian) {
      y[i] = Type::store(number * (base + factor * ((1.0f + z[i]) - 1.0f)));  // z as `NoiseKey.normal` rounds it
    } else if constexpr (rule == UnitsRule::select) {
      y[i] = Type::store(uniform_of(words[i]) >= (same ? one_rate : rate[i]) ? number * factor : 0.0f);
    } else {
      y[i] = Type::store(factor != 0.0f ? number * factor : 0.0f);
    }
  }
}

template <class Type, UnitsRule rule>
void numbers(const UnitsPlan& plan, int64_t number, int64_t count, const float* rate, const float* scale) {
  const auto* x = reinterpret_cast<const typename Type::Stored*>(plan.x) + number;
  auto* y = reinterpret_cast<typename Type::Stored*>(plan.y) + number;
  const auto use = [&](const uint32_t* words, int64_t done, int64_t taken) {
    if (plan.rate_step == 0) {
      segment<Type, rule, true>(plan, words, x + done, y + done, rate, scale, taken);
    } else {
      segment<Type, rule, false>(plan, words, x + done, y + done, rate + done, scale + done, taken);
    }
  };
  if constexpr (rule == UnitsRule::scale) {
    for (int64_t done = 0; done < count; done += kSegment) use(nullptr, done, std::min(kSegment, count - done));
  } else {
    const int64_t sample = number / plan.sample_size, inside = number % plan.sample_size;
    const int64_t unit = (plan.address.by_sample ? 0 : sample * (plan.first + plan.sample_size)) + plan.first + inside;
    for_words<together(rule)>(stream_of(plan.address, sample), unit, count, use);
  }
}

template <class Type>
void unit_rows(const UnitsPlan& plan, int64_t begin, int64_t end) {
  const int64_t chunks = (plan.length + kRowChunk - 1) / kRowChunk;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t row = task / chunks, start = task % chunks * kRowChunk, count = std::min(kRowChunk, plan.length - start);
    int64_t at = start * plan.rate_step, rest = row;
    for (auto axis = plan.outer.rbegin(); axis != plan.outer.rend(); ++axis) {
      at += rest % axis->first * axis->second;
      rest /= axis->first;
    }
    const int64_t number = row * plan.length + start;
    switch (plan.rule) {
      case UnitsRule::select: numbers<Type, UnitsRule::select>(plan, number, count, plan.rate + at, plan.scale + at); break;
      case UnitsRule::scale: numbers<Type, UnitsRule::scale>(plan, number, count, nullptr, plan.scale + at); break;
      case UnitsRule::gaussian: numbers<Type, UnitsRule::gaussian>(plan, number, count, nullptr, plan.scale + at); break;
    }
  }
}

// ---- blocks -------------------------------------------------------------------------------------------------------------

// covered[i] |= the maximum over the window of a block, along every axis; the union of shifts doubles its width at each step.
// In front of each row and map there are zeros, as no block fits there, so a shift of the flat memory reads no other row.
void spread(uint8_t* covered, int64_t count, const BlocksPlan& plan) {
  for (int axis = 2; axis >= 0; --axis) {
    int64_t stride = 1;
    for (int behind = axis + 1; behind < 3; ++behind) stride *= plan.map[behind];
    for (int64_t width = 1; width < plan.block[axis];) {
      const int64_t step = std::min(width, plan.block[axis] - width), shift = step * stride;
#pragma GCC ivdep
      for (int64_t i = 0; i < count - shift; ++i) covered[i] |= covered[i + shift];
      width += step;
    }
  }
}

// The positions that blocks cover, of `maps` maps of one sample (or of several unaddressed ones) whose seeds begin at `unit`.
void cover(const BlocksPlan& plan, const Stream& stream, int64_t unit, int64_t maps, std::vector<uint8_t>& seeds,
           std::vector<uint8_t>& covered) {
  const int64_t size = plan.size();
  seeds.resize(maps * plan.seeds());
  for_words<1>(stream, unit, maps * plan.seeds(), [&](const uint32_t* words, int64_t done, int64_t taken) {
    uint8_t* to = seeds.data() + done;
    for (int64_t i = 0; i < taken; ++i) to[i] = (words[i] >> 9) < plan.threshold;
  });
  std::array<int64_t, 3> grid;
  for (int axis = 0; axis < 3; ++axis) grid[axis] = plan.map[axis] - plan.block[axis] + 1;
  const int64_t row = plan.map[2], plane = plan.map[1] * row;
  const int64_t tail = (plan.block[0] - 1) * plane + (plan.block[1] - 1) * row + plan.block[2] - 1;  // in front, and behind all
  covered.assign(maps * size + tail, 0);
  const uint8_t* from = seeds.data();
  for (int64_t map = 0; map < maps; ++map)
    for (int64_t i = 0; i < grid[0]; ++i)
      for (int64_t j = 0; j < grid[1]; ++j, from += grid[2])
        std::memcpy(covered.data() + map * size + tail + i * plane + j * row, from, grid[2]);
  spread(covered.data(), maps * size + tail, plan);
}

template <class Type>
void drop_type(const BlocksPlan& plan, int64_t begin, int64_t end) {
  using Number = typename Type::Number;
  const int64_t size = plan.size(), each = std::max<int64_t>(1, kBlockNumbers / size);
  const int64_t chunks = plan.shared ? 1 : (plan.channels + each - 1) / each;
  const auto* scale = static_cast<const Number*>(plan.scale);
  std::vector<uint8_t> seeds, covered;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t sample = task / chunks, channel = task % chunks * each;
    const int64_t maps = plan.shared ? 1 : std::min(each, plan.channels - channel), drawn = plan.shared ? 1 : plan.channels;
    const int64_t unit = ((plan.address.by_sample ? 0 : sample * drawn) + channel) * plan.seeds();
    cover(plan, stream_of(plan.address, sample), unit, maps, seeds, covered);
    const int64_t written = plan.shared ? plan.channels : maps, start = (sample * plan.channels + channel) * size;
    for (int64_t map = 0; map < written; ++map) {
      const auto* x = reinterpret_cast<const typename Type::Stored*>(plan.x) + start + map * size;
      auto* y = reinterpret_cast<typename Type::Stored*>(plan.y) + start + map * size;
      const uint8_t* out = covered.data() + (plan.shared ? 0 : map * size);
      for (int64_t done = 0; done < size; done += kSegment) {
        const int64_t taken = std::min(kSegment, size - done);
        const Copied<typename Type::Stored, kSegment> read(x + done, taken);
#pragma GCC ivdep
        for (int64_t i = 0; i < taken; ++i)
          y[done + i] = Type::store(out[done + i] ? Number{0} : Type::load(read.at[i]) * scale[done + i]);
      }
    }
  }
}

}  // namespace

void for_units(const UnitsPlan& plan, int64_t begin, int64_t end) {
  switch (plan.dtype) {
    case Dtype::f32: return unit_rows<Float32>(plan, begin, end);
    case Dtype::bf16: return unit_rows<BFloat16>(plan, begin, end);
    case Dtype::f16: return unit_rows<Float16>(plan, begin, end);
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
