/** Runs repeat, twins share everything but the noise, and averages over masks are exact. */

import { describe, expect, it } from "vitest";
import { load } from "../src/data/dataset";
import { DATA_NAMES } from "../src/data/names";
import { averagesOf } from "../src/training/average";
import { Batches } from "../src/training/batches";
import { DEFAULTS, withoutDropout, type Config } from "../src/training/config";
import { Run } from "../src/training/run";
import { spreadOf } from "../src/training/spread";

const SHORT: Config = { ...DEFAULTS, width: 8, steps: 60 };

function trained(config: Config): Run {
  const run = new Run(config, load(config.data, config.size, config.noise, config.seed));
  while (!run.over) run.advance();
  return run;
}

describe.each(DATA_NAMES)("the data set %s", (data) => {
  it("keeps its samples when it grows", () => {
    const [few, more] = [load(data, 20, 0.5, 3), load(data, 40, 0.5, 3)];
    expect([...more.train.x.subarray(0, few.train.x.length)]).toEqual([...few.train.x]);
    expect(more.validation).toEqual(few.validation);
  });

  it("trains to a lower training loss", () => {
    const { train } = trained({ ...SHORT, data }).curves;
    expect(train.at(-1)).toBeLessThan(train[0]);
  });
});

it("a run repeats", () => {
  expect(trained(SHORT).parameters.values).toEqual(trained(SHORT).parameters.values);
});

it("twins start from the same weights and see the same batches", () => {
  const data = load(SHORT.data, SHORT.size, SHORT.noise, SHORT.seed);
  const [plain, dropout] = [new Run(withoutDropout(SHORT), data), new Run(SHORT, data)];
  expect(plain.parameters.values).toEqual(dropout.parameters.values);
  expect(plain.samples).toEqual(dropout.samples);
});

it("an epoch has every sample once", () => {
  const batches = new Batches(1, 50, 20);
  const epoch = [3, 4, 5].flatMap((step) => batches.at(step));
  expect(epoch.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
});

it("early stopping keeps the parameters of the lowest validation loss", () => {
  const run = trained({ ...DEFAULTS, width: 16, rates: [0, 0, 0, 0], patience: 100 });
  expect(run.stopped).toBe(true);
  expect(run.best.loss).toBe(Math.min(...run.curves.validation));
  expect(run.shown.values).toEqual(run.best.values);
});

it("units are dropped as often as the rate says", () => {
  const run = trained({ ...SHORT, rates: [0.3, 0.6, 0, 0] });
  const share = run.dropped.map((counts) => counts.reduce((sum, count) => sum + count, 0) / (8 * run.drawn));
  expect(share[0]).toBeCloseTo(0.3, 1);
  expect(share[1]).toBeCloseTo(0.6, 1);
});

describe("the average of all sub-networks", () => {
  const found = averagesOf({ ...SHORT, data: "toy", rates: [0.3, 0, 0, 0] }, 6);

  it("has 2^n of them", () => expect(found.tiles).toHaveLength(64));

  it("is one pass with all units where the output is linear in the mask", () => {
    expect(found.scaledError).toBeLessThan(1e-6);
  });

  it("is what random draws come close to", () => {
    expect(found.errors.at(-1)!).toBeLessThan(found.errors[0] / 3);
  });

  it("is not one pass where a sigmoid is behind it", () => {
    expect(averagesOf({ ...SHORT, steps: 300, rates: [0.5, 0, 0, 0] }, 6).scaledError).toBeGreaterThan(0.01);
  });
});

it("there is no spread without dropout, and some with it", () => {
  expect(spreadOf(trained(withoutDropout(SHORT)), 20)?.near).toBeCloseTo(0, 6);
  expect(spreadOf(trained(SHORT), 20)!.near).toBeGreaterThan(0.01);
});
