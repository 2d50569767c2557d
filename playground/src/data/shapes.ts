/** Samples of made functions on a line or a plane. A sample depends on the seed and its number alone. */

import { siteNumber } from "../bits/address";
import { normal, uniform } from "../bits/continuous";
import { unitWords } from "../bits/units";
import type { Dataset, Split } from "./dataset";
import type { DataName } from "./names";

export type ShapeName = Exclude<DataName, "digits">;

const VALIDATION = 300;
const FIRST_VALIDATION = 100_000;
const SITE = siteNumber("data");

/** Independent numbers of a sample: two uniform ones in (-1, 1), two standard normal ones, and its class. */
interface Draw {
  u: number;
  v: number;
  a: number;
  b: number;
  label: number;
}

interface Sample {
  x: number[];
  y: number;
}

const { PI, sin, cos, abs, sqrt } = Math;

const SHAPES: Record<ShapeName, (draw: Draw, noise: number) => Sample> = {
  moons({ u, a, b, label }, noise) {
    const angle = ((u + 1) / 2) * PI;
    const x = label ? 0.5 - cos(angle) : cos(angle) - 0.5;
    const y = label ? 0.25 - sin(angle) : sin(angle) - 0.25;
    return { x: jitter([0.65 * x, 0.65 * y], a, b, 0.35 * noise), y: label };
  },
  circle({ u, v, a, b, label }, noise) {
    const radius = label ? 0.45 * sqrt((v + 1) / 2) : 0.65 + 0.3 * ((v + 1) / 2);
    return { x: jitter([radius * cos(PI * u), radius * sin(PI * u)], a, b, 0.35 * noise), y: label };
  },
  xor({ u, v, a, b }, noise) {
    const x = [u + (u > 0 ? 0.08 : -0.08), v + (v > 0 ? 0.08 : -0.08)];
    return { x: jitter([0.9 * x[0], 0.9 * x[1]], a, b, 0.35 * noise), y: u * v > 0 ? 1 : 0 };
  },
  spiral({ u, a, b, label }, noise) {
    const t = (u + 1) / 2;
    const angle = 1.6 * t * 2 * PI + (label ? PI : 0);
    return { x: jitter([t * sin(angle), t * cos(angle)], a, b, 0.15 * noise), y: label };
  },
  line: ({ u, a }, noise) => ({ x: [u], y: sin(1.5 * PI * u) + u / 2 + 0.8 * noise * a }),
  toy: ({ u, v, a }, noise) => ({ x: [u, v], y: sin(PI * u) + v * v + 0.8 * noise * a }),
};

function jitter(x: number[], a: number, b: number, sigma: number): number[] {
  return [x[0] + sigma * a, x[1] + sigma * b];
}

export function drawn(name: ShapeName, size: number, noise: number, seed: number): Dataset {
  const regression = name === "line" || name === "toy";
  return {
    task: regression ? "regression" : "binary",
    inputs: name === "line" ? 1 : 2,
    outputs: 1,
    train: split(name, 0, size, noise, seed),
    validation: split(name, FIRST_VALIDATION, VALIDATION, noise, seed),
  };
}

function split(name: ShapeName, first: number, count: number, noise: number, seed: number): Split {
  const samples = Array.from({ length: count }, (_, i) => SHAPES[name](draw(first + i, seed), noise));
  return { count, x: Float64Array.from(samples.flatMap(({ x }) => x)), y: Float64Array.from(samples, ({ y }) => y) };
}

function draw(sample: number, seed: number): Draw {
  const [u, v, a, b] = unitWords({ seed, site: SITE, step: 0, sample }, 4);
  return { u: uniform(u), v: uniform(v), a: normal(a), b: normal(b), label: sample % 2 };
}

/** Returns the true function of the line, without noise. */
export function trueLine(x: number): number {
  return abs(x) > 1 ? NaN : sin(1.5 * PI * x) + x / 2;
}
