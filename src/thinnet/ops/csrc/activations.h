// Activations and their derivatives on vectors. Included inside the namespace of an instruction set, behind vector.h.

// 1 / (1 + exp(-z)).
inline Vec sigmoid(Vec z) {
  const Vec power = z * -kLog2e;
  return 1.0f / (1.0f + exp2(power > 126.0f ? broadcast(126.0f) : power));
}

// The distribution function of a standard normal number, off by at most 8e-8, and exp(-z^2 / 2).
// Abramowitz and Stegun 1964, 7.1.26, as PyTorch's own vector code has it.
inline Vec normal_cdf(Vec z, Vec& bell) {
  const Vec size = z < 0.0f ? -z : z;
  const Vec t = 1.0f / (1.0f + size * 0.23164190f);  // 0.3275911 / sqrt(2)
  bell = exp2(z * z * (-0.5f * kLog2e));
  Vec tail = fma(broadcast(1.061405429f), t, broadcast(-1.453152027f));
  tail = fma(tail, t, broadcast(1.421413741f));
  tail = fma(tail, t, broadcast(-0.284496736f));
  tail = fma(tail, t, broadcast(0.254829592f));
  tail = tail * t * (bell * 0.5f);
  return z < 0.0f ? tail : 1.0f - tail;
}

struct Curve {
  Vec value, slope;
};

template <Activation activation>
inline Curve curve(Vec z) {
  if constexpr (activation == Activation::none) return {z, broadcast(1.0f)};
  if constexpr (activation == Activation::relu) return {z <= 0.0f ? Vec{} : z, z <= 0.0f ? Vec{} : broadcast(1.0f)};  // nan stays
  if constexpr (activation == Activation::gelu) {
    Vec bell;
    const Vec below = normal_cdf(z, bell);
    return {z * below, below + z * bell * 0.3989422804f};
  }
  if constexpr (activation == Activation::gelu_tanh) {  // (1 + tanh(u)) / 2 = sigmoid(2 u)
    constexpr float kTwice = 1.5957691216f, kCubic = 0.044715f;  // 2 sqrt(2 / pi)
    const Vec high = z > 12.0f ? broadcast(12.0f) : z, c = high < -12.0f ? broadcast(-12.0f) : high, square = c * c;
    const Vec s = sigmoid(c * (kTwice + kTwice * kCubic * square));
    return {z * s, s + c * s * (1.0f - s) * (kTwice + 3.0f * kTwice * kCubic * square)};
  }
  if constexpr (activation == Activation::silu) {
    const Vec s = sigmoid(z);
    return {z * s, s + z * s * (1.0f - s)};
  }
}
