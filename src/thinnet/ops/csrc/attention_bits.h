// The random bits of attention weights: a row of keys at a time. Included inside the namespace of an instruction set.

constexpr uint64_t kAttention = 0x417474656E74696Full;  // "Attentio" in ASCII
constexpr int64_t kUnits = 128;                          // keys that sixteen blocks serve
constexpr int kTurns = kLanes / (2 * kWide);             // vectors of even and of odd blocks among sixteen

// The words 0 and 1 of philox(counter = (head, 0, 0, site), key = seed ^ kAttention).
inline std::array<uint32_t, 2> subkey(uint64_t seed, uint32_t site, uint32_t head) {
  seed ^= kAttention;
  Blocks blocks{Wide{} + head, Wide{}, Wide{}, Wide{} + site};
  for (uint32_t round = 0; round < 7; ++round)
    blocks.round(static_cast<uint32_t>(seed) + round * 0x9E3779B9u, static_cast<uint32_t>(seed >> 32) + round * 0xBB67AE85u);
  return {static_cast<uint32_t>(blocks.c0[0]), static_cast<uint32_t>(blocks.c1[0])};
}

// The bits of one head and sample for the keys of a chunk. The query is in one word of the counter alone, so two and a half of
// Philox's seven rounds are the same for all queries.
class WeightBits {
 public:
  void start(std::array<uint32_t, 2> key, uint32_t sample, uint32_t step, int64_t first_key) {
    key_ = key, first_ = first_key & (kUnits - 1);
    const uint64_t product1 = 0xCD9E8D57ull * step;
    c0_ = static_cast<uint32_t>(product1 >> 32) ^ sample ^ key[0], c1_ = static_cast<uint32_t>(product1);
    const uint64_t product0 = 0xD2511F53ull * c0_;
    for (int segment = 0; segment < kSegments; ++segment) {
      const auto block = static_cast<uint32_t>((first_key >> 7) * kLanes) + segment * kLanes;
      for (int turn = 0; turn < kTurns; ++turn)
        for (int odd = 0; odd < 2; ++odd) {
          Wide blocks;
          std::memcpy(&blocks, kEvenLanes, sizeof blocks);
          const Wide product = multiply(blocks + (block + 2 * kWide * turn + odd), Wide{} + 0xD2511F53u);
          high_[segment][turn][odd] = product >> 32;
          const Wide c2 = (Wide{} + static_cast<uint32_t>(product0 >> 32)) ^ product ^ (Wide{} + (key[1] + 0xBB67AE85u));
          third_[segment][turn][odd] = multiply(c2, Wide{} + 0xCD9E8D57u);
        }
    }
    second_ = static_cast<uint32_t>(product0);
  }

  // Draws the bits of a query for the keys of a span of the chunk; `at` returns those from a key on.
  void draw(uint32_t query, const Span& keys) {
    for (int64_t segment = (first_ + keys.begin) / kUnits; segment * kUnits < first_ + keys.end; ++segment)
      for (int turn = 0; turn < kTurns; ++turn) {
        Blocks even = rounds(query, segment, turn, 0), odd = rounds(query, segment, turn, 1);
        uint32_t key0 = key_[0] + 3 * 0x9E3779B9u, key1 = key_[1] + 3 * 0xBB67AE85u;
#pragma GCC unroll 4
        for (int round = 3; round < 7; ++round) {
          even.round(key0, key1);
          odd.round(key0, key1);
          key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
        }
        uint32_t* to = words_ + segment * 4 * kLanes + 2 * kWide * turn;
        store_pairs(to, even.c0, odd.c0);
        store_pairs(to + kLanes, even.c1, odd.c1);
        store_pairs(to + 2 * kLanes, even.c2, odd.c2);
        store_pairs(to + 3 * kLanes, even.c3, odd.c3);
      }
  }

  const uint16_t* at(int64_t key) const { return reinterpret_cast<const uint16_t*>(words_) + first_ + key; }

 private:
  static constexpr int kSegments = kChunk / kUnits + 1;

  // The first three rounds.
  Blocks rounds(uint32_t query, int64_t segment, int turn, int odd) const {
    const Wide c2 = high_[segment][turn][odd] ^ (Wide{} + (query ^ key_[1]));
    const Wide product1 = multiply(c2, Wide{} + 0xCD9E8D57u);
    const Wide c0 = (product1 >> 32) ^ (Wide{} + (c1_ ^ (key_[0] + 0x9E3779B9u)));
    const Wide product0 = multiply(c0, Wide{} + 0xD2511F53u), third = third_[segment][turn][odd];
    return {(third >> 32) ^ product1 ^ (Wide{} + (key_[0] + 2 * 0x9E3779B9u)), third,
            (product0 >> 32) ^ (Wide{} + (second_ ^ (key_[1] + 2 * 0xBB67AE85u))), product0};
  }

  std::array<uint32_t, 2> key_;
  int64_t first_;
  uint32_t c0_, c1_, second_;
  Wide high_[kSegments][kTurns][2], third_[kSegments][kTurns][2];
  alignas(64) uint32_t words_[kSegments * 4 * kLanes];
};
