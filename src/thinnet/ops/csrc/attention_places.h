// Where the queries and keys of a task are, in the tensors and in the memory of the task. Included inside the namespace of an
// instruction set.

class Places {
 public:
  Places(const AttentionPlan& plan, int64_t task, float* scratch, bool backward)
      : plan_(plan), task_(task), part_(task % plan.parts), kv_(task / plan.parts % plan.key_heads),
        b_(task / plan.parts / plan.key_heads), group_(plan.group()), width_(padded(plan.width, kFloats)),
        value_width_(padded(plan.value_width, kFloats)), load_(load_of(plan.dtype)), store_(store_of(plan.dtype)) {
    if (plan.query_starts != nullptr) {
      query_row_ = plan.query_starts[b_], key_row_ = plan.key_starts[b_], batch_ = 0;
      queries_ = plan.query_starts[b_ + 1] - query_row_, keys_ = plan.key_starts[b_ + 1] - key_row_;
    } else {
      queries_ = plan.queries, keys_ = plan.keys, batch_ = b_;
    }
    first_query_ = plan.first_query ? plan.first_query[plan.one_first_query ? 0 : b_] : 0;
    first_key_ = plan.first_key ? plan.first_key[plan.one_first_key ? 0 : b_] : 0;
    const int64_t rows = group_ * padded(queries_, kStrip);
    const auto take = [&scratch](int64_t floats) {
      float* taken = scratch;
      scratch += padded(floats, kLongest);
      return taken;
    };
    q_ = take(rows * width_), out_ = take(rows * value_width_), most_ = take(rows), total_ = take(rows), whole_ = take(rows);
    k_ = take((kChunk + kTileRows) * width_), kt_ = take(kChunk * width_);
    v_ = take((kChunk + kTileRows) * value_width_), s_ = take(kStrip * kTileStride);
    if (backward) {
      dq_ = take(rows * width_), vt_ = take(kChunk * value_width_), ds_ = take(kStrip * kTileStride);
      dk_ = take((kChunk + kTileRows) * width_), dv_ = take((kChunk + kTileRows) * value_width_);
      std::fill(dq_, dq_ + rows * width_, 0.0f);
    }
  }

 protected:
  // ---- where things are -------------------------------------------------------------------------------------------------

  int64_t head(int64_t g) const { return kv_ * group_ + g; }
  int64_t row(int64_t g, int64_t r) const { return g * padded(queries_, kStrip) + r; }
  float* out_row(int64_t g, int64_t r) const { return out_ + row(g, r) * value_width_; }
  float& lse_of(int64_t g, int64_t r) const {
    return plan_.lse[(batch_ * plan_.heads + head(g)) * plan_.total_queries + query_row_ + r];
  }

  char* element(const Rows& x, int64_t head, int64_t row) const {
    return x.data + (batch_ * x.batch + head * x.head + row * x.row) * size_of(plan_.dtype);
  }

  // What multiplies the output of a head: 0 drops it.
  float factor(int64_t g) const {
    const float of_head = plan_.head_scale ? plan_.head_scale[b_ * plan_.head_scale_stride + head(g)] : 1.0f;
    return plan_.renormalised ? of_head : of_head * plan_.kept_scale;
  }

  // The strips of this task, in the heads that are not dropped.
  template <class Work>
  void each_strip(const Work& work) {
    for (int64_t g = 0; g < group_; ++g) {
      if (factor(g) == 0) continue;
      for (int64_t strip = part_ * kStrip; strip < queries_; strip += plan_.parts * kStrip)
        work(g, strip, std::min(kStrip, queries_ - strip));
    }
  }

  template <class Work>
  void each_dropped_head(const Work& work) {
    for (int64_t g = 0; g < group_; ++g)
      for (int64_t r = 0; factor(g) == 0 && part_ == 0 && r < queries_; ++r) work(g, r);
  }

  // ---- memory in, memory out --------------------------------------------------------------------------------------------

  void load_rows(const Rows& x, int64_t first, int64_t count, int64_t padded_width, int64_t width, float factor, float* to,
                 int64_t head = -1) const {
    for (int64_t r = 0; r < count; ++r, to += padded_width) {
      load_(element(x, head < 0 ? kv_ : head, first + r), x.element, to, width, factor);
      std::fill(to + width, to + padded_width, 0.0f);
    }
  }

  // Queries come with the factor of the logits to the base 2; rows behind the last one are zeros.
  void load_queries(int64_t g, int64_t strip, int64_t rows) {
    float* const to = q_ + row(g, strip) * width_;
    load_rows(plan_.q, query_row_ + strip, rows, width_, plan_.width, plan_.scale * kLog2e, to, head(g));
    std::fill(to + rows * width_, to + padded(rows, kTileRows) * width_, 0.0f);
  }

  // The gradient of the output, with the factor of its head, and what each row subtracts: its product with the output.
  void load_gradients(int64_t g, int64_t strip, int64_t rows) {
    float* const to = out_row(g, strip);
    load_rows(plan_.dy, query_row_ + strip, rows, value_width_, plan_.value_width, 1.0f, to, head(g));
    std::fill(to + rows * value_width_, to + padded(rows, kTileRows) * value_width_, 0.0f);
    for (int64_t r = 0; r < padded(rows, kTileRows); ++r) {
      float lse = 0, product = 0;
      if (r < rows) {
        load_rows(plan_.y, query_row_ + strip + r, 1, value_width_, plan_.value_width, 1.0f, s_, head(g));
        product = dot(to + r * value_width_, s_, value_width_);
        scale_row(to + r * value_width_, value_width_, factor(g));
        lse = lse_of(g, strip + r) * kLog2e;
      }
      most_[row(g, strip + r)] = lse == -kInfinity ? 0.0f : lse;
      total_[row(g, strip + r)] = product;
    }
  }

  void load_keys() {
    count_ = std::min(kChunk, keys_ - chunk_);
    load_rows(plan_.k, key_row_ + chunk_, count_, width_, plan_.width, 1.0f, k_);
    const int64_t whole = padded(count_, kColumns);
    std::fill(k_ + count_ * width_, k_ + whole * width_, 0.0f);
    std::fill(v_ + count_ * value_width_, v_ + whole * value_width_, 0.0f);
    transpose(k_, whole, width_, kt_);
  }

  void store_keys() {
    for (int64_t r = 0; r < count_; ++r) {
      const float *dk = dk_ + r * width_, *dv = dv_ + r * value_width_;
      if (plan_.parts > 1) {
        float* to = plan_.private_sums + (task_ * plan_.keys + chunk_ + r) * (plan_.width + plan_.value_width);
        std::copy(dk, dk + plan_.width, to);
        std::copy(dv, dv + plan_.value_width, to + plan_.width);
      } else {
        store_(dk, element(plan_.dk, kv_, key_row_ + chunk_ + r), plan_.dk.element, plan_.width, kLn2);
        store_(dv, element(plan_.dv, kv_, key_row_ + chunk_ + r), plan_.dv.element, plan_.value_width, 1.0f);
      }
    }
  }

  const AttentionPlan& plan_;
  const int64_t task_, part_, kv_, b_, group_, width_, value_width_;
  const LoadRow load_;
  const StoreRow store_;
  int64_t query_row_ = 0, key_row_ = 0, batch_, queries_, keys_, first_query_, first_key_;
  int64_t chunk_ = 0, count_ = 0;
  float *q_, *out_, *most_, *total_, *whole_, *k_, *kt_, *v_, *s_;
  float *dq_ = nullptr, *vt_ = nullptr, *ds_ = nullptr, *dk_ = nullptr, *dv_ = nullptr;
};
