/** One trial of the rate screen: a run at one rate and one seed, to its end. */

import { load } from "../data/dataset";
import type { Config } from "./config";
import { Run } from "./run";

export interface Trial {
  readonly rate: number;
  readonly seed: number;
  /** Validation loss at the end; with early stopping the lowest one. */
  readonly validation: number;
  readonly train: number;
}

export function trial(config: Config, rate: number, seed: number): Trial {
  const data = load(config.data, config.size, config.noise, seed);
  const run = new Run({ ...config, seed, rates: config.rates.map(() => rate) }, data);
  while (!run.over) run.advance();
  const at = run.stopped ? run.curves.validation.indexOf(run.best.loss) : run.curves.validation.length - 1;
  return { rate, seed, validation: run.curves.validation[at], train: run.curves.train[at] };
}
