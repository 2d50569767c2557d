// Dropout of attention by rows: of logits before the softmax, and of weights behind it.
// Included by fused_kernel.h inside the namespace of an instruction set.

template <class Type>
class Rows {
  using Stored = typename Type::Stored;

 public:
  explicit Rows(const RowsPlan& plan) : plan_(plan), x_(plan.width), y_(plan.width), gradient_(plan.width), kept_(plan.width) {}

  void operator()(int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = row * plan_.width;
      Stored* out = reinterpret_cast<Stored*>(plan_.y) + first;
      float* y = target<Type>(out, plan_.width, y_.at());
      if (plan_.logits) {
        plan_.gradient ? of_logits(row, read_row(plan_.gradient, first, gradient_, 0.0f), y) : logits(row, read_row(plan_.x, first, x_, -kInfinity), y);
      } else {
        const float* x = read_row(plan_.x, first, x_, 0.0f);
        plan_.gradient ? of_weights(row, x, read_row(plan_.gradient, first, gradient_, 0.0f), y) : weights(row, x, y);
      }
      write<Type>(y, plan_.width, out);
    }
  }

 private:
  const float* read_row(const char* tensor, int64_t first, Row& row, float pad) {
    const float* numbers = read<Type>(reinterpret_cast<const Stored*>(tensor) + first, plan_.width, row.at());
    if (numbers == row.at()) row.pad(pad);
    return numbers;
  }

  // to = from where kept, else `dropped`.
  void select(int64_t row, const float* from, float dropped, float* to) {
    const int32_t threshold = plan_.threshold;  // copies: a compiler must assume that writing `to` changes the plan
    const Vec otherwise = broadcast(dropped);
    for_segments(random_, plan_, row, [=](const uint16_t* random, int64_t done, int64_t taken) {
      const int64_t whole = taken - taken % kFloats;
      const auto at = [=](int64_t i) { return keep(random + i, threshold, computed(load(from + done + i)), otherwise); };
      for (int64_t i = 0; i < whole; i += kFloats) store(to + done + i, at(i));
      if (whole < taken) store_part(to + done + whole, at(whole), taken - whole);
    });
  }

  void logits(int64_t row, const float* x, float* y) {
    select(row, x, -kInfinity, y);
    if (y == y_.at()) y_.pad(-kInfinity);
    Vec top = broadcast(-kInfinity);
    for (int64_t i = 0; i < x_.padded; i += kFloats) top = larger(load(y + i), top);  // nan is nothing to attend to
    const bool kept = largest(top) > -kInfinity;
    plan_.kept[row] = kept;
    if (!kept) std::memcpy(y, x, plan_.width * sizeof(float));
  }

  void of_logits(int64_t row, const float* gradient, float* y) {
    if (plan_.kept[row]) return select(row, gradient, 0.0f, y);
    std::memcpy(y, gradient, plan_.width * sizeof(float));
  }

  void weights(int64_t row, const float* x, float* y) {
    select(row, x, 0.0f, y);
    if (y == y_.at()) y_.pad(0.0f);
    const auto same = [](Vec v) { return v; };
    const float kept = summed(y, x_.padded, same);
    if (kept == 0.0f) {
      std::memcpy(y, x, plan_.width * sizeof(float));
      return;
    }
    const float ratio = summed(x, x_.padded, same) / kept;
    for (int64_t i = 0; i < x_.padded; i += kFloats) store(y + i, load(y + i) * ratio);
  }

  // With k = 1 where kept: gradient_j = k_j ratio (g_j - t) + t, t = sum(g k x) / sum(k x), ratio = sum(x) / sum(k x).
  void of_weights(int64_t row, const float* x, const float* gradient, float* y) {
    select(row, x, 0.0f, kept_.at());
    kept_.pad(0.0f);
    const auto same = [](Vec v) { return v; };
    const float kept = summed(kept_.at(), x_.padded, same);
    if (kept == 0.0f) {
      std::memcpy(y, gradient, plan_.width * sizeof(float));
      return;
    }
    const float ratio = summed(x, x_.padded, same) / kept;
    Vec products{};
    for (int64_t i = 0; i < x_.padded; i += kFloats) products = products + load(kept_.at(i)) * load(gradient + i);
    const float mean = sum(products) / kept;
    for (int64_t i = 0; i < x_.padded; i += kFloats) store(kept_.at(i), (load(gradient + i) - mean) * ratio + mean);
    select(row, kept_.at(), mean, y);
  }

  const RowsPlan& plan_;
  Random random_;
  Row x_, y_, gradient_, kept_;
};

template <class Type>
void rows_type(const RowsPlan& plan, int64_t begin, int64_t end) {
  Rows<Type> rows(plan);
  rows(begin * plan.chunk, std::min(end * plan.chunk, plan.rows));
}
