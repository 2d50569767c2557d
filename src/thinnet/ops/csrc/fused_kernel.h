// Dropout and its neighbours in one pass: plain loops over segments of 128 units, compiled once for each instruction set
// (fused_*.cpp). src/thinnet/ops/fused/reference.py defines the results; the random bits are those of `apply_noise`.

#include "isa.h"
#include "fused_plan.h"

namespace thinnet::THINNET_ISA {
namespace {

#include "philox.h"
#include "numbers.h"
#include "vector.h"
#include "stream.h"
#include "activations.h"

constexpr int64_t kSegment = 128;  // units of sixteen blocks

struct Mask {
  int32_t threshold;
  float scale;  // 65536 / (65536 - threshold)

  explicit Mask(int32_t rate) : threshold(rate), scale(65536.0f / (65536.0f - static_cast<float>(rate))) {}

  // The kept numbers, scaled; the others are selected to zero.
  Vec apply(const uint16_t* random, Vec x) const { return keep(random, threshold, computed(x * scale), Vec{}); }
};

// The random bits of a segment, from the unit in which it starts.
struct Random {
  alignas(64) uint16_t bits[2 * kSegment] = {};  // room for a vector that begins with the last unit

  const uint16_t* draw(const Stream& stream, int64_t unit) {
    Words words;
    draw_words(stream, static_cast<uint32_t>(unit / kSegment * kLanes), words);
    std::memcpy(bits, words.word, sizeof words.word);
    return bits + unit % kSegment;
  }
};

// `count` numbers as floats: in `buffer`, or where they are, if they are whole vectors of floats.
template <class Type>
const float* read(const typename Type::Stored* from, int64_t count, float* buffer) {
  if constexpr (std::is_same_v<typename Type::Stored, float>) {
    if (count % kFloats == 0) return from;
    std::memcpy(buffer, from, count * sizeof(float));
  } else {
    for (int64_t i = 0; i < count; ++i) buffer[i] = Type::load(from[i]);
  }
  return buffer;
}

// Where to put floats that `write` brings to `to`.
template <class Type>
float* target(typename Type::Stored* to, int64_t count, float* buffer) {
  if constexpr (std::is_same_v<typename Type::Stored, float>)
    if (count % kFloats == 0) return to;
  return buffer;
}

template <class Type>
void write(const float* from, int64_t count, typename Type::Stored* to) {
  if constexpr (std::is_same_v<typename Type::Stored, float>) {
    if (from != to) std::memcpy(to, from, count * sizeof(float));
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = Type::store(from[i]);
  }
}

// ---- rows ----------------------------------------------------------------------------------------------------------------

// One row as floats, padded to whole vectors, with room for a segment that begins with its last number.
class Row {
 public:
  explicit Row(int64_t count) : width(count), padded((count + kFloats - 1) / kFloats * kFloats), numbers_(new float[padded + kSegment]()) {}
  Row(const Row&) = delete;
  Row& operator=(const Row&) = delete;
  ~Row() { delete[] numbers_; }

  float* at(int64_t i = 0) { return numbers_ + i; }
  void pad(float value) {
    for (int64_t i = width; i < padded; ++i) numbers_[i] = value;
  }

  const int64_t width, padded;

