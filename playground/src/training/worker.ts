/** The worker: answers each call with a result. It holds the two runs that the page shows. */

import { load } from "../data/dataset";
import { averagesOf } from "./average";
import { withoutDropout, type Config } from "./config";
import { record } from "./record";
import { Run } from "./run";
import { snapshot, type Watch } from "./snapshot";
import { trial } from "./trial";

let twins: { plain: Run; dropout: Run } | undefined;

const CALLS = {
  /** Starts both runs anew. */
  start({ config, watch }: { config: Config; watch: Watch }) {
    const data = load(config.data, config.size, config.noise, config.seed);
    twins = { plain: new Run(withoutDropout(config), data), dropout: new Run(config, data) };
    return snapshot(twins.plain, twins.dropout, watch);
  },
  /** Takes steps with both networks. */
  advance({ steps, watch }: { steps: number; watch: Watch }) {
    if (!twins) throw new Error("advance: call start first.");
    for (let i = 0; i < steps; i++) {
      twins.plain.advance();
      twins.dropout.advance();
    }
    return snapshot(twins.plain, twins.dropout, watch);
  },
  average: ({ config, units }: { config: Config; units: number }) => averagesOf(config, units),
  trial: ({ config, rate, seed }: { config: Config; rate: number; seed: number }) => trial(config, rate, seed),
  record: ({ config, steps }: { config: Config; steps: number }) => record(config, steps),
};

export type Calls = typeof CALLS;
export type Name = keyof Calls;

export interface Request<K extends Name = Name> {
  readonly id: number;
  readonly name: K;
  readonly argument: Parameters<Calls[K]>[0];
}

export interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

self.onmessage = ({ data: { id, name, argument } }: MessageEvent<Request>) => {
  const call = CALLS[name] as (given: unknown) => unknown;
  try {
    self.postMessage({ id, result: call(argument) } satisfies Answer);
  } catch (error) {
    self.postMessage({ id, error: String(error) } satisfies Answer);
  }
};
