// One call of `thinnet::select_units` or `thinnet::drop_blocks` as plain numbers.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "address.h"

namespace thinnet {

// y = x scale where uniform noise is at least the rate, else 0, on a contiguous tensor as rows: in a row, `rate` and `scale` have one value, or one for each number.
struct UnitsPlan {
  const char* x;
  char* y;
  Dtype dtype;
  const float *rate, *scale;
  int64_t rate_step;  // 1, or 0 where a row has one value
  int64_t rows, length;
  std::vector<std::pair<int64_t, int64_t>> outer;  // the axes of the rows, innermost last: size, stride of `rate`
  int64_t sample_size;                             // numbers of a sample
  int64_t first;                                   // units of a sample before those of its numbers
  Address address;
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

constexpr int64_t kRowChunk = 4096;      // numbers of a row that a task takes
constexpr int64_t kBlockNumbers = 16384;  // positions of maps that a task takes, or one map

#if defined(__x86_64__) || defined(_M_X64)
namespace avx512 {
void select_units(const UnitsPlan&, int64_t, int64_t);
void drop_blocks(const BlocksPlan&, int64_t, int64_t);
}
namespace avx2 {
void select_units(const UnitsPlan&, int64_t, int64_t);
void drop_blocks(const BlocksPlan&, int64_t, int64_t);
}
#endif
namespace baseline {
void select_units(const UnitsPlan&, int64_t, int64_t);
void drop_blocks(const BlocksPlan&, int64_t, int64_t);
}

}  // namespace thinnet