 private:
  float* const numbers_;  // not a std::vector: its functions must not be shared with code for other processors
};

// Calls `use(random, done, taken)` for the numbers of a row, a segment of random bits at a time.
template <class Plan, class Use>
void for_segments(Random& random, const Plan& plan, int64_t row, const Use& use) {
  const Stream stream = stream_of(plan.address, row / plan.sample_rows);
  const int64_t first = row % plan.sample_rows * plan.width;
  for (int64_t done = 0; done < plan.width;) {
    const int64_t taken = std::min(kSegment - (first + done) % kSegment, plan.width - done);
    use(random.draw(stream, first + done), done, taken);
    done += taken;
  }
}

inline void store_part(float* to, Vec v, int64_t count) { std::memcpy(to, &v, count * sizeof(float)); }

// The sum of a function of a row; four sums side by side, as each addition waits for the one before.
template <class Function>
float summed(const float* row, int64_t padded, const Function& function) {
  Vec total[4] = {};
  int64_t i = 0;
  for (; i + 4 * kFloats <= padded; i += 4 * kFloats)
    for (int j = 0; j < 4; ++j) total[j] = total[j] + function(load(row + i + j * kFloats));
  for (; i < padded; i += kFloats) total[0] = total[0] + function(load(row + i));
  return sum((total[0] + total[1]) + (total[2] + total[3]));
}

#include "fused_norm.h"
#include "fused_rows.h"

// ---- elementwise --------------------------------------------------------------------------------------------------------

struct Buffer {
  alignas(64) float at[kSegment] = {};
};

template <class Type, Activation activation>
class Elements {
  using Stored = typename Type::Stored;

 public:
  explicit Elements(const ElementPlan& plan) : plan_(plan), mask_(plan.threshold) {
    if (!plan.draws) mask_.threshold = 0;
  }

  void operator()(int64_t begin, int64_t end) {
    int64_t sample = begin / plan_.sample_size, unit = begin % plan_.sample_size;
    for (int64_t number = begin; number < end;) {
      const int64_t taken = std::min({kSegment - unit % kSegment, end - number, plan_.sample_size - unit});
      const uint16_t* random = plan_.draws ? random_.draw(stream_of(plan_.address, sample), unit) : random_.bits;
      plan_.gradient ? backward(random, number, taken) : forward(random, number, taken);
      number += taken, unit += taken;
      if (unit == plan_.sample_size) unit = 0, ++sample;
    }
  }

 private:
  static const Stored* in(const char* tensor) { return reinterpret_cast<const Stored*>(tensor); }
  static Stored* out(char* tensor) { return reinterpret_cast<Stored*>(tensor); }

  // The numbers of a tensor that repeats, or whose rows are picked, from `number` on.
  const float* gathered(const char* tensor, int64_t length, const int64_t* ids, int64_t number, int64_t taken, float* buffer) {
    const int64_t inside = number % length;
    const auto start = [&](int64_t at) { return in(tensor) + (ids ? ids[at / length] * length : 0); };
    if (inside + taken <= length) return read<Type>(start(number) + inside, taken, buffer);
    for (int64_t done = 0, column = inside; done < taken; column = 0) {
      const int64_t part = std::min(taken - done, length - column);
      const Stored* from = start(number + done) + column;
      for (int64_t i = 0; i < part; ++i) buffer[done + i] = Type::load(from[i]);
      done += part;
    }
    return buffer;
  }

  const float* read_x(int64_t number, int64_t taken) {
    return plan_.ids ? gathered(plan_.x, plan_.width, plan_.ids, number, taken, x_.at) : read<Type>(in(plan_.x) + number, taken, x_.at);
  }

  const float* read_bias(int64_t number, int64_t taken) {
    return plan_.bias ? gathered(plan_.bias, plan_.period, nullptr, number, taken, bias_.at) : nullptr;
  }

  const float* read_from(const char* tensor, int64_t number, int64_t taken, Buffer& buffer) {
    return tensor ? read<Type>(in(tensor) + number, taken, buffer.at) : nullptr;
  }

  void forward(const uint16_t* random, int64_t number, int64_t taken) {
    const float *x = read_x(number, taken), *bias = read_bias(number, taken);
    const float *gate = read_from(plan_.gate, number, taken, gate_), *residual = read_from(plan_.residual, number, taken, other_);
    float* y = target<Type>(out(plan_.y) + number, taken, x_.at);
    for (int64_t i = 0; i < taken; i += kFloats) {
      Vec at = load(x + i);
      if (bias) at = at + load(bias + i);
      at = curve<activation>(at).value;
      if (gate) at = at * load(gate + i);
      at = mask_.apply(random + i, at);
      store(y + i, residual ? load(residual + i) + at : at);
    }
    write<Type>(y, taken, out(plan_.y) + number);
  }

