// Random bits: Philox4x32 with 7 rounds. Included inside the namespace of an instruction set, see isa.h.

constexpr int kLanes = 16;

struct Words {
  alignas(64) uint32_t word[4][kLanes];
};

// The blocks of one sample: its address without the unit.
struct Stream {
  uint32_t key0, key1, sample, step, site;
};

// Numbers of 64 bits side by side, of which the lower 32 count: the form in which vector units multiply 32 by 32 bits.
// Compilers do not turn a plain loop into this one instruction; everything else is plain.
constexpr int kWide = THINNET_WIDE;
using Wide = uint64_t __attribute__((vector_size(8 * kWide)));

inline Wide multiply(Wide a, Wide b) {
#if THINNET_WIDE == 8
  return (Wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif THINNET_WIDE == 4
  return (Wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return (Wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(__ARM_NEON)
  return (Wide)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
  return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

// Philox4x32 with 7 rounds on kWide blocks. The upper halves of the counter's words may hold anything: nothing reads them.
struct Blocks {
  Wide c0, c1, c2, c3;

  void round(uint32_t key0, uint32_t key1) {
    const Wide product0 = multiply(c0, Wide{} + 0xD2511F53u), product1 = multiply(c2, Wide{} + 0xCD9E8D57u);
    c0 = (product1 >> 32) ^ c1 ^ (Wide{} + key0);
    c1 = product1;
    c2 = (product0 >> 32) ^ c3 ^ (Wide{} + key1);
    c3 = product0;
  }
};

alignas(64) constexpr uint64_t kEvenLanes[] = {0, 2, 4, 6, 8, 10, 12, 14};

inline void store_pairs(uint32_t* to, Wide even, Wide odd) {
  const Wide pairs = (even & (Wide{} + 0xFFFFFFFFu)) | (odd << 32);
  std::memcpy(to, &pairs, sizeof pairs);
}

// The words of sixteen blocks; even and odd lanes apart, so that a pair of them is one 64-bit number at the end.
[[gnu::noinline]] void draw_words(const Stream& stream, uint32_t first_block, Words& out) {
  for (int lane = 0; lane < kLanes; lane += 2 * kWide) {
    Wide first;
    std::memcpy(&first, kEvenLanes, sizeof first);
    first += first_block + lane;
    Blocks even{first, Wide{} + stream.sample, Wide{} + stream.step, Wide{} + stream.site}, odd = even;
    odd.c0 = first + 1;
    uint32_t key0 = stream.key0, key1 = stream.key1;
#pragma GCC unroll 7
    for (int round = 0; round < 7; ++round) {
      even.round(key0, key1);
      odd.round(key0, key1);
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    store_pairs(out.word[0] + lane, even.c0, odd.c0);
    store_pairs(out.word[1] + lane, even.c1, odd.c1);
    store_pairs(out.word[2] + lane, even.c2, odd.c2);
    store_pairs(out.word[3] + lane, even.c3, odd.c3);
  }
}
