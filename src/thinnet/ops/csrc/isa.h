// Compiles the code between THINNET_TARGET and THINNET_TARGET_END for an instruction set. The standard headers come first,
// so that none of their functions is compiled for another processor.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "plan.h"

#define THINNET_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define THINNET_WIDTH_512  // Clang refuses a whole target that names the width
#define THINNET_TARGET(isa) THINNET_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define THINNET_TARGET_END THINNET_PRAGMA(clang attribute pop)
#else
#define THINNET_WIDTH_512 ",prefer-vector-width=512"
#define THINNET_TARGET(isa) THINNET_PRAGMA(GCC push_options) THINNET_PRAGMA(GCC target(isa))
#define THINNET_TARGET_END THINNET_PRAGMA(GCC pop_options)
#endif
