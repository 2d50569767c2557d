// From an address to the blocks of one of its samples. Included inside the namespace of an instruction set, behind philox.h.

Stream stream_of(const Address& address, int64_t sample) {
  const int64_t row = address.samples ? address.samples[sample * address.sample_stride] : sample + address.first_sample;
  return {static_cast<uint32_t>(address.seed), static_cast<uint32_t>(address.seed >> 32),
          address.by_sample ? static_cast<uint32_t>(row) : 0u, address.step, address.site};
}
