// Passes over a row of an attention: loading, masks, softmax, its derivative. Included inside the namespace of an instruction set.

inline int64_t size_of(Dtype dtype) { return dtype == Dtype::f32 ? 4 : 2; }

// ---- rows in memory --------------------------------------------------------------------------------------------------------

using LoadRow = void (*)(const char* from, int64_t step, float* to, int64_t count, float factor);
using StoreRow = void (*)(const float* from, char* to, int64_t step, int64_t count, float factor);

template <class Type>
void load_row(const char* memory, int64_t step, float* to, int64_t count, float factor) {
  const auto* from = reinterpret_cast<const typename Type::Stored*>(memory);
  if (step == 1) {
    for (int64_t i = 0; i < count; ++i) to[i] = Type::load(from[i]) * factor;
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = Type::load(from[i * step]) * factor;
  }
}

template <class Type>
void store_row(const float* from, char* memory, int64_t step, int64_t count, float factor) {
  auto* to = reinterpret_cast<typename Type::Stored*>(memory);
  if (step == 1) {
    for (int64_t i = 0; i < count; ++i) to[i] = Type::store(from[i] * factor);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i * step] = Type::store(from[i] * factor);
  }
}

inline LoadRow load_of(Dtype dtype) {
  return dtype == Dtype::f32 ? load_row<Float32> : dtype == Dtype::bf16 ? load_row<BFloat16> : load_row<Float16>;
}

inline StoreRow store_of(Dtype dtype) {
  return dtype == Dtype::f32 ? store_row<Float32> : dtype == Dtype::bf16 ? store_row<BFloat16> : store_row<Float16>;
}

// Rows of keys into panels: to[j / kPanel][d][j % kPanel] = from[j][d].
inline void transpose(const float* from, int64_t rows, int64_t width, float* to) {
  for (int64_t first = 0; first < rows; first += kPanel, to += kPanel * width) {
    const int64_t count = std::min<int64_t>(kPanel, rows - first);
    for (int64_t d = 0; d < width; ++d)
      for (int64_t j = 0; j < count; ++j) to[d * kPanel + j] = from[(first + j) * width + d];
  }
}

inline float dot(const float* a, const float* b, int64_t count) {
  Vec total{};
  for (int64_t i = 0; i < count; i += kFloats) total = fma(load(a + i), load(b + i), total);
  return sum(total);
}

inline void scale_row(float* row, int64_t count, float factor) {
  for (int64_t i = 0; i < count; i += kFloats) store(row + i, load(row + i) * factor);
}

// ---- masks -----------------------------------------------------------------------------------------------------------------

template <class Type>
void add_numbers(const char* memory, int64_t step, float* s, int64_t count) {
  const auto* mask = reinterpret_cast<const typename Type::Stored*>(memory);
  for (int64_t i = 0; i < count; ++i) s[i] += static_cast<float>(Type::load(mask[i * step])) * kLog2e;
}

// Adds a row of the mask, to the base 2, to logits.
inline void add_mask(const AttentionPlan& plan, int64_t b, int64_t head, int64_t row, int64_t key, float* s, int64_t count) {
  const Rows& x = plan.mask;
  const int64_t at = b * x.batch + head * x.head + row * x.row + key * x.element;
  switch (plan.mask_type) {
    case MaskType::boolean:
      for (int64_t i = 0; i < count; ++i) s[i] = x.data[at + i * x.element] ? s[i] : -kInfinity;
      return;
    case MaskType::f64: return add_numbers<Float64>(x.data + 8 * at, x.element, s, count);
    case MaskType::bf16: return add_numbers<BFloat16>(x.data + 2 * at, x.element, s, count);
    case MaskType::f16: return add_numbers<Float16>(x.data + 2 * at, x.element, s, count);
    default: return add_numbers<Float32>(x.data + 4 * at, x.element, s, count);
  }
}

// ---- the softmax and its derivative; `count` is a multiple of kFloats ---------------------------------------------------------

inline void drop_row(const uint16_t* random, int32_t threshold, float* s, int64_t count) {
  for (int64_t i = 0; i < count; i += kFloats) store(s + i, keep(random + i, threshold, load(s + i), broadcast(-kInfinity)));
}

inline float largest_of(const float* s, int64_t count) {
  Vec most = broadcast(-kInfinity);
  for (int64_t i = 0; i < count; i += kFloats) most = larger(load(s + i), most);
  return largest(most);
}

// s = 2^(s - most), dropped where the random bits say so; returns the sum before the dropping.
template <bool kDrops>
float weigh(float* s, int64_t count, float most, const uint16_t* random, int32_t threshold) {
  Vec total{};
  for (int64_t i = 0; i < count; i += kFloats) {
    const Vec weight = exp2(load(s + i) - most);
    total += weight;
    store(s + i, kDrops ? keep(random + i, threshold, weight, Vec{}) : weight);
  }
  return sum(total);
}

// From logits s and the gradient ds of the dropped weights to dropped weights and the gradient of the logits.
template <bool kDrops>
void differentiate(float* s, float* ds, int64_t count, float lse, float product, const uint16_t* random, int32_t threshold) {
  for (int64_t i = 0; i < count; i += kFloats) {
    const Vec weight = exp2(load(s + i) - lse), gradient = load(ds + i);
    store(s + i, kDrops ? keep(random + i, threshold, weight, Vec{}) : weight);
    store(ds + i, weight * ((kDrops ? keep(random + i, threshold, gradient, Vec{}) : gradient) - product));
  }
}