  void backward(const uint16_t* random, int64_t number, int64_t taken) {
    const float *x = read_x(number, taken), *bias = read_bias(number, taken);
    const float *gate = read_from(plan_.gate, number, taken, gate_), *gradient = read_from(plan_.gradient, number, taken, other_);
    float* y = target<Type>(out(plan_.y) + number, taken, x_.at);
    float* of_gate = gate ? target<Type>(out(plan_.gate_gradient) + number, taken, gate_.at) : nullptr;
    for (int64_t i = 0; i < taken; i += kFloats) {
      const Vec z = load(x + i);
      const Curve at = curve<activation>(bias ? z + load(bias + i) : z);
      const Vec kept = mask_.apply(random + i, load(gradient + i));
      store(y + i, gate ? kept * load(gate + i) * at.slope : kept * at.slope);
      if (gate) store(of_gate + i, kept * at.value);
    }
    write<Type>(y, taken, out(plan_.y) + number);
    if (gate) write<Type>(of_gate, taken, out(plan_.gate_gradient) + number);
  }

  const ElementPlan& plan_;
  Mask mask_;
  Random random_;
  Buffer x_, bias_, other_, gate_;
};

template <class Type>
void fused_type(const ElementPlan& plan, int64_t begin, int64_t end) {
  switch (plan.activation) {
    case Activation::none: return Elements<Type, Activation::none>(plan)(begin, end);
    case Activation::relu: return Elements<Type, Activation::relu>(plan)(begin, end);
    case Activation::gelu: return Elements<Type, Activation::gelu>(plan)(begin, end);
    case Activation::gelu_tanh: return Elements<Type, Activation::gelu_tanh>(plan)(begin, end);
    case Activation::relu_result: return;  // `draws` says so
    case Activation::silu: return Elements<Type, Activation::silu>(plan)(begin, end);
  }
}

// ---- the way in: from numbers known at run time to loops compiled for them ---------------------------------------------

template <class Type>
void norm_type(const NormPlan& plan, bool backward, int64_t begin, int64_t end) {
  Norm<Type> norm(plan);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t first = task * plan.chunk, last = std::min(first + plan.chunk, plan.rows);
    if (backward) {
      norm.backward(first, last, plan.weight_sums + task * plan.width, plan.bias_sums + task * plan.width);
    } else {
      norm.forward(first, last);
    }
  }
}

void norm(const NormPlan& plan, bool backward, int64_t begin, int64_t end) {
  switch (plan.dtype) {
    case Dtype::f32: return norm_type<Float32>(plan, backward, begin, end);
    case Dtype::bf16: return norm_type<BFloat16>(plan, backward, begin, end);
    case Dtype::f16: return norm_type<Float16>(plan, backward, begin, end);
    case Dtype::f64: return;  // refused before
  }
}

}  // namespace

void fused(const ElementPlan& plan, int64_t begin, int64_t end) {
  begin *= kElementChunk, end = std::min(end * kElementChunk, plan.count);
  switch (plan.dtype) {
    case Dtype::f32: return fused_type<Float32>(plan, begin, end);
    case Dtype::bf16: return fused_type<BFloat16>(plan, begin, end);
    case Dtype::f16: return fused_type<Float16>(plan, begin, end);
    case Dtype::f64: return;  // refused before
  }
}

void drop_rows(const RowsPlan& plan, int64_t begin, int64_t end) {
  switch (plan.dtype) {
    case Dtype::f32: return rows_type<Float32>(plan, begin, end);
    case Dtype::bf16: return rows_type<BFloat16>(plan, begin, end);
    case Dtype::f16: return rows_type<Float16>(plan, begin, end);
    case Dtype::f64: return;  // refused before
  }
}

void fused_norm(const NormPlan& plan, int64_t begin, int64_t end) { norm(plan, false, begin, end); }

void fused_norm_backward(const NormPlan& plan, int64_t begin, int64_t end) { norm(plan, true, begin, end); }

}  // namespace thinnet::THINNET_ISA
