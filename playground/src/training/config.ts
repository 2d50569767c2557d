/** What a run is made of. The same configuration gives the same run, number by number. */

import type { DataName } from "../data/names";
import type { Method } from "../network/noise";

export interface Config {
  readonly data: DataName;
  /** Number of training samples. */
  readonly size: number;
  /** Noise of the data, 0 .. 1. */
  readonly noise: number;
  /** Hidden layers. */
  readonly depth: number;
  /** Units of each hidden layer. */
  readonly width: number;
  readonly method: Method;
  /** Drop rate after each hidden layer; the first `depth` are used. */
  readonly rates: readonly number[];
  readonly learningRate: number;
  /** Weight decay, added to the gradient of the weights. */
  readonly l2: number;
  readonly batch: number;
  readonly seed: number;
  /** Number of steps of a run. */
  readonly steps: number;
  /** Stop after this many steps without a lower validation loss; 0 never stops. */
  readonly patience: number;
}

export const DEEPEST = 4;
export const WIDEST = 64;

export const DEFAULTS: Config = {
  data: "circle",
  size: 60,
  noise: 0.6,
  depth: 2,
  width: 32,
  method: "dropout",
  rates: [0.5, 0.5, 0.5, 0.5],
  learningRate: 0.01,
  l2: 0,
  batch: 20,
  seed: 0,
  steps: 2000,
  patience: 0,
};

/** Returns the configuration of the twin without dropout. */
export function withoutDropout(config: Config): Config {
  return { ...config, rates: config.rates.map(() => 0) };
}
