// Float vectors of the width of an instruction set. Included inside its namespace, behind philox.h.

constexpr int kFloats = 2 * kWide;
using Vec = float __attribute__((vector_size(4 * kFloats)));
using Int = int32_t __attribute__((vector_size(4 * kFloats)));
using Bits16 = uint16_t __attribute__((vector_size(2 * kFloats)));

constexpr float kInfinity = __builtin_inff(), kLog2e = 1.44269504088896341f, kLn2 = 0.69314718055994531f;

inline Vec load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

inline void store(float* to, Vec v) { std::memcpy(to, &v, sizeof v); }

inline Vec broadcast(float number) {
#if THINNET_WIDE == 8
  return (Vec)_mm512_set1_ps(number);
#elif THINNET_WIDE == 4
  return (Vec)_mm256_set1_ps(number);
#elif defined(__SSE2__)
  return (Vec)_mm_set1_ps(number);
#elif defined(__ARM_NEON)
  return (Vec)vdupq_n_f32(number);
#else
  return Vec{number, number, number, number};
#endif
}

// A number that is computed before something selects it: otherwise GCC makes masked loads, which wait for the random bits, and
// which no prefetcher follows.
inline Vec computed(Vec v) {
#if THINNET_WIDE == 8
  asm("" : "+v"(v));
#elif defined(__SSE2__)
  asm("" : "+x"(v));
#elif defined(__ARM_NEON)
  asm("" : "+w"(v));
#endif
  return v;
}

// a * b + c, with one rounding where the processor has it.
inline Vec fma(Vec a, Vec b, Vec c) {
#if THINNET_WIDE == 8
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif THINNET_WIDE == 4
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
  return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }

inline float sum(Vec v) {
  float total = 0;
  for (int i = 0; i < kFloats; ++i) total += v[i];
  return total;
}

inline float largest(Vec v) {
  float most = v[0];
  for (int i = 1; i < kFloats; ++i) most = v[i] > most ? v[i] : most;
  return most;
}

// 2^x for x <= 127, to about 1e-7; exactly 0 below 2^-126, so that what is masked weighs nothing.
inline Vec exp2(Vec x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: its sum with a small number has that number, rounded, in its last bits
  const Vec clamped = larger(x, broadcast(-126.0f));
  const Vec shifted = clamped + kShift;
  const Vec f = clamped - (shifted - kShift);
  Vec y = fma(broadcast(1.535336188e-4f), f, broadcast(1.339887440e-3f));
  y = fma(y, f, broadcast(9.618437358e-3f));
  y = fma(y, f, broadcast(5.550332471e-2f));
  y = fma(y, f, broadcast(2.402264791e-1f));
  y = fma(y, f, broadcast(6.931472029e-1f));
  y = fma(y, f, broadcast(1.0f));
  y = (Vec)((Int)y + ((Int)shifted << 23));
  return x < -126.0f ? Vec{} : (x != x ? x : y);
}

// x where the random bits keep it, otherwise `dropped`.
inline Vec keep(const uint16_t* random, int32_t threshold, Vec x, Vec dropped) {
  Bits16 bits;
  std::memcpy(&bits, random, sizeof bits);
  return __builtin_convertvector(bits, Int) >= threshold ? x : dropped;
}
