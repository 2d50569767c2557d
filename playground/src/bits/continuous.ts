/** Continuous noise of 32-bit words, in float32 arithmetic, as in `thinnet/ops/reference.py`. */

import { countOf } from "./units";

const f = Math.fround;
const LOG = [-1.0000229, 0.50006473, -0.33160722, 0.2472176, -0.23073845, 0.20171344].map(f);
const CENTRAL = [
  2.464737, 0.33285218, -0.0095093185, -0.0006855669, 0.00022915259, -2.1138769e-5, -1.360266e-6, 3.5906297e-7,
].map(f);
const TAIL = [
  5.061595, 0.19061698, -0.0033500616, 0.000114999326, -4.9471305e-6, 2.36753e-7, -7.704266e-9, -1.2813293e-11,
].map(f);

const buffer = new DataView(new ArrayBuffer(4));

/** Returns a polynomial, lowest power first, by pairs; each product and each sum is rounded to float32. */
function polynomial(coefficients: readonly number[], x: number): number {
  let power = x;
  let terms = coefficients;
  while (terms.length > 1) {
    terms = terms.flatMap((term, i) =>
      i % 2 ? [] : [i + 1 < terms.length ? f(term + f(terms[i + 1] * power)) : term],
    );
    power = f(power * power);
  }
  return terms[0];
}

/** Returns the standard normal number of a 32-bit word: one bit is the sign, 31 are the tail. */
export function normal(word: number): number {
  const twice = f(f(f(word >>> 1) + 0.5) * 2 ** -31);
  const t = f(twice * f(2 - twice));
  buffer.setFloat32(0, t);
  const bits = buffer.getInt32(0);
  const exponent = (bits - 0x3f2aaaab) >> 23;
  buffer.setInt32(0, bits - (exponent << 23));
  const fraction = f(buffer.getFloat32(0) - 1);
  const w = f(f(exponent * f(-0.6931472)) + f(polynomial(LOG, fraction) * fraction));
  const size = w < 7 ? polynomial(CENTRAL, f(w - 3.5)) : polynomial(TAIL, f(w - 14));
  const z = f(size * f(1 - twice));
  return word & 1 ? -z : z;
}

/** Returns the number in (-1, 1) of a 32-bit word, an odd multiple of 2^-23. */
export function uniform(word: number): number {
  return ((word >>> 9) * 2 - 0x7fffff) * 2 ** -23;
}

/** Returns the factor of Gaussian dropout of a word: 1 + sqrt(p / (1 - p)) z. */
export function gaussianFactor(word: number, rate: number): number {
  const dropped = countOf(rate);
  return f(1 + f(f(Math.sqrt(f(dropped / (65536 - dropped)))) * normal(word)));
}
