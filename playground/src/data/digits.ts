/** 200 handwritten digits of 8 x 8 pixels, the first of scikit-learn's set. */

import { siteNumber } from "../bits/address";
import { normal } from "../bits/continuous";
import { unitWords } from "../bits/units";
import type { Dataset, Split } from "./dataset";
import stored from "./digits.json";

export const SIDE = 8;
const PIXELS = SIDE * SIDE;
const LEVELS = 16;
const SITE = siteNumber("data");

/** Most training samples; the rest of the 200 is for validation. */
export const MOST_DIGITS = 120;

/** Returns the pixels of a digit, 0 .. 1. A letter of the stored text is a grey level, from a = 0 to q = 16. */
export function image(index: number): number[] {
  return [...stored.pixels[index]].map((letter) => (letter.charCodeAt(0) - 97) / LEVELS);
}

export function digits(size: number, noise: number, seed: number): Dataset {
  const count = Math.min(size, MOST_DIGITS);
  const first = MOST_DIGITS;
  return {
    task: "classes",
    inputs: PIXELS,
    outputs: 10,
    train: split(0, count, noise, seed),
    validation: split(first, stored.labels.length - first, noise, seed),
  };
}

function split(first: number, count: number, noise: number, seed: number): Split {
  const x = new Float64Array(count * PIXELS);
  for (let i = 0; i < count; i++) {
    const words = unitWords({ seed, site: SITE, step: 0, sample: first + i }, PIXELS);
    image(first + i).forEach((grey, k) => (x[i * PIXELS + k] = grey + 0.3 * noise * normal(words[k])));
  }
  return { count, x, y: Float64Array.from(stored.labels.slice(first, first + count)) };
}
