/** DropBlock on a square map, as in `thinnet/methods/spatial/blocks.py`. */

import type { Address } from "../bits/address";
import { uniform } from "../bits/continuous";
import { countOf, unitWords } from "../bits/units";

const SPACING = 2 ** 23;
const HALVINGS = 60;

/** Returns the factor of every position of each channel: 0 where a block covers it, otherwise 1 / (1 - gamma)^n. */
export function dropBlock(address: Address, rate: number, channels: number, side: number, block: number): Float64Array {
  const places = side - block + 1;
  const covered = coverage(side, block);
  const gamma = seedRate(covered, rate);
  const words = unitWords(address, channels * places * places);
  const factors = new Float64Array(channels * side * side);
  for (let i = 0; i < factors.length; i++) factors[i] = (1 - gamma) ** -covered[i % (side * side)];
  words.forEach((word, seed) => {
    if ((1 + uniform(word)) / 2 >= gamma) return;
    const channel = Math.floor(seed / (places * places));
    const top = Math.floor(seed / places) % places;
    for (let k = 0; k < block * block; k++) {
      factors[(channel * side + top + Math.floor(k / block)) * side + (seed % places) + (k % block)] = 0;
    }
  });
  return factors;
}

/** Returns how many blocks can cover each position. */
function coverage(side: number, block: number): number[] {
  const along = Array.from({ length: side }, (_, i) => Math.min(i + 1, side - i, block, side - block + 1));
  return along.flatMap((high) => along.map((wide) => high * wide));
}

/** Returns gamma, which drops `rate` of the positions on average: mean of (1 - gamma)^n = 1 - p. */
function seedRate(covered: readonly number[], rate: number): number {
  const kept = 1 - countOf(rate) / 65536;
  let [low, high] = [0, 1];
  for (let i = 0; i < HALVINGS; i++) {
    const middle = (low + high) / 2;
    const mean = covered.reduce((sum, n) => sum + (1 - middle) ** n, 0) / covered.length;
    if (mean > kept) low = middle;
    else high = middle;
  }
  return Math.round(((low + high) / 2) * SPACING) / SPACING;
}
