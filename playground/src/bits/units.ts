/** The layout of units in Philox blocks, as in `thinnet/ops/reference.py`. */

import { keyOf, type Address } from "./address";
import { philox } from "./philox";

const RESOLUTION = 65536;

/** Returns the 16 bits of units 0 .. count - 1: unit 128 s + 32 j + 2 l + h is half h of word j of block 16 s + l. */
export function unitBits(address: Address, count: number): Uint16Array {
  const bits = new Uint16Array(count);
  const key = keyOf(address.seed);
  for (let start = 0; start < count; start += 128) {
    for (let lane = 0; lane < 16 && start + 2 * lane < count; lane++) {
      const words = philox([start / 8 + lane, address.sample, address.step, address.site], key);
      for (let j = 0; j < 4; j++) {
        const unit = start + 32 * j + 2 * lane;
        if (unit < count) bits[unit] = words[j] & 0xffff;
        if (unit + 1 < count) bits[unit + 1] = words[j] >>> 16;
      }
    }
  }
  return bits;
}

/** Returns the 32-bit words of continuous noise: unit 64 s + 16 j + l is word j of block 16 s + l. */
export function unitWords(address: Address, count: number): Uint32Array {
  const found = new Uint32Array(count);
  const key = keyOf(address.seed);
  for (let start = 0; start < count; start += 64) {
    for (let lane = 0; lane < 16 && start + lane < count; lane++) {
      const words = philox([start / 4 + lane, address.sample, address.step, address.site], key);
      for (let j = 0; j < 4; j++) {
        const unit = start + 16 * j + lane;
        if (unit < count) found[unit] = words[j];
      }
    }
  }
  return found;
}

/** Returns a rate in 65536ths, to nearest, ties to even. A rate below 1 never counts as 1. */
export function countOf(rate: number): number {
  const exact = rate * RESOLUTION;
  const floor = Math.floor(exact);
  const up = exact - floor > 0.5 || (exact - floor === 0.5 && floor % 2 === 1);
  return Math.min(floor + (up ? 1 : 0), RESOLUTION - (rate < 1 ? 1 : 0));
}

/** Returns 1 / (1 - p) at the delivered rate in float32, and 0 where everything is dropped. */
export function scaleOf(rate: number): number {
  const kept = RESOLUTION - countOf(rate);
  return kept === 0 ? 0 : Math.fround(RESOLUTION / kept);
}

/** Returns the mask of units 0 .. count - 1: 1 is kept, 0 is dropped. */
export function mask(address: Address, count: number, rate: number): Uint8Array {
  const dropped = countOf(rate);
  return Uint8Array.from(unitBits(address, count), (bits) => (bits >= dropped ? 1 : 0));
}
