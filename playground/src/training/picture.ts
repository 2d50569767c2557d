/** What a network predicts, as a picture: over the plane, along the line, or of validation digits. */

import type { Dataset } from "../data/dataset";
import { forward } from "../network/forward";
import { argmax, sigmoid } from "../network/loss";
import { noise, type Factors } from "../network/noise";
import type { Parameters } from "../network/parameters";
import type { Run } from "./run";

export const GRID = 40;
export const LINE = 161;
/** Validation digits that are shown. */
export const SHOWN_DIGITS = 40;
/** Half the side of the plane, in the units of the data. */
export const NEAR = 1.25;
export const FAR = 3;

export type Picture =
  | { readonly kind: "plane"; readonly extent: number; readonly side: number; readonly values: Float32Array }
  | { readonly kind: "line"; readonly extent: number; readonly values: Float32Array }
  | { readonly kind: "digits"; readonly classes: readonly number[] };

/** Returns the inputs whose predictions make the picture. */
export function inputsOf(data: Dataset, extent: number, side = GRID): Float64Array {
  if (data.task === "classes") return data.validation.x.subarray(0, SHOWN_DIGITS * data.inputs);
  if (data.inputs === 1) return Float64Array.from({ length: LINE }, (_, i) => extent * ((2 * i) / (LINE - 1) - 1));
  const x = new Float64Array(2 * side * side);
  for (let i = 0; i < side * side; i++) {
    x[2 * i] = extent * ((2 * (i % side) + 1) / side - 1);
    x[2 * i + 1] = extent * (1 - (2 * Math.floor(i / side) + 1) / side);
  }
  return x;
}

/** Returns the prediction of each input: a probability, or a number. */
export function predictions(data: Dataset, model: Parameters, x: Float64Array, factors?: Factors[]): Float32Array {
  const { output } = forward(model, x, x.length / data.inputs, factors);
  return data.task === "binary" ? Float32Array.from(output, sigmoid) : Float32Array.from(output);
}

/** Returns the picture of a run. `noisy`: with dropout on, each input with a mask of its own. */
export function pictureOf(run: Run, noisy: boolean): Picture {
  const { data, config } = run;
  const x = inputsOf(data, NEAR);
  const count = x.length / data.inputs;
  const ids = Array.from({ length: count }, (_, i) => i);
  const factors = noisy ? noise({ ...config, step: run.step }, ids) : undefined;
  const values = predictions(data, run.shown, x, factors);
  if (data.task !== "classes") return framed(data, NEAR, values);
  const classes = ids.map((i) => argmax(values.subarray(i * data.outputs, (i + 1) * data.outputs)));
  return { kind: "digits", classes };
}

export function framed(data: Dataset, extent: number, values: Float32Array): Picture {
  return data.inputs === 1
    ? { kind: "line", extent, values }
    : { kind: "plane", extent, side: Math.sqrt(values.length), values };
}
