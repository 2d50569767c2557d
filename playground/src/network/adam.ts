/** Adam with PyTorch's defaults. L2 is added to the gradient of the weights, not of the biases. */

import type { Parameters } from "./parameters";

const BETA_1 = 0.9;
const BETA_2 = 0.999;
const EPSILON = 1e-8;

export class Adam {
  private readonly mean: Float64Array;
  private readonly square: Float64Array;
  private steps = 0;

  constructor(
    private readonly parameters: Parameters,
    private readonly learningRate: number,
    private readonly l2: number,
  ) {
    this.mean = new Float64Array(parameters.values.length);
    this.square = new Float64Array(parameters.values.length);
  }

  step(gradients: Parameters): void {
    this.steps++;
    const first = 1 - BETA_1 ** this.steps;
    const second = Math.sqrt(1 - BETA_2 ** this.steps);
    if (this.l2 > 0) this.decay(gradients);
    const { values } = this.parameters;
    for (let i = 0; i < values.length; i++) {
      const gradient = gradients.values[i];
      this.mean[i] += (1 - BETA_1) * (gradient - this.mean[i]);
      this.square[i] = BETA_2 * this.square[i] + (1 - BETA_2) * gradient * gradient;
      values[i] -= ((this.learningRate / first) * this.mean[i]) / (Math.sqrt(this.square[i]) / second + EPSILON);
    }
  }

  private decay(gradients: Parameters): void {
    gradients.layers.forEach(({ weight }, layer) => {
      const own = this.parameters.layers[layer].weight;
      for (let i = 0; i < weight.length; i++) weight[i] += this.l2 * own[i];
    });
  }
}
