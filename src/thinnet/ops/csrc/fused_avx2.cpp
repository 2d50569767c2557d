#if defined(__x86_64__) || defined(_M_X64)
#include "fused_plan.h"
#include "isa.h"
THINNET_TARGET("avx2,fma,bmi,bmi2")
#define THINNET_ISA avx2
#define THINNET_WIDE 4
#include "fused_kernel.h"
THINNET_TARGET_END
#endif
