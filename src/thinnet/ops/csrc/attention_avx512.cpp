#if defined(__x86_64__) || defined(_M_X64)
#include "attention_plan.h"
#include "isa.h"
THINNET_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi,bmi2" THINNET_WIDTH_512)
#define THINNET_ISA avx512
#define THINNET_WIDE 8
#include "attention_kernel.h"
THINNET_TARGET_END
#endif
