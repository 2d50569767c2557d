// The instructions that every processor of this architecture has: SSE2 on x86-64, NEON on arm64.
#include "update_plan.h"
#include "isa.h"
#define THINNET_ISA baseline
#define THINNET_WIDE 2
#include "update_kernel.h"
