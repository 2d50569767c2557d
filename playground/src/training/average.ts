/** All 2^n sub-networks of a small network: their exact average, weight scaling, and averages of random draws. */

import { siteNumber } from "../bits/address";
import { mask, scaleOf } from "../bits/units";
import { load, type Dataset } from "../data/dataset";
import { forward } from "../network/forward";
import { sigmoid } from "../network/loss";
import { siteName } from "../network/noise";
import { framed, inputsOf, NEAR, type Picture } from "./picture";
import type { Config } from "./config";
import { Run } from "./run";

const SIDE = 24;
/** Side of the small picture of one sub-network. */
export const TILE = 8;
export const MOST_DRAWS = 200;

export interface Averages {
  readonly data: Dataset;
  readonly exact: Picture;
  readonly scaled: Picture;
  /** The average of the first k draws, for each k. */
  readonly sampled: readonly Float32Array[];
  /** Root mean square difference from the exact average: of each k, and of weight scaling. */
  readonly errors: readonly number[];
  readonly scaledError: number;
  /** Every sub-network at TILE x TILE points, or along the line; bit u of its number keeps unit u. */
  readonly tiles: readonly Float32Array[];
}

/** Trains a network with one hidden layer of `units` units, and averages its sub-networks. */
export function averagesOf(config: Config, units: number): Averages {
  const data = load(config.data, config.size, config.noise, config.seed);
  const run = new Run({ ...config, method: "dropout", depth: 1, width: units }, data);
  while (!run.over) run.advance();
  const picture = new Subnetworks(run, inputsOf(data, NEAR, SIDE));
  const exact = picture.exact();
  const scaled = picture.of(new Array<number>(units).fill(1));
  const sampled = picture.draws(MOST_DRAWS);
  const small = new Subnetworks(run, inputsOf(data, NEAR, TILE));
  return {
    data,
    exact: framed(data, NEAR, exact),
    scaled: framed(data, NEAR, scaled),
    sampled,
    errors: sampled.map((values) => difference(values, exact)),
    scaledError: difference(scaled, exact),
    tiles: Array.from({ length: 2 ** units }, (_, number) => small.numbered(number)),
  };
}

/** The predictions of sub-networks. The output is a sum over units, so each unit's part is computed once. */
class Subnetworks {
  private readonly parts: readonly Float64Array[];
  private readonly bias: number;
  private readonly scale: number;

  constructor(
    private readonly run: Run,
    x: Float64Array,
  ) {
    const { width } = run.config;
    const { weight, bias } = run.shown.layers[1];
    const count = x.length / run.data.inputs;
    const hidden = forward(run.shown, x, count).hidden[0];
    const part = (unit: number) => Float64Array.from({ length: count }, (_, i) => hidden[i * width + unit] * weight[unit]);
    this.parts = Array.from({ length: width }, (_, unit) => part(unit));
    this.bias = bias[0];
    this.scale = scaleOf(run.config.rates[0]);
  }

  /** Returns the predictions with these factors of the units. */
  of(factors: readonly number[]): Float32Array {
    const sums = new Float32Array(this.parts[0].length).fill(this.bias);
    factors.forEach((factor, unit) => {
      if (factor !== 0) for (let i = 0; i < sums.length; i++) sums[i] += factor * this.parts[unit][i];
    });
    return this.run.data.task === "binary" ? sums.map(sigmoid) : sums;
  }

  numbered(number: number): Float32Array {
    return this.of(this.parts.map((_, unit) => ((number >> unit) & 1) * this.scale));
  }

  /** Returns the average over all masks, each with its probability. */
  exact(): Float32Array {
    const units = this.parts.length;
    const keep = 1 / this.scale;
    const sum = new Float64Array(this.parts[0].length);
    for (let number = 0; number < 2 ** units; number++) {
      const kept = this.parts.filter((_, unit) => (number >> unit) & 1).length;
      const probability = keep ** kept * (1 - keep) ** (units - kept);
      if (probability > 0) this.numbered(number).forEach((value, i) => (sum[i] += probability * value));
    }
    return Float32Array.from(sum);
  }

  /** Returns the averages of the first 1, 2, ... random draws. */
  draws(count: number): Float32Array[] {
    const { seed, steps, rates, width } = this.run.config;
    const site = siteNumber(siteName(0));
    const sum = new Float64Array(this.parts[0].length);
    return Array.from({ length: count }, (_, sample) => {
      const kept = mask({ seed, site, step: steps, sample }, width, rates[0]);
      this.of([...kept].map((bit) => bit * this.scale)).forEach((value, i) => (sum[i] += value));
      return Float32Array.from(sum, (value) => value / (sample + 1));
    });
  }
}

function difference(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length);
}
