// Forward and backward of a task: strips of queries meet chunks of keys. Included inside the namespace of an instruction set.

class Task : Places {
 public:
  using Places::Places;

  void forward() {
    each_strip([&](int64_t g, int64_t strip, int64_t rows) {
      load_queries(g, strip, rows);
      find_whole_rows(g, strip, rows);
      std::fill(out_row(g, strip), out_row(g, strip + kStrip), 0.0f);
      std::fill_n(most_ + row(g, strip), kStrip, -kInfinity);
      std::fill_n(total_ + row(g, strip), kStrip, 0.0f);
    });
    for (chunk_ = 0; chunk_ < keys_; chunk_ += kChunk) {
      load_keys();
      load_rows(plan_.v, key_row_ + chunk_, count_, value_width_, plan_.value_width, 1.0f, v_);
      each_strip([&](int64_t g, int64_t strip, int64_t rows) {
        if (!meet(g, strip, rows)) return;
        for (int64_t r = 0; r < rows; ++r) forward_row(g, strip, r);
        product(groups_, value_width_, count_, {s_, kTileStride, 1}, {v_, kPanel, value_width_}, out_row(g, strip), value_width_,
                true, [&](int64_t i) { return spans_[i]; }, [&](int64_t) { return Span{0, value_width_}; });
      });
    }
    each_strip([&](int64_t g, int64_t strip, int64_t rows) {
      for (int64_t r = strip; r < strip + rows; ++r) {
        const float total = total_[row(g, r)], factor = total > 0 ? this->factor(g) / total : total;  // nan stays nan
        store_(out_row(g, r), element(plan_.y, head(g), query_row_ + r), plan_.y.element, plan_.value_width, factor);
        lse_of(g, r) = most_[row(g, r)] * kLn2 + std::log(total);
      }
    });
    each_dropped_head([&](int64_t g, int64_t r) {
      std::fill_n(s_, value_width_, 0.0f);
      store_(s_, element(plan_.y, head(g), query_row_ + r), plan_.y.element, plan_.value_width, 1.0f);
      lse_of(g, r) = 0;
    });
  }

  void backward() {
    each_strip([&](int64_t g, int64_t strip, int64_t rows) {
      load_queries(g, strip, rows);
      find_whole_rows(g, strip, rows);
      load_gradients(g, strip, rows);
    });
    for (chunk_ = 0; chunk_ < keys_; chunk_ += kChunk) {
      load_keys();
      load_rows(plan_.v, key_row_ + chunk_, count_, value_width_, plan_.value_width, 1.0f, v_);
      transpose(v_, padded(count_, kColumns), value_width_, vt_);
      std::fill(dk_, dk_ + (kChunk + kTileRows) * width_, 0.0f);
      std::fill(dv_, dv_ + (kChunk + kTileRows) * value_width_, 0.0f);
      each_strip([&](int64_t g, int64_t strip, int64_t rows) {
        if (meet(g, strip, rows)) backward_strip(g, strip, rows);
      });
      store_keys();
    }
    each_strip([&](int64_t g, int64_t strip, int64_t rows) {
      for (int64_t r = strip; r < strip + rows; ++r)
        store_(dq_ + row(g, r) * width_, element(plan_.dq, head(g), query_row_ + r), plan_.dq.element, plan_.width, plan_.scale);
    });
    each_dropped_head([&](int64_t g, int64_t r) {
      std::fill_n(s_, width_, 0.0f);
      store_(s_, element(plan_.dq, head(g), query_row_ + r), plan_.dq.element, plan_.width, 1.0f);
    });
  }

 private:
  // ---- a strip of queries and a chunk of keys ----------------------------------------------------------------------------

  // The keys of the chunk that a query may attend to, as far as its position says.
  Span window(int64_t r) const {
    const int64_t ahead = first_query_ + r - first_key_ - chunk_;
    return {plan_.left < 0 ? 0 : std::clamp<int64_t>(ahead - plan_.left, 0, count_),
            plan_.right < 0 ? count_ : std::clamp<int64_t>(ahead + plan_.right + 1, 0, count_)};
  }

