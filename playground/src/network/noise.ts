/** The noise of a step: the factor of every hidden unit of every sample, 0 or 1 / (1 - p) for dropout. */

import { siteNumber } from "../bits/address";
import { gaussianFactor } from "../bits/continuous";
import { mask, scaleOf, unitWords } from "../bits/units";

export type Method = "dropout" | "gaussian";

/** The factors of one hidden layer, samples x width; null where the rate is 0. */
export type Factors = Float64Array | null;

/** Returns the name of the dropout site behind a hidden layer, counted from 0. */
export function siteName(layer: number): string {
  return `hidden${layer + 1}`;
}

export interface NoiseOf {
  readonly seed: number;
  readonly step: number;
  readonly method: Method;
  readonly rates: readonly number[];
  readonly width: number;
  readonly depth: number;
}

/** Returns the factors of each hidden layer for the samples of a batch. */
export function noise(of: NoiseOf, samples: ArrayLike<number>): Factors[] {
  return Array.from({ length: of.depth }, (_, layer) => factors(of, layer, samples));
}

function factors(of: NoiseOf, layer: number, samples: ArrayLike<number>): Factors {
  const rate = of.rates[layer];
  if (rate === 0) return null;
  const found = new Float64Array(samples.length * of.width);
  const site = siteNumber(siteName(layer));
  const scale = scaleOf(rate);
  for (let i = 0; i < samples.length; i++) {
    const address = { seed: of.seed, site, step: of.step, sample: samples[i] };
    const row = found.subarray(i * of.width, (i + 1) * of.width);
    if (of.method === "dropout") mask(address, of.width, rate).forEach((kept, unit) => (row[unit] = kept * scale));
    else unitWords(address, of.width).forEach((word, unit) => (row[unit] = gaussianFactor(word, rate)));
  }
  return found;
}
