// One call of `thinnet::sgd_` or `thinnet::adamw_` as plain numbers.
#pragma once

#include <cstdint>
#include <vector>

namespace thinnet {

// A gradient that is zero outside some rows and columns.
struct Gradient {
  const float* part;       // (some rows, some columns)
  const int64_t* source;   // for each row of the whole: its row in the part, or -1
  const int64_t* columns;  // those of the part; all of them where it is null
  int64_t some, width;     // columns of the part, and of the whole
  float sign;              // -1 to maximize
};

struct SgdPlan {
  float *parameter, *buffer;  // the buffer is null without momentum
  Gradient gradient;
  float lr, momentum, fresh, decay;  // fresh: 1 - dampening
  bool nesterov;
};

struct AdamPlan {
  float *parameter, *mean, *square, *largest;  // largest: of the squares, null without amsgrad
  Gradient gradient;
  float shrink, beta2, rest1, rest2, size, root, eps;  // rest: 1 - beta; size: lr / correction 1; root: of correction 2
};

#define THINNET_UPDATES                          \
  void sgd(const SgdPlan&, int64_t, int64_t);    \
  void adamw(const AdamPlan&, int64_t, int64_t);

#if defined(__x86_64__) || defined(_M_X64)
namespace avx512 {
THINNET_UPDATES
}
namespace avx2 {
THINNET_UPDATES
}
#endif
namespace baseline {
THINNET_UPDATES
}

}  // namespace thinnet
