// Where the random bits of a whole tensor come from.
#pragma once

#include <cstdint>

#include "plan.h"

namespace thinnet {

// The address of noise without the unit. Axis 0 counts samples if it has `samples` or `first_sample`.
struct Address {
  uint64_t seed;
  uint32_t step, site;
  bool by_sample;
  const int64_t* samples;  // one id for each row, or none
  int64_t sample_stride, first_sample;
};

}  // namespace thinnet
