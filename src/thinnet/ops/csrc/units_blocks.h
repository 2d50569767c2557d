// Dropout of blocks. Included by units_kernel.h inside the namespace of an instruction set.

// covered[i] |= the maximum over the window of a block, along every axis; the union of shifts doubles its width at each step.
// In front of each row and map there are zeros, as no block fits there, so a shift of the flat memory reads no other row.
void spread(uint8_t* covered, int64_t count, const BlocksPlan& plan) {
  for (int axis = 2; axis >= 0; --axis) {
    int64_t stride = 1;
    for (int behind = axis + 1; behind < 3; ++behind) stride *= plan.map[behind];
    for (int64_t width = 1; width < plan.block[axis];) {
      const int64_t step = std::min(width, plan.block[axis] - width), shift = step * stride;
      for (int64_t i = 0; i < count; i += kSegment) {  // a length known to the compiler
#pragma GCC ivdep
        for (int64_t j = i; j < i + kSegment; ++j) covered[j] |= covered[j + shift];
      }
      width += step;
    }
  }
}

// The bytes of a row, without a call.
inline void copy_row(const uint8_t* from, uint8_t* to, int64_t count) {
  uint64_t eight;
  if (count < 8) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
    return;
  }
  for (int64_t i = 0; i < count; i += 8) {
    const int64_t at = std::min(i, count - 8);
    std::memcpy(&eight, from + at, sizeof eight);
    std::memcpy(to + at, &eight, sizeof eight);
  }
}

// Which positions blocks cover, of several maps at once: short passes would wait for what the pass before has written.
class Covered {
 public:
  explicit Covered(const BlocksPlan& plan) : plan_(plan) {
    for (int axis = 0; axis < 3; ++axis) grid_[axis] = plan.map[axis] - plan.block[axis] + 1;
    plane_ = plan.map[1] * plan.map[2];
    tail_ = (plan.block[0] - 1) * plane_ + (plan.block[1] - 1) * plan.map[2] + plan.block[2] - 1;  // in front, and behind all
  }

  void set(const uint8_t* seeds, int64_t maps) {
    places_.assign(maps, kNone);
    int64_t hit = 0;
    for (int64_t map = 0; map < maps; ++map)
      if (std::memchr(seeds + map * plan_.seeds(), 1, plan_.seeds())) places_[map] = plan_.size() * hit++;
    const int64_t count = (hit * plan_.size() + tail_ + kSegment - 1) / kSegment * kSegment;
    covered_.assign(count + tail_, 0);
    for (int64_t map = 0; map < maps; ++map)
      if (places_[map] != kNone) put(seeds + map * plan_.seeds(), covered_.data() + places_[map] + tail_);
    if (hit) spread(covered_.data(), count, plan_);
  }

  // One byte for each position of a map; nothing where no block begins in it.
  const uint8_t* of(int64_t map) const { return places_[map] == kNone ? nullptr : covered_.data() + places_[map]; }

 private:
  static constexpr int64_t kNone = -1;

  void put(const uint8_t* seeds, uint8_t* to) const {
    for (int64_t i = 0; i < grid_[0]; ++i)
      for (int64_t j = 0; j < grid_[1]; ++j, seeds += grid_[2]) copy_row(seeds, to + i * plane_ + j * plan_.map[2], grid_[2]);
  }

  const BlocksPlan& plan_;
  std::array<int64_t, 3> grid_;
  int64_t plane_, tail_;
  std::vector<int64_t> places_;
  std::vector<uint8_t> covered_;
};

template <class Type>
void drop_map(const typename Type::Stored* x, typename Type::Stored* y, const typename Type::Number* scale, const uint8_t* out,
              int64_t size) {
  using Number = typename Type::Number;
  if (!out) {
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) y[i] = Type::store(Type::load(x[i]) * scale[i]);
    return;
  }
  for (int64_t done = 0; done < size; done += kSegment) {
    const int64_t taken = std::min(kSegment, size - done);
    Number product[kSegment];  // first, as compilers make masked loads otherwise, which no prefetcher follows
    for (int64_t i = 0; i < taken; ++i) product[i] = Type::load(x[done + i]) * scale[done + i];
#pragma GCC ivdep
    for (int64_t i = 0; i < taken; ++i) y[done + i] = Type::store(out[done + i] ? Number{0} : product[i]);
  }
}

template <class Type>
void drop_type(const BlocksPlan& plan, int64_t begin, int64_t end) {
  using Stored = typename Type::Stored;
  const int64_t size = plan.size(), each = std::max<int64_t>(1, kBlockNumbers / size);
  const int64_t chunks = plan.shared ? 1 : (plan.channels + each - 1) / each;
  const auto* scale = static_cast<const typename Type::Number*>(plan.scale);
  std::vector<uint8_t> seeds;
  Covered covered(plan);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t sample = task / chunks, channel = task % chunks * each;
    const int64_t maps = plan.shared ? 1 : std::min(each, plan.channels - channel), drawn = plan.shared ? 1 : plan.channels;
    const int64_t unit = ((plan.address.by_sample ? 0 : sample * drawn) + channel) * plan.seeds();
    seeds.resize(maps * plan.seeds());
    for_words<4>(stream_of(plan.address, sample), unit, maps * plan.seeds(), [&](const uint32_t* words, int64_t done, int64_t taken) {
      uint8_t* to = seeds.data() + done;
      for (int64_t i = 0; i < taken; ++i) to[i] = (words[i] >> 9) < plan.threshold;
    });
    const int64_t repeats = plan.shared ? plan.channels : 1;
    const int64_t start = (sample * plan.channels + channel) * size;
    const auto* x = reinterpret_cast<const Stored*>(plan.x) + start;
    auto* y = reinterpret_cast<Stored*>(plan.y) + start;
    covered.set(seeds.data(), maps);
    for (int64_t map = 0; map < maps; ++map) {
      const uint8_t* out = covered.of(map);
      for (int64_t repeat = 0; repeat < repeats; ++repeat, x += size, y += size) drop_map<Type>(x, y, scale, out, size);
    }
  }
}
