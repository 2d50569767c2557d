/** The parameters of a network: one vector, with views of each layer's weight and bias. */

import { siteNumber } from "../bits/address";
import { uniform } from "../bits/continuous";
import { unitWords } from "../bits/units";

export interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  /** outputs x inputs, row by row. */
  readonly weight: Float64Array;
  readonly bias: Float64Array;
}

export interface Parameters {
  readonly values: Float64Array<ArrayBuffer>;
  readonly layers: readonly Layer[];
}

/** Returns parameters over a vector, for layers of these sizes: inputs, hidden widths, outputs. */
export function parameters(sizes: readonly number[], values = new Float64Array(countFor(sizes))): Parameters {
  const layers: Layer[] = [];
  let start = 0;
  for (let i = 0; i + 1 < sizes.length; i++) {
    const [inputs, outputs] = [sizes[i], sizes[i + 1]];
    const weight = values.subarray(start, start + inputs * outputs);
    const bias = values.subarray(start + inputs * outputs, start + (inputs + 1) * outputs);
    layers.push({ inputs, outputs, weight, bias });
    start += (inputs + 1) * outputs;
  }
  return { values, layers };
}

function countFor(sizes: readonly number[]): number {
  return sizes.slice(1).reduce((sum, outputs, i) => sum + (sizes[i] + 1) * outputs, 0);
}

/** Returns PyTorch's default initialisation of a linear layer: uniform in +-1 / sqrt(inputs). */
export function initial(sizes: readonly number[], seed: number): Parameters {
  const made = parameters(sizes);
  made.layers.forEach((layer, index) => {
    const units = layer.weight.length + layer.bias.length;
    const words = unitWords({ seed, site: siteNumber("weights"), step: index, sample: 0 }, units);
    const bound = 1 / Math.sqrt(layer.inputs);
    for (let i = 0; i < layer.weight.length; i++) layer.weight[i] = bound * uniform(words[i]);
    for (let i = 0; i < layer.bias.length; i++) layer.bias[i] = bound * uniform(words[layer.weight.length + i]);
  });
  return made;
}
