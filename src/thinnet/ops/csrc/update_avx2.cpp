#if defined(__x86_64__) || defined(_M_X64)
#include "update_plan.h"
#include "isa.h"
THINNET_TARGET("avx2,bmi,bmi2")
#define THINNET_ISA avx2
#define THINNET_WIDE 4
#include "update_kernel.h"
THINNET_TARGET_END
#endif