  // Computes the logits of a strip and a chunk; returns whether any query attends to any key.
  bool meet(int64_t g, int64_t strip, int64_t rows) {
    groups_ = padded(rows, kTileRows) / kTileRows;
    bool any = false;
    for (int64_t i = 0; i < groups_; ++i) {
      const Span first = window(strip + i * kTileRows), last = window(std::min(strip + i * kTileRows + kTileRows, strip + rows) - 1);
      spans_[i] = {first.begin / kColumns * kColumns, padded(last.end, kColumns)};
      any = any || first.begin < last.end;
    }
    if (!any) return false;
    product(groups_, padded(count_, kColumns), width_, {q_ + row(g, strip) * width_, width_, 1}, {kt_, kPanel * width_, kPanel},
            s_, kTileStride, false, [&](int64_t) { return Span{0, width_}; }, [&](int64_t i) { return spans_[i]; });
    if (plan_.threshold && (bits_head_ != g || bits_chunk_ != chunk_)) start_bits(g);
    return true;
  }

  void start_bits(int64_t g) {
    const int64_t sample = (plan_.samples ? plan_.samples[plan_.one_sample ? 0 : b_] : 0) +
                           (plan_.samples && !plan_.one_sample ? 0 : b_);
    const int64_t number = plan_.head_numbers ? plan_.head_numbers[head(g)] : head(g);
    bits_.start(subkey(plan_.seed, plan_.site, static_cast<uint32_t>(number)), static_cast<uint32_t>(sample),
                plan_.steps ? static_cast<uint32_t>(plan_.steps[plan_.one_step ? 0 : b_]) : 0u, first_key_ + chunk_);
    bits_head_ = g, bits_chunk_ = chunk_;
  }

  const uint16_t* random(int64_t r, const Span& span) {
    bits_.draw(plan_.columns ? 0u : static_cast<uint32_t>(first_query_ + r), span);
    return bits_.at(span.begin);
  }

  // The logits of a row with what masks add; -inf where it may not attend, and where DropKey drops.
  Span prepare_row(int64_t g, int64_t strip, int64_t r) {
    const Span span = spans_[r / kTileRows], inside = window(strip + r);
    float* const s = s_ + r * kTileStride;
    std::fill(s + span.begin, s + std::max(span.begin, std::min(inside.begin, span.end)), -kInfinity);
    std::fill(s + std::min(span.end, std::max(inside.end, span.begin)), s + span.end, -kInfinity);
    if (plan_.mask_type != MaskType::none && !inside.empty())
      add_mask(plan_, b_, head(g), strip + r, chunk_ + inside.begin, s + inside.begin, inside.end - inside.begin);
    if (plan_.threshold && plan_.renormalised && whole_[row(g, strip + r)] == 0.0f)
      drop_row(random(strip + r, span), plan_.threshold, s + span.begin, span.end - span.begin);
    return span;
  }

  void forward_row(int64_t g, int64_t strip, int64_t r) {
    const Span span = prepare_row(g, strip, r);
    float* const s = s_ + r * kTileStride + span.begin;
    const int64_t count = span.end - span.begin, at = row(g, strip + r);
    const float before = most_[at], most = std::max(before, largest_of(s, count));
    if (most == -kInfinity) return std::fill(s, s + count, 0.0f);
    const bool drops = plan_.threshold && !plan_.renormalised;
    const float total = drops ? weigh<true>(s, count, most, random(strip + r, span), plan_.threshold)
                              : weigh<false>(s, count, most, nullptr, 0);
    const float shrink = before == most ? 1.0f : exp2(broadcast(before - most))[0];
    if (shrink != 1.0f) scale_row(out_row(g, strip + r), value_width_, shrink);
    most_[at] = most, total_[at] = total_[at] * shrink + total;
  }

