/** One network in training: parameters, optimiser, curves, and the turning point of its validation loss. */

import { take, type Dataset } from "../data/dataset";
import { Adam } from "../network/adam";
import { backward, type Gradients } from "../network/backward";
import { forward, type Pass } from "../network/forward";
import { accuracy, loss } from "../network/loss";
import { noise } from "../network/noise";
import { initial, parameters, type Parameters } from "../network/parameters";
import { Batches } from "./batches";
import type { Config } from "./config";

/** Losses are measured at every step that this divides. */
export const EVERY = 10;

/** The curves of a run; the n-th entry is that of step n * EVERY. */
export interface Curves {
  /** Training loss with all units. */
  train: number[];
  /** Training loss of the batches, with noise: what a framework logs. */
  noisy: number[];
  validation: number[];
  /** Validation accuracy; empty in a regression. */
  accuracy: number[];
}

/** A step, before its update: what the network computed with the noise of the step. */
export interface Step {
  readonly step: number;
  readonly samples: readonly number[];
  readonly pass: Pass;
  readonly loss: number;
  readonly gradients: Gradients;
}

export class Run {
  readonly sizes: readonly number[];
  readonly parameters: Parameters;
  readonly curves: Curves = { train: [], noisy: [], validation: [], accuracy: [] };
  /** How often each unit of each hidden layer was dropped, of `drawn` masks. */
  readonly dropped: readonly Float64Array[];
  drawn = 0;
  step = 0;
  stopped = false;
  /** The parameters and the step of the lowest validation loss so far. */
  best: { step: number; loss: number; values: Float64Array<ArrayBuffer> };
  private readonly batches: Batches;
  private readonly optimiser: Adam;
  private noisySum = 0;

  constructor(
    readonly config: Config,
    readonly data: Dataset,
  ) {
    this.sizes = [data.inputs, ...Array<number>(config.depth).fill(config.width), data.outputs];
    this.parameters = initial(this.sizes, config.seed);
    this.batches = new Batches(config.seed, data.train.count, config.batch);
    this.optimiser = new Adam(this.parameters, config.learningRate, config.l2);
    this.dropped = Array.from({ length: config.depth }, () => new Float64Array(config.width));
    this.best = { step: 0, loss: Infinity, values: this.parameters.values.slice() };
    this.measure();
  }

  /** The sample ids of the next step. */
  get samples(): readonly number[] {
    return this.batches.at(this.step);
  }

  /** Returns the next step without its update. */
  peek(): Step {
    const { samples } = this;
    const batch = take(this.data.train, samples);
    const factors = noise({ ...this.config, step: this.step }, samples);
    const pass = forward(this.parameters, batch.x, batch.count, factors);
    const { value, gradient } = loss(this.data.task, pass.output, batch.y);
    return { step: this.step, samples, pass, loss: value, gradients: backward(this.parameters, pass, gradient) };
  }

  /** Takes one step, unless the run is over. */
  advance(): void {
    if (this.over) return;
    const { loss, gradients, pass } = this.peek();
    this.noisySum += loss;
    this.count(pass);
    this.optimiser.step(gradients.parameters);
    this.step++;
    if (this.step % EVERY === 0) this.measure();
  }

  get over(): boolean {
    return this.stopped || this.step >= this.config.steps;
  }

  /** Returns the parameters in use: with early stopping, those of the lowest validation loss. */
  get shown(): Parameters {
    return this.stopped ? parameters(this.sizes, this.best.values) : this.parameters;
  }

  private count({ factors, count }: Pass): void {
    this.drawn += count;
    factors.forEach((row, layer) => row?.forEach((factor, k) => factor === 0 && this.dropped[layer][k % this.config.width]++));
  }

  private measure(): void {
    const { task, train, validation } = this.data;
    const trained = loss(task, forward(this.parameters, train.x, train.count).output, train.y).value;
    const { output } = forward(this.parameters, validation.x, validation.count);
    const validated = loss(task, output, validation.y).value;
    this.curves.train.push(trained);
    this.curves.noisy.push(this.step === 0 ? NaN : this.noisySum / EVERY);
    this.curves.validation.push(validated);
    if (task !== "regression") this.curves.accuracy.push(accuracy(task, output, validation.y));
    this.noisySum = 0;
    if (validated < this.best.loss) {
      this.best = { step: this.step, loss: validated, values: this.parameters.values.slice() };
    }
    const { patience } = this.config;
    if (patience > 0 && this.step - this.best.step >= patience) this.stopped = true;
  }
}
