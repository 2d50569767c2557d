/** The backward pass: the gradient of the loss with respect to every parameter and every hidden value. */

import type { Pass } from "./forward";
import { parameters, type Layer, type Parameters } from "./parameters";

export interface Gradients {
  readonly parameters: Parameters;
  /** With respect to the hidden values in front of the noise: 0 for a dropped unit. */
  readonly hidden: readonly Float64Array[];
}

/** Returns the gradients of a pass, given that of its output. */
export function backward({ layers }: Parameters, pass: Pass, ofOutput: Float64Array): Gradients {
  const sizes = [layers[0].inputs, ...layers.map(({ outputs }) => outputs)];
  const gradients = parameters(sizes);
  const hidden: Float64Array[] = [];
  let delta = ofOutput;
  for (let i = layers.length - 1; i >= 0; i--) {
    accumulate(gradients.layers[i], delta, pass.inputs[i], pass.count);
    if (i === 0) break;
    delta = transposed(layers[i], delta, pass.count);
    const noise = pass.factors[i - 1];
    if (noise) for (let k = 0; k < delta.length; k++) delta[k] *= noise[k];
    hidden.unshift(delta.slice());
    const values = pass.hidden[i - 1];
    for (let k = 0; k < delta.length; k++) if (values[k] <= 0) delta[k] = 0;
  }
  return { parameters: gradients, hidden };
}

/** Adds the gradient of weight and bias: delta^T x, and the sum of delta. */
function accumulate({ inputs, outputs, weight, bias }: Layer, delta: Float64Array, x: Float64Array, count: number): void {
  for (let n = 0; n < count; n++) {
    for (let o = 0; o < outputs; o++) {
      const d = delta[n * outputs + o];
      if (d === 0) continue;
      bias[o] += d;
      for (let i = 0; i < inputs; i++) weight[o * inputs + i] += d * x[n * inputs + i];
    }
  }
}

function transposed({ inputs, outputs, weight }: Layer, delta: Float64Array, count: number): Float64Array {
  const y = new Float64Array(count * inputs);
  for (let n = 0; n < count; n++) {
    for (let o = 0; o < outputs; o++) {
      const d = delta[n * outputs + o];
      if (d === 0) continue;
      for (let i = 0; i < inputs; i++) y[n * inputs + i] += d * weight[o * inputs + i];
    }
  }
  return y;
}
