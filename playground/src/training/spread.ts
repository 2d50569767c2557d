/** Monte-Carlo dropout: the mean and the spread of predictions over random masks. */

import { noise } from "../network/noise";
import { FAR, framed, inputsOf, NEAR, predictions, type Picture } from "./picture";
import type { Run } from "./run";

const CURVES = 12;
const SIDE = 32;

export interface Spread {
  readonly mean: Picture;
  readonly deviation: Picture;
  /** Average deviation where the data are, and elsewhere. */
  readonly near: number;
  readonly far: number;
  /** The predictions of single sub-networks, for the line. */
  readonly curves: readonly Float32Array[];
}

/** Returns the spread over masks; each mask is that of one sub-network over the whole picture. */
export function spreadOf(run: Run, masks: number): Spread | null {
  const { data, config } = run;
  if (data.task === "classes") return null;
  const x = inputsOf(data, FAR, SIDE);
  const count = x.length / data.inputs;
  const drawn = Array.from({ length: masks }, (_, draw) => {
    const factors = noise({ ...config, step: config.steps }, [draw]);
    return predictions(data, run.shown, x, factors);
  });
  const mean = new Float32Array(count).map((_, i) => average(drawn.map((values) => values[i])));
  const deviation = mean.map((m, i) => Math.sqrt(average(drawn.map((values) => (values[i] - m) ** 2))));
  const inside = Array.from(deviation, (_, i) => isNear(x, i, data.inputs));
  return {
    mean: framed(data, FAR, mean),
    deviation: framed(data, FAR, deviation),
    near: average([...deviation].filter((_, i) => inside[i])),
    far: average([...deviation].filter((_, i) => !inside[i])),
    curves: data.inputs === 1 ? drawn.slice(0, CURVES) : [],
  };
}

function isNear(x: Float64Array, index: number, inputs: number): boolean {
  return x.subarray(index * inputs, (index + 1) * inputs).every((value) => Math.abs(value) <= NEAR);
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
