// Which compiled form of a kernel serves this processor.
#pragma once

#include <cstdint>

#include <torch/headeronly/util/Exception.h>

namespace thinnet {

enum class Isa { avx512, avx2, baseline };
enum Backend : int64_t { automatic = 0, only_avx512 = 1, only_avx2 = 2, only_baseline = 3 };

inline Isa choose_isa(int64_t backend) {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_cpu_init();
  const bool has512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool has2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has512 && (backend == automatic || backend == only_avx512)) return Isa::avx512;
  if (has2 && (backend == automatic || backend == only_avx2)) return Isa::avx2;
#endif
  STD_TORCH_CHECK(backend == automatic || backend == only_baseline,
                  "thinnet: backend must be one that this processor has. See thinnet.ops.backends().");
  return Isa::baseline;
}

inline Isa isa_of(int64_t backend) {
  static const Isa best = choose_isa(automatic);
  return backend == automatic ? best : choose_isa(backend);
}

}  // namespace thinnet
