/** The variants of dropout that the page shows, each as factors of what it drops, with the Python that prints them. */

import { siteNumber, type Address } from "../bits/address";
import { gaussianFactor } from "../bits/continuous";
import { mask, scaleOf, unitWords } from "../bits/units";
import { moduleLines, siteMaskLines } from "../python";
import { dropBlock } from "./drop_block";

export const CHANNELS = 4;
export const SIDE = 8;
export const TIMES = 8;
export const FEATURES = 8;
const BLOCK = 3;
const MAP = [1, CHANNELS, SIDE, SIDE];

export const VARIANTS = ["standard", "channels", "dropBlock", "gaussian", "dropConnect", "newMasks", "oneMask"] as const;
export type VariantName = (typeof VARIANTS)[number];

/** What the factors multiply: feature maps, the weights of a layer, or features over time. */
export type Drawn = "maps" | "weights" | "times";

export interface Variant {
  readonly drawn: Drawn;
  readonly factors: (address: Address, rate: number) => ArrayLike<number>;
  readonly python: (rate: number, seed: number, step: number) => string;
}

const dropout = (units: number) => (address: Address, rate: number) =>
  Float64Array.from(mask(address, units, rate), (kept) => kept * scaleOf(rate));

/** Repeats each factor, or the whole row of factors. */
const each = (factors: ArrayLike<number>, times: number) =>
  Array.from({ length: factors.length * times }, (_, i) => factors[Math.floor(i / times)]);
const whole = (factors: ArrayLike<number>, times: number) =>
  Array.from({ length: factors.length * times }, (_, i) => factors[i % factors.length]);

const printed = (module: (rate: number) => string, shape: readonly number[]) => (rate: number, seed: number, step: number) =>
  moduleLines(module(rate), shape, seed, step);

export const VARIANT: Record<VariantName, Variant> = {
  standard: {
    drawn: "maps",
    factors: dropout(CHANNELS * SIDE * SIDE),
    python: printed((rate) => `thinnet.nn.Dropout(${rate})`, MAP),
  },
  channels: {
    drawn: "maps",
    factors: (address, rate) => each(dropout(CHANNELS)(address, rate), SIDE * SIDE),
    python: printed((rate) => `thinnet.nn.Dropout2d(${rate})`, MAP),
  },
  dropBlock: {
    drawn: "maps",
    factors: (address, rate) => dropBlock(address, rate, CHANNELS, SIDE, BLOCK),
    python: printed((rate) => `thinnet.nn.DropBlock2d(${rate}, block=${BLOCK})`, MAP),
  },
  gaussian: {
    drawn: "maps",
    factors: (address, rate) =>
      Float64Array.from(unitWords(address, CHANNELS * SIDE * SIDE), (word) => gaussianFactor(word, rate)),
    python: printed((rate) => `thinnet.nn.GaussianDropout(${rate})`, MAP),
  },
  dropConnect: {
    drawn: "weights",
    factors: dropout(SIDE * SIDE),
    python: (rate, seed, step) =>
      siteMaskLines(`thinnet.nn.DropConnect(torch.nn.Linear(${SIDE}, ${SIDE}), ${rate})`, SIDE * SIDE, seed, step),
  },
  newMasks: {
    drawn: "times",
    factors: dropout(TIMES * FEATURES),
    python: printed((rate) => `thinnet.nn.Dropout(${rate})`, [1, TIMES, FEATURES]),
  },
  oneMask: {
    drawn: "times",
    factors: (address, rate) => whole(dropout(FEATURES)(address, rate), TIMES),
    python: printed((rate) => `thinnet.nn.LockedDropout(${rate}, batch_first=True)`, [1, TIMES, FEATURES]),
  },
};

export function factorsOf(name: VariantName, seed: number, step: number, rate: number): ArrayLike<number> {
  return VARIANT[name].factors({ seed, site: siteNumber("drop"), step, sample: 0 }, rate);
}
