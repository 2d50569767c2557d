/** A run with everything that another program needs to repeat it: data, batches, first and last parameters. */

import { load } from "../data/dataset";
import type { Config } from "./config";
import { Run } from "./run";

export interface Recorded {
  readonly config: Config;
  readonly sizes: readonly number[];
  readonly x: number[];
  readonly y: number[];
  readonly batches: (readonly number[])[];
  /** Layer by layer: the weight, outputs x inputs, and the bias. */
  readonly initial: number[];
  readonly final: number[];
}

export function record(config: Config, steps: number): Recorded {
  const data = load(config.data, config.size, config.noise, config.seed);
  const run = new Run({ ...config, steps }, data);
  const initial = [...run.parameters.values];
  const batches: (readonly number[])[] = [];
  while (!run.over) {
    batches.push(run.samples);
    run.advance();
  }
  const { x, y } = data.train;
  return { config, sizes: run.sizes, x: [...x], y: [...y], batches, initial, final: [...run.parameters.values] };
}
