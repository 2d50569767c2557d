/** A data set: training and validation samples that a seed determines. */

import { digits } from "./digits";
import { drawn } from "./shapes";
import type { DataName } from "./names";

/** What a network predicts: the logit of one class, a number, or the logits of several classes. */
export type Task = "binary" | "regression" | "classes";

export interface Split {
  readonly count: number;
  /** count x inputs, row by row. */
  readonly x: Float64Array;
  /** A class, 0 or 1, or a number for each sample. */
  readonly y: Float64Array;
}

export interface Dataset {
  readonly task: Task;
  readonly inputs: number;
  readonly outputs: number;
  readonly train: Split;
  readonly validation: Split;
}

export function load(name: DataName, size: number, noise: number, seed: number): Dataset {
  return name === "digits" ? digits(size, noise, seed) : drawn(name, size, noise, seed);
}

/** Returns some samples of a split. */
export function take(split: Split, rows: ArrayLike<number>): Split {
  const inputs = split.x.length / split.count;
  const x = new Float64Array(rows.length * inputs);
  const y = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    x.set(split.x.subarray(rows[i] * inputs, (rows[i] + 1) * inputs), i * inputs);
    y[i] = split.y[rows[i]];
  }
  return { count: rows.length, x, y };
}
