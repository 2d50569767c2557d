// One call of an operation of units.cpp as plain numbers.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "address.h"

namespace thinnet {

constexpr int64_t kRowChunk = 4096;       // numbers of a row that a task takes
constexpr int64_t kBlockNumbers = 16384;  // positions of maps that a task takes, or one map

// What a rate or factor of each unit does to its number.
enum class UnitsRule {
  select,    // x scale where uniform noise is at least the rate, else 0
  scale,     // x scale, and 0 where the scale is 0, also for infinite x
  gaussian,  // x (1 + scale z), z standard normal
  added,     // x + scale z
  learned,   // `gaussian` of a gradient; other x z, summed by unit, is the gradient of the scale
  squares,   // nothing but the sums of x^2 by unit
  positive,  // nothing but the counts of x > 0 by unit
};

// A contiguous tensor as rows: in a row, `rate`, `scale` and `sums` have one value, or one for each number.
struct UnitsPlan {
  UnitsRule rule;
  const char *x, *other;
  char* y;
  Dtype dtype;
  const float *rate, *scale;
  double* sums;  // as many as there are units, for each group of tasks
  int64_t units, groups;
  int64_t rate_step;  // 1, or 0 where a row has one value
  int64_t rows, length;
  std::vector<std::pair<int64_t, int64_t>> outer;  // the axes of the rows, innermost last: size, stride of `scale`
  int64_t sample_size;                             // numbers of a sample
  int64_t first;                                   // units of a sample before those of its numbers
  Address address;

  int64_t tasks() const { return rows * ((length + kRowChunk - 1) / kRowChunk); }
};

// Maps of up to three axes; the channels of a sample may share their blocks.
struct BlocksPlan {
  const char* x;
  char* y;
  Dtype dtype;
  const void* scale;   // one for each position, float or (for double) double
  uint32_t threshold;  // a block is dropped where the upper 23 bits of its word are below
  int64_t samples, channels;
  bool shared;
  std::array<int64_t, 3> map, block;  // leading axes of a smaller map have size one
  Address address;

  int64_t size() const { return map[0] * map[1] * map[2]; }
  int64_t seeds() const { return (map[0] - block[0] + 1) * (map[1] - block[1] + 1) * (map[2] - block[2] + 1); }
};

#if defined(__x86_64__) || defined(_M_X64)
namespace avx512 {
void for_units(const UnitsPlan&, int64_t, int64_t);
void drop_blocks(const BlocksPlan&, int64_t, int64_t);
}
namespace avx2 {
void for_units(const UnitsPlan&, int64_t, int64_t);
void drop_blocks(const BlocksPlan&, int64_t, int64_t);
}
#endif
namespace baseline {
void for_units(const UnitsPlan&, int64_t, int64_t);
void drop_blocks(const BlocksPlan&, int64_t, int64_t);
}

}  // namespace thinnet
