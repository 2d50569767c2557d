// Dropout, a residual and a normalisation, row by row. Included by fused_kernel.h inside the namespace of an instruction set.

template <class Type>
class Norm {
  using Stored = typename Type::Stored;

 public:
  explicit Norm(const NormPlan& plan)
      : plan_(plan), mask_(plan.threshold), x_(plan.width), h_(plan.width), other_(plan.width), weight_(plan.width), bias_(plan.width) {
    for (int64_t i = 0; i < plan.width; ++i) {
      if (plan.weight) *weight_.at(i) = Type::load(in(plan.weight)[i]);
      if (plan.bias) *bias_.at(i) = Type::load(in(plan.bias)[i]);
    }
  }

  void forward(int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = row * plan_.width;
      const float *x = read<Type>(in(plan_.x) + first, plan_.width, x_.at());
      const float* residual = read<Type>(in(plan_.residual) + first, plan_.width, other_.at());
      float* h = target<Type>(out(plan_.h) + first, plan_.width, h_.at());
      for_segments(random_, plan_, row, [&](const uint16_t* random, int64_t done, int64_t taken) {
        const int64_t whole = taken - taken % kFloats;
        const auto at = [&](int64_t i) { return load(residual + done + i) + mask_.apply(random + i, load(x + done + i)); };
        for (int64_t i = 0; i < whole; i += kFloats) store(h + done + i, at(i));
        if (whole < taken) store_part(h + done + whole, at(whole), taken - whole);
      });
      write<Type>(h, plan_.width, out(plan_.h) + first);
      const float* stored = std::is_same_v<Stored, float> ? h : read<Type>(in(plan_.h) + first, plan_.width, h_.at());
      const Moments of = moments(stored);
      float* y = target<Type>(out(plan_.y) + first, plan_.width, x_.at());
      for (int64_t i = 0; i < x_.padded; i += kFloats) {
        Vec at = (load(stored + i) - of.mean) * of.inverse;
        if (plan_.weight) at = at * load(weight_.at(i));
        if (plan_.bias) at = at + load(bias_.at(i));
        store(y + i, at);
      }
      write<Type>(y, plan_.width, out(plan_.y) + first);
    }
  }

  void backward(int64_t begin, int64_t end, float* weight_sums, float* bias_sums) {
    const float share = 1.0f / static_cast<float>(plan_.width);
    Row weights(plan_.width), biases(plan_.width);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t first = row * plan_.width;
      const float* h = read<Type>(in(plan_.h) + first, plan_.width, h_.at());
      const Moments of = moments(h);
      const float* gradient = read<Type>(in(plan_.gradient) + first, plan_.width, other_.at());
      if (gradient == other_.at()) other_.pad(0.0f);
      Vec totals[2] = {}, products[2] = {};  // two sums side by side, as each addition waits for the one before
      const auto add = [&](int64_t i, Vec& total, Vec& product) {
        const Vec normal = (load(h + i) - of.mean) * of.inverse;
        Vec at = load(gradient + i);
        store(weights.at(i), load(weights.at(i)) + at * normal);
        store(biases.at(i), load(biases.at(i)) + at);
        if (plan_.weight) at = at * load(weight_.at(i));
        total = total + at, product = product + at * normal;
      };
      int64_t i = 0;
      for (; i + 2 * kFloats <= x_.padded; i += 2 * kFloats) add(i, totals[0], products[0]), add(i + kFloats, totals[1], products[1]);
      if (i < x_.padded) add(i, totals[0], products[0]);
      const float mean = plan_.rms ? 0.0f : sum(totals[0] + totals[1]) * share, along = sum(products[0] + products[1]) * share;
      const float* more = plan_.h_gradient ? read<Type>(in(plan_.h_gradient) + first, plan_.width, bias_.at()) : nullptr;
      float* of_residual = target<Type>(out(plan_.residual_gradient) + first, plan_.width, x_.at());
      for (int64_t i = 0; i < x_.padded; i += kFloats) {
        const Vec normal = (load(h + i) - of.mean) * of.inverse, at = load(gradient + i);
        const Vec of_h = ((plan_.weight ? at * load(weight_.at(i)) : at) - mean - normal * along) * of.inverse;
        store(of_residual + i, more ? of_h + load(more + i) : of_h);
      }
      write<Type>(of_residual, plan_.width, out(plan_.residual_gradient) + first);
      float* of_x = target<Type>(out(plan_.y) + first, plan_.width, h_.at());
      for_segments(random_, plan_, row, [&](const uint16_t* random, int64_t done, int64_t taken) {
        const int64_t whole = taken - taken % kFloats;
        const auto at = [&](int64_t i) { return mask_.apply(random + i, load(of_residual + done + i)); };
        for (int64_t i = 0; i < whole; i += kFloats) store(of_x + done + i, at(i));
        if (whole < taken) store_part(of_x + done + whole, at(whole), taken - whole);
      });
      write<Type>(of_x, plan_.width, out(plan_.y) + first);
    }
    std::memcpy(weight_sums, weights.at(), plan_.width * sizeof(float));
    std::memcpy(bias_sums, biases.at(), plan_.width * sizeof(float));
  }

 private:
  struct Moments {
    float mean, inverse;
  };

  static const Stored* in(const char* tensor) { return reinterpret_cast<const Stored*>(tensor); }
  static Stored* out(char* tensor) { return reinterpret_cast<Stored*>(tensor); }

  // Mean, and the inverse of the root of variance (or mean square) + epsilon, of a row. It pads h_ if that holds the row.
  Moments moments(const float* h) {
    const float share = 1.0f / static_cast<float>(plan_.width);
    const bool held = h == h_.at();
    float mean = 0.0f;
    if (held) h_.pad(0.0f);
    if (!plan_.rms) mean = summed(h, x_.padded, [](Vec v) { return v; }) * share;
    if (held) h_.pad(mean);
    const float squares = summed(h, x_.padded, [mean](Vec v) { return (v - mean) * (v - mean); });
    return {mean, 1.0f / std::sqrt(squares * share + plan_.epsilon)};
  }

  const NormPlan& plan_;
  const Mask mask_;
  Random random_;
  Row x_, h_, other_, weight_, bias_;
};
