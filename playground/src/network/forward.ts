/** The forward pass: linear layers with ReLU and noise behind each hidden one. */

import type { Factors } from "./noise";
import type { Layer, Parameters } from "./parameters";

/** What a pass computed: the input of every layer, and the output of the last. */
export interface Pass {
  readonly count: number;
  /** The input of layer i, behind the noise of layer i - 1. */
  readonly inputs: readonly Float64Array[];
  /** The hidden values in front of the noise. */
  readonly hidden: readonly Float64Array[];
  readonly factors: readonly Factors[];
  readonly output: Float64Array;
}

const NO_NOISE: readonly Factors[] = [];

export function forward({ layers }: Parameters, x: Float64Array, count: number, factors = NO_NOISE): Pass {
  const inputs = [x];
  const hidden: Float64Array[] = [];
  for (let i = 0; i + 1 < layers.length; i++) {
    const values = linear(layers[i], inputs[i], count);
    for (let k = 0; k < values.length; k++) if (values[k] < 0) values[k] = 0;
    hidden.push(values);
    inputs.push(times(values, factors[i] ?? null));
  }
  const last = layers.length - 1;
  return { count, inputs, hidden, factors, output: linear(layers[last], inputs[last], count) };
}

/** Returns the values behind the noise. A factor for every unit, or a row of factors that all samples share. */
function times(values: Float64Array, factors: Factors): Float64Array {
  if (!factors) return values;
  const noisy = new Float64Array(values.length);
  const width = factors.length;
  for (let k = 0; k < values.length; k++) noisy[k] = values[k] * factors[k % width];
  return noisy;
}

function linear({ inputs, outputs, weight, bias }: Layer, x: Float64Array, count: number): Float64Array {
  const y = new Float64Array(count * outputs);
  for (let n = 0; n < count; n++) {
    const row = n * inputs;
    for (let o = 0; o < outputs; o++) {
      const column = o * inputs;
      let sum = bias[o];
      for (let i = 0; i < inputs; i++) sum += weight[column + i] * x[row + i];
      y[n * outputs + o] = sum;
    }
  }
  return y;
}
