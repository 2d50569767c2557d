/** Compares the rates of the trials so far with no dropout, seed by seed. */

import type { Trial } from "../training/trial";
import { quantile } from "./student";

export const SWEEP = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8] as const;
/** Seeds below which nothing is said. */
export const FEWEST = 5;
const LEVEL = 0.95;

export interface Interval {
  readonly mean: number;
  readonly half: number;
}

export type Conclusion =
  | { readonly kind: "few"; readonly seeds: number }
  | { readonly kind: "zero"; readonly seeds: number }
  | { readonly kind: "better" | "unsure"; readonly seeds: number; readonly rate: number; readonly gain: Interval };

/** Returns the mean and half the width of its interval; the width is infinite for one value. */
export function interval(values: readonly number[], level = LEVEL): Interval {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  if (count < 2) return { mean, half: Infinity };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  return { mean, half: quantile(level, count - 1) * Math.sqrt(variance / count) };
}

/** Returns the seeds with a trial at every rate. */
export function completeSeeds(trials: readonly Trial[]): number[] {
  const seeds = [...new Set(trials.map(({ seed }) => seed))];
  return seeds.filter((seed) => trials.filter((each) => each.seed === seed).length === SWEEP.length);
}

/** Returns what the trials say. The level of the interval allows for the choice of the best of all rates but 0. */
export function conclude(trials: readonly Trial[]): Conclusion {
  const seeds = completeSeeds(trials);
  if (seeds.length < FEWEST) return { kind: "few", seeds: seeds.length };
  const losses = (rate: number) => seeds.map((seed) => trials.find((t) => t.seed === seed && t.rate === rate)!.validation);
  const zero = losses(0);
  const gains = SWEEP.slice(1).map((rate) => losses(rate).map((loss, i) => zero[i] - loss));
  const means = gains.map((gain) => interval(gain).mean);
  const best = means.indexOf(Math.max(...means));
  if (means[best] <= 0) return { kind: "zero", seeds: seeds.length };
  const gain = interval(gains[best], 1 - (1 - LEVEL) / gains.length);
  const kind = gain.mean - gain.half > 0 ? "better" : "unsure";
  return { kind, seeds: seeds.length, rate: SWEEP[best + 1], gain };
}
