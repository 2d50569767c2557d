/** The address of random bits: seed, site, step and sample. The unit is the index into what an address gives. */

export interface Address {
  /** Below 2^53, so that a number holds it exactly. */
  readonly seed: number;
  /** The number of a site, see `siteNumber`. */
  readonly site: number;
  readonly step: number;
  readonly sample: number;
}

/** Returns the two key words of a seed, the low one first. */
export function keyOf(seed: number): [number, number] {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/** Returns the number of a site's name: the CRC-32 of its UTF-8 bytes. */
export function siteNumber(name: string): number {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(name)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
