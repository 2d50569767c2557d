// How an element is read, computed with and written. Included inside the namespace of an instruction set, see isa.h.

struct Float32 {
  using Stored = float;
  using Number = float;
  static Number load(Stored value) { return value; }
  static Stored store(Number value) { return value; }
};

struct Float64 {
  using Stored = double;
  using Number = double;
  static Number load(Stored value) { return value; }
  static Stored store(Number value) { return value; }
};

struct BFloat16 {
  using Stored = uint16_t;
  using Number = float;
  static Number load(Stored value) { return std::bit_cast<float>(uint32_t{value} << 16); }
  static Stored store(Number value) {  // to nearest, ties to even
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const bool is_nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    return static_cast<Stored>(is_nan ? 0x7FC0u : rounded);
  }
};

// Without a jump, so that loops over it become vector instructions.
inline uint32_t select(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = 0u - uint32_t{condition};
  return (yes & mask) | (no & ~mask);
}

struct Float16 {
  using Stored = uint16_t;
  using Number = float;
  // Integer arithmetic moves the exponent; a float addition aligns the subnormals.
  static Number load(Stored value) {
    const uint32_t sign = (uint32_t{value} & 0x8000u) << 16;
    const uint32_t magnitude = (uint32_t{value} & 0x7FFFu) << 13;
    const uint32_t normal = magnitude + 0x38000000u + select(magnitude >= 0x0F800000u, 0x38000000u, 0u);  // inf and nan
    const float subnormal = std::bit_cast<float>(magnitude + 0x38800000u) - std::bit_cast<float>(0x38800000u);
    return std::bit_cast<float>(sign | select(magnitude < 0x00800000u, std::bit_cast<uint32_t>(subnormal), normal));
  }
  static Stored store(Number value) {  // to nearest, ties to even
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7FFFFFFFu;
    const uint32_t normal = (magnitude - 0x38000000u + 0x0FFFu + ((magnitude >> 13) & 1u)) >> 13;
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;  // 0.5 has the ulp of half's subnormals
    const uint32_t subnormal = std::bit_cast<uint32_t>(shifted) - 0x3F000000u;
    uint32_t half = select(magnitude < 0x38800000u, subnormal, normal);
    half = select(magnitude >= 0x47800000u, 0x7C00u, half);  // 65536 and above; what rounds up to it carries by itself
    half = select(magnitude > 0x7F800000u, 0x7E00u, half);   // nan
    return static_cast<Stored>(sign | half);
  }
};
