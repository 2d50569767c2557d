// Normal numbers from random bits. Included inside the namespace of an instruction set, behind philox.h.

// A standard normal number from 32 random bits, by the inverse of the distribution function: one bit for the sign, 31 for
// the tail. Additions and products in a fixed order give the same bits on every machine; the error is below 5e-6. The
// coefficients are minimax fits, highest power first; the reference has the same.
constexpr float kLog[] = {-1.0000229f, 0.50006473f, -0.33160722f, 0.2472176f, -0.23073845f, 0.20171344f};
constexpr float kCentral[] = {2.464737f,      0.33285218f,    -0.0095093185f, -0.0006855669f,
                              0.00022915259f, -2.1138769e-05f, -1.360266e-06f, 3.5906297e-07f};
constexpr float kTail[] = {5.061595f, 0.19061698f, -0.0033500616f, 0.000114999326f, -4.9471305e-06f, 2.36753e-07f, -7.704266e-09f, -1.2813293e-11f};
constexpr float kFar = 7.0f;

// By pairs: half as many steps wait for the one before as by Horner's rule.
template <size_t terms>
inline float polynomial(const float (&c)[terms], float x) {
  static_assert(terms == 6 || terms == 8);
  const float square = x * x, low = (c[0] + c[1] * x) + (c[2] + c[3] * x) * square;
  float high = c[4] + c[5] * x;
  if constexpr (terms == 8) high = high + (c[6] + c[7] * x) * square;
  return low + high * (square * square);
}

// All numbers as if they were central, then one in two thousand again. Each loop is short, so that the processor works on
// several vectors of numbers at a time.
template <int count>
inline void normal(const uint32_t* word, float* z) {
  float twice[count], w[count], f[count];  // 2 v, and -log(4 v (1 - v)), of the tails v
  for (int i = 0; i < count; ++i) {
    twice[i] = (static_cast<float>(static_cast<int32_t>(word[i] >> 1)) + 0.5f) * 0x1p-31f;
    const int32_t bits = std::bit_cast<int32_t>(twice[i] * (2.0f - twice[i]));
    const int32_t exponent = (bits - 0x3F2AAAAB) & ~0x7FFFFF;  // in front of the fraction
    f[i] = std::bit_cast<float>(bits - exponent) - 1.0f;       // (1 + f) 2^exponent, |f| <= 1/3
    w[i] = static_cast<float>(exponent) * (-0.6931472f * 0x1p-23f);
  }
  for (int i = 0; i < count; ++i) w[i] = w[i] + polynomial(kLog, f[i]) * f[i];
  const auto number = [&](int i, float ratio) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(ratio * (1.0f - twice[i])) ^ (word[i] << 31));
  };
  uint32_t far = 0;
  for (int i = 0; i < count; ++i) {
    far |= w[i] >= kFar;
    z[i] = number(i, polynomial(kCentral, w[i] - 3.5f));
  }
  if (far == 0) return;
  for (int i = 0; i < count; ++i) {
    const float other = number(i, polynomial(kTail, w[i] - 14.0f));
    z[i] = w[i] >= kFar ? other : z[i];
  }
}
