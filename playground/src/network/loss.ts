/** The loss of each task, averaged over samples, and its gradient with respect to the output. */

import type { Task } from "../data/dataset";

export interface Loss {
  readonly value: number;
  readonly gradient: Float64Array;
}

type OfSample = (output: Float64Array, y: number, gradient: Float64Array) => number;

/** Each writes the gradient of one sample and returns its loss. */
const LOSSES: Record<Task, OfSample> = {
  binary(output, y, gradient) {
    gradient[0] = sigmoid(output[0]) - y;
    return Math.max(output[0], 0) - output[0] * y + Math.log1p(Math.exp(-Math.abs(output[0])));
  },
  regression(output, y, gradient) {
    gradient[0] = 2 * (output[0] - y);
    return (output[0] - y) ** 2;
  },
  classes(output, y, gradient) {
    gradient.set(softmax(output));
    const value = -Math.log(Math.max(gradient[y], Number.MIN_VALUE));
    gradient[y] -= 1;
    return value;
  },
};

export function loss(task: Task, output: Float64Array, y: Float64Array): Loss {
  const count = y.length;
  const width = output.length / count;
  const gradient = new Float64Array(output.length);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const at = i * width;
    sum += LOSSES[task](output.subarray(at, at + width), y[i], gradient.subarray(at, at + width));
  }
  for (let i = 0; i < gradient.length; i++) gradient[i] /= count;
  return { value: sum / count, gradient };
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

export function softmax(logits: Float64Array): Float64Array {
  const highest = logits.reduce((a, b) => Math.max(a, b));
  const powers = logits.map((logit) => Math.exp(logit - highest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** Returns the fraction of samples whose class is predicted. */
export function accuracy(task: Task, output: Float64Array, y: Float64Array): number {
  const width = output.length / y.length;
  let right = 0;
  for (let i = 0; i < y.length; i++) {
    const found = task === "binary" ? Number(output[i] > 0) : argmax(output.subarray(i * width, (i + 1) * width));
    if (found === y[i]) right++;
  }
  return right / y.length;
}

export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
