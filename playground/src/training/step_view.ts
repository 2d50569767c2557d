/** The next step of a run as one sample sees it: every unit with its value, its factor and its gradient. */

import type { Run } from "./run";

export interface LayerView {
  /** In front of the noise. */
  readonly values: Float64Array;
  /** 0 where a unit is dropped; null where nothing is. */
  readonly factors: Float64Array | null;
  /** Of the loss, with respect to the values. */
  readonly gradients: Float64Array;
  /** How often each unit was dropped so far. */
  readonly dropped: Float64Array;
}

export interface StepView {
  readonly step: number;
  /** The id of the sample, and its place in the batch. */
  readonly sample: number;
  readonly row: number;
  readonly batch: number;
  /** How many masks of each unit were drawn so far. */
  readonly drawn: number;
  readonly sizes: readonly number[];
  readonly layers: readonly LayerView[];
  /** Of each layer of the network, outputs x inputs. */
  readonly weights: readonly Float64Array[];
}

export function stepView(run: Run, wanted: number): StepView {
  const { step, samples, pass, gradients } = run.peek();
  const row = Math.min(wanted, samples.length - 1);
  const { width } = run.config;
  const own = (values: Float64Array) => values.slice(row * width, (row + 1) * width);
  const layers = pass.hidden.map((values, layer) => {
    const factors = pass.factors[layer];
    return {
      values: own(values),
      factors: factors && own(factors),
      gradients: own(gradients.hidden[layer]),
      dropped: run.dropped[layer],
    };
  });
  const weights = run.parameters.layers.map(({ weight }) => weight.slice());
  return { step, sample: samples[row], row, batch: samples.length, drawn: run.drawn, sizes: run.sizes, layers, weights };
}
