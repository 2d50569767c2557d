/** Continuous noise of 32-bit words, in float32 arithmetic, as in `thinnet/ops/reference.py`. */

import { countOf } from "./units";

const f = Math.fround;
const LOG = [0.14434753, -0.15403238, 0.13903506, -0.16412783, 0.20017788, -0.2500803, 0.3333304, -0.4999993, 1.0];
const CENTRAL = [
  4.0354287e-8, 4.861035e-7, -4.990561e-6, -6.2179874e-6, 0.0003091502, -0.0017730101, -0.005908171, 0.34880266,
  2.1233137,
];
const TAIL = [
  -1.6987648e-5, -0.00025871277, 0.0008388759, -0.0010519394, 0.0013852174, -0.0028784522, 0.004673451, 1.4246305,
  4.7170877,
];

const buffer = new DataView(new ArrayBuffer(4));

/** Returns a polynomial by Horner's rule, highest power first; each product and each sum is rounded to float32. */
function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.map(f).reduce((value, coefficient) => f(f(value * x) + coefficient));
}

/** Returns the standard normal number of a 32-bit word: one bit is the sign, 31 are the tail. */
export function normal(word: number): number {
  const tail = f(f(f(word >>> 1) + 0.5) * 2 ** -32);
  const x = f(1 - f(2 * tail));
  const t = f(f(4 * tail) * f(1 - tail));
  buffer.setFloat32(0, t);
  const bits = buffer.getInt32(0);
  const exponent = (bits - 0x3f2aaaab) >> 23;
  buffer.setInt32(0, bits - (exponent << 23));
  const fraction = f(buffer.getFloat32(0) - 1);
  const w = f(0 - f(f(exponent * f(0.6931472)) + f(polynomial(LOG, fraction) * fraction)));
  const size = w < 5 ? polynomial(CENTRAL, f(w - 2.5)) : polynomial(TAIL, f(f(Math.sqrt(w)) - 3.5));
  const z = f(size * x);
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
