/** Intervals against published quantiles, and conclusions that need enough runs. */

import { describe, expect, it } from "vitest";
import { conclude, FEWEST, interval, SWEEP } from "../src/statistics/comparison";
import { quantile } from "../src/statistics/student";
import type { Trial } from "../src/training/trial";

it.each([
  [0.95, 1, 12.7062],
  [0.95, 2, 4.30265],
  [0.95, 9, 2.262157],
  [0.99, 4, 4.604095],
  [0.99375, 5, 4.525716],
])("the quantile of level %f and %i degrees of freedom", (level, freedom, expected) => {
  expect(quantile(level, freedom)).toBeCloseTo(expected, 3);
});

it("an interval has the standard error of its mean", () => {
  const { mean, half } = interval([1, 2, 3]);
  expect(mean).toBe(2);
  expect(half).toBeCloseTo(4.30265 / Math.sqrt(3), 4);
  expect(interval([1]).half).toBe(Infinity);
});

/** Trials of some seeds, with a loss of each rate and a jitter that differs among the seeds and rates. */
function trials(seeds: number, loss: (rate: number) => number, jitter: number): Trial[] {
  return Array.from({ length: seeds }, (_, seed) => seed).flatMap((seed) =>
    SWEEP.map((rate, i) => ({ rate, seed, train: 0, validation: loss(rate) + jitter * Math.sin(7 * seed + 13 * i) })),
  );
}

describe("the conclusion", () => {
  const uCurve = (rate: number) => 1 + (rate - 0.5) ** 2;
  it("needs enough seeds", () => {
    expect(conclude(trials(FEWEST - 1, uCurve, 0))).toEqual({ kind: "few", seeds: FEWEST - 1 });
  });
  it("does not count a seed with missing rates", () => {
    expect(conclude(trials(FEWEST, uCurve, 0).slice(0, -1)).kind).toBe("few");
  });
  it("finds a clear minimum", () => {
    expect(conclude(trials(FEWEST, uCurve, 0.001))).toMatchObject({ kind: "better", rate: 0.5 });
  });
  it("is unsure where seeds differ more than rates", () => {
    expect(conclude(trials(FEWEST, uCurve, 3)).kind).toBe("unsure");
  });
  it("says where dropout does not help", () => {
    expect(conclude(trials(FEWEST, (rate) => 1 + rate, 0.001)).kind).toBe("zero");
  });
});
