// Steps of SGD and AdamW with a gradient that is zero outside some rows and columns: plain loops, compiled once for each
// instruction set (update_*.cpp). Every number is updated; the zeros of the gradient are neither stored nor read.

#include "isa.h"
#include "update_plan.h"

namespace thinnet::THINNET_ISA {
namespace {

// Calls `update(first, gradient)` for rows; the gradient is null where a row has none.
template <class Update>
void for_rows(const Gradient& gradient, int64_t begin, int64_t end, const Update& update) {
  std::vector<float> row(gradient.columns ? gradient.width : 0);
  for (int64_t r = begin; r < end; ++r) {
    const int64_t first = r * gradient.width, source = gradient.source[r];
    if (source < 0) {
      update(first, static_cast<const float*>(nullptr));
      continue;
    }
    const float* part = gradient.part + source * gradient.some;
    if (!gradient.columns) {
      update(first, part);
      continue;
    }
    for (int64_t c = 0; c < gradient.some; ++c) row[gradient.columns[c]] = part[c];
    update(first, row.data());
  }
}

struct Zero {
  float operator[](int64_t) const { return 0; }
};

template <class Row>
void sgd_row(const SgdPlan& plan, int64_t first, Row gradient) {
  float* __restrict p = plan.parameter + first;
  const float lr = plan.lr, momentum = plan.momentum, fresh = plan.fresh, decay = plan.decay, sign = plan.gradient.sign;
  const bool nesterov = plan.nesterov;
  if (!plan.buffer) {
    for (int64_t i = 0; i < plan.gradient.width; ++i) {
      const float g = sign * gradient[i] + (decay != 0 ? decay * p[i] : 0);
      p[i] -= lr * g;
    }
    return;
  }
  float* __restrict buffer = plan.buffer + first;
  for (int64_t i = 0; i < plan.gradient.width; ++i) {
    const float g = sign * gradient[i] + (decay != 0 ? decay * p[i] : 0);
    const float b = momentum * buffer[i] + fresh * g;
    buffer[i] = b;
    p[i] -= lr * (nesterov ? g + momentum * b : b);
  }
}

template <class Row>
void adamw_row(const AdamPlan& plan, int64_t first, Row gradient) {
  float* __restrict p = plan.parameter + first;
  float* __restrict mean = plan.mean + first;
  float* __restrict square = plan.square + first;
  const float shrink = plan.shrink, beta2 = plan.beta2, rest1 = plan.rest1, rest2 = plan.rest2, sign = plan.gradient.sign;
  const float size = plan.size, root = plan.root, eps = plan.eps;
  if (float* __restrict largest = plan.largest ? plan.largest + first : nullptr) {
    for (int64_t i = 0; i < plan.gradient.width; ++i) {
      const float g = sign * gradient[i], m = mean[i] + rest1 * (g - mean[i]), v = beta2 * square[i] + rest2 * g * g;
      const float most = v > largest[i] ? v : largest[i];
      mean[i] = m, square[i] = v, largest[i] = most;
      p[i] = shrink * p[i] - size * m / (std::sqrt(most) / root + eps);
    }
    return;
  }
  for (int64_t i = 0; i < plan.gradient.width; ++i) {
    const float g = sign * gradient[i], m = mean[i] + rest1 * (g - mean[i]), v = beta2 * square[i] + rest2 * g * g;
    mean[i] = m, square[i] = v;
    p[i] = shrink * p[i] - size * m / (std::sqrt(v) / root + eps);
  }
}

}  // namespace

void sgd(const SgdPlan& plan, int64_t begin, int64_t end) {
  for_rows(plan.gradient, begin, end, [&](int64_t first, const float* gradient) {
    if (gradient) {
      sgd_row(plan, first, gradient);
    } else if (plan.buffer || plan.decay != 0) {  // otherwise nothing moves
      sgd_row(plan, first, Zero{});
    }
  });
}

void adamw(const AdamPlan& plan, int64_t begin, int64_t end) {
  for_rows(plan.gradient, begin, end, [&](int64_t first, const float* gradient) {
    gradient ? adamw_row(plan, first, gradient) : adamw_row(plan, first, Zero{});
  });
}

}  // namespace thinnet::THINNET_ISA
