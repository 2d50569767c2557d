/** Axes of a small plot: a few ticks with numbers, thin lines. */

import type { ScaleLinear } from "d3-scale";
import { colours } from "./palette";

export type Scale = ScaleLinear<number, number>;

export const MARGIN = { left: 40, right: 12, top: 10, bottom: 26 };

export function drawAxes(context: CanvasRenderingContext2D, x: Scale, y: Scale, xTicks = 5, yTicks = 4): void {
  const [left, right] = x.range();
  const [bottom, top] = y.range();
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 1;
  context.strokeStyle = colours().rule;
  context.fillStyle = colours().soft;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const tick of y.ticks(yTicks)) {
    line(context, left, y(tick), right, y(tick));
    context.fillText(y.tickFormat(yTicks)(tick), left - 6, y(tick));
  }
  context.textBaseline = "top";
  context.textAlign = "center";
  for (const tick of x.ticks(xTicks)) context.fillText(x.tickFormat(xTicks)(tick), x(tick), bottom + 7);
  line(context, left, bottom, right, bottom);
  line(context, left, bottom, left, top);
}

export function line(context: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number): void {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

/** Strokes a line through points. */
export function polyline(context: CanvasRenderingContext2D, points: Iterable<readonly [number, number]>): void {
  context.beginPath();
  let first = true;
  for (const [x, y] of points) {
    if (first) context.moveTo(x, y);
    else context.lineTo(x, y);
    first = false;
  }
  context.stroke();
}
