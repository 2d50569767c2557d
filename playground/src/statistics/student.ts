/** Quantiles of Student's t distribution, by integrating its density. */

const SLICES = 400;

/** Returns t with P(|T| < t) = level for some degrees of freedom. */
export function quantile(level: number, freedom: number): number {
  let [low, high] = [0, 1];
  while (inside(high, freedom) < level) high *= 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (inside(middle, freedom) < level) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Returns P(|T| < t). With T = sqrt(n) tan(a) the density is that of cos(a)^(n - 1), which is smooth and bounded. */
function inside(t: number, freedom: number): number {
  const power = (angle: number) => Math.cos(angle) ** (freedom - 1);
  return simpson(power, Math.atan(t / Math.sqrt(freedom))) / simpson(power, Math.PI / 2);
}

/** Returns the integral of a function from 0 to an end, by Simpson's rule. */
function simpson(of: (x: number) => number, end: number): number {
  const width = end / SLICES;
  let sum = of(0) + of(end);
  for (let i = 1; i < SLICES; i++) sum += (i % 2 ? 4 : 2) * of(i * width);
  return (sum * width) / 3;
}
