/** The gradient is the derivative: central differences of the loss, for each task, with dropout and with Gaussian noise. */

import { describe, expect, it } from "vitest";
import type { Task } from "../src/data/dataset";
import { backward } from "../src/network/backward";
import { forward } from "../src/network/forward";
import { loss } from "../src/network/loss";
import { noise, type Method } from "../src/network/noise";
import { initial } from "../src/network/parameters";

const SAMPLES = [3, 1, 4, 15];
const NARROW = 1e-6;
const CASES: [Task, number, Method][] = [
  ["binary", 1, "dropout"],
  ["regression", 1, "gaussian"],
  ["classes", 3, "dropout"],
];

describe.each(CASES)("%s with %i outputs and %s", (task, outputs, method) => {
  const sizes = [2, 6, 6, outputs];
  const made = initial(sizes, 11);
  const x = Float64Array.from({ length: 8 }, (_, i) => Math.sin(3 * i));
  const y = Float64Array.from(SAMPLES, (_, i) => (task === "regression" ? 0.3 * i : i % Math.max(2, outputs)));
  const factors = noise({ seed: 5, step: 2, method, rates: [0.5, 0.3], width: 6, depth: 2 }, SAMPLES);
  const run = () => forward(made, x, SAMPLES.length, factors);
  const value = () => loss(task, run().output, y).value;

  it("has the gradient of finite differences", () => {
    const pass = run();
    const gradients = backward(made, pass, loss(task, pass.output, y).gradient).parameters.values;
    made.values.forEach((at, i) => {
      made.values[i] = at + NARROW;
      const above = value();
      made.values[i] = at - NARROW;
      const below = value();
      made.values[i] = at;
      expect(gradients[i]).toBeCloseTo((above - below) / (2 * NARROW), 7);
    });
  });

  it("gives dropped units the gradient 0", () => {
    const pass = run();
    const { hidden } = backward(made, pass, loss(task, pass.output, y).gradient);
    hidden.forEach((gradient, layer) => {
      gradient.forEach((g, k) => factors[layer]![k] === 0 && expect(Math.abs(g)).toBe(0));
    });
  });
});