  void backward_strip(int64_t g, int64_t strip, int64_t rows) {
    const float *q = q_ + row(g, strip) * width_, *dy = out_row(g, strip);
    const auto span = [&](int64_t i) { return spans_[i]; };
    const auto all = [&](int64_t) { return Span{0, std::max(width_, value_width_)}; };
    product(groups_, padded(count_, kColumns), value_width_, {dy, value_width_, 1}, {vt_, kPanel * value_width_, kPanel}, ds_,
            kTileStride, false, all, span);
    const bool drops = plan_.threshold && !plan_.renormalised;
    for (int64_t r = 0; r < groups_ * kTileRows; ++r) {
      const bool real = r < rows;
      const Span part = real ? prepare_row(g, strip, r) : spans_[r / kTileRows];
      float *const s = s_ + r * kTileStride + part.begin, *const ds = ds_ + r * kTileStride + part.begin;
      const int64_t count = part.end - part.begin, at = row(g, strip + r);
      if (!real) {
        std::fill(s, s + count, 0.0f);
        std::fill(ds, ds + count, 0.0f);
      } else if (drops) {
        differentiate<true>(s, ds, count, most_[at], total_[at], random(strip + r, part), plan_.threshold);
      } else {
        differentiate<false>(s, ds, count, most_[at], total_[at], nullptr, 0);
      }
      if (real && plan_.of_logits) {
        const int64_t first = (b_ * plan_.heads + head(g)) * plan_.queries + strip + r;
        std::copy_n(ds, std::min(count, count_ - part.begin), plan_.of_logits + first * plan_.keys + chunk_ + part.begin);
      }
    }
    product(groups_, width_, count_, {ds_, kTileStride, 1}, {k_, kPanel, width_}, dq_ + row(g, strip) * width_, width_, true, span,
            all);
    const auto rows_of = [&](int64_t keys) { return rows_that_meet(keys * kTileRows); };
    const int64_t key_groups = padded(count_, kTileRows) / kTileRows, depth = groups_ * kTileRows;
    product(key_groups, value_width_, depth, {s_, 1, kTileStride}, {dy, kPanel, value_width_}, dv_, value_width_, true, rows_of,
            all);
    product(key_groups, width_, depth, {ds_, 1, kTileStride}, {q, kPanel, width_}, dk_, width_, true, rows_of, all);
  }

  // The rows of the strip whose span has a key. Spans begin and end later from row to row.
  Span rows_that_meet(int64_t key) const {
    int64_t begin = 0, end = groups_;
    while (begin < end && spans_[begin].end <= key) ++begin;
    while (end > begin && spans_[end - 1].begin > key) --end;
    return {begin * kTileRows, end * kTileRows};
  }

  // Notes which rows DropKey leaves whole.
  void find_whole_rows(int64_t g, int64_t strip, int64_t rows) {
    for (int64_t r = strip; plan_.renormalised && plan_.threshold && r < strip + rows; ++r)
      whole_[row(g, r)] = loses_all(g, r) ? 1.0f : 0.0f;
  }

  // Whether a query would lose every key that it may attend to: then it loses none.
  bool loses_all(int64_t g, int64_t r) {
    alignas(64) float logits[kChunk];
    bool lost = true;
    for (chunk_ = 0; lost && chunk_ < keys_; chunk_ += kChunk) {
      count_ = std::min(kChunk, keys_ - chunk_);
      const Span inside = window(r);
      if (inside.empty()) continue;
      start_bits(g);
      std::fill_n(logits, kChunk, -kInfinity);
      std::fill(logits + inside.begin, logits + inside.end, 0.0f);
      if (plan_.mask_type != MaskType::none)
        add_mask(plan_, b_, head(g), r, chunk_ + inside.begin, logits + inside.begin, inside.end - inside.begin);
      drop_row(random(r, {0, padded(count_, kColumns)}), plan_.threshold, logits, padded(count_, kColumns));
      lost = largest_of(logits, padded(count_, kColumns)) == -kInfinity;
    }
    return lost;
  }

  int64_t groups_ = 0, bits_head_ = -1, bits_chunk_ = -1;
  Span spans_[kStrip / kTileRows];
  WeightBits bits_;
};
