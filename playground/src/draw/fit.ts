/** Predictions along the line: the fitted curve, the true function, the training samples, and a band. */

import { scaleLinear } from "d3-scale";
import type { Dataset } from "../data/dataset";
import { trueLine } from "../data/shapes";
import { drawAxes, MARGIN, polyline, type Scale } from "./axes";
import { colours } from "./palette";

export interface Fit {
  readonly extent: number;
  readonly values: Float32Array;
  /** Half the height of the band at each point. */
  readonly band?: Float32Array;
  readonly others?: readonly Float32Array[];
}

const TALLEST = 2.6;

export function drawFit(context: CanvasRenderingContext2D, width: number, height: number, fit: Fit, data: Dataset): void {
  const tall = TALLEST * (fit.extent > 2 ? 1.6 : 1);
  const x = scaleLinear([-fit.extent, fit.extent], [MARGIN.left, width - MARGIN.right]);
  const y = scaleLinear([-tall, tall], [height - MARGIN.bottom, MARGIN.top]);
  drawAxes(context, x, y);
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top, width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom);
  context.clip();
  if (fit.band) drawBand(context, x, y, fit, fit.band);
  drawTruth(context, x, y);
  drawSamples(context, x, y, data);
  const at = (i: number) => x(fit.extent * ((2 * i) / (fit.values.length - 1) - 1));
  context.lineWidth = 1;
  context.strokeStyle = colours().violet;
  context.globalAlpha = 0.45;
  for (const other of fit.others ?? []) polyline(context, Array.from(other, (value, i) => [at(i), y(value)] as const));
  context.globalAlpha = 1;
  context.lineWidth = 2.5;
  context.strokeStyle = colours().blue;
  polyline(context, Array.from(fit.values, (value, i) => [at(i), y(value)] as const));
  context.restore();
}

function drawBand(context: CanvasRenderingContext2D, x: Scale, y: Scale, fit: Fit, band: Float32Array): void {
  const last = fit.values.length - 1;
  const at = (i: number) => x(fit.extent * ((2 * i) / last - 1));
  context.beginPath();
  for (let i = 0; i <= last; i++) context.lineTo(at(i), y(fit.values[i] + band[i]));
  for (let i = last; i >= 0; i--) context.lineTo(at(i), y(fit.values[i] - band[i]));
  context.closePath();
  context.fillStyle = colours().violet;
  context.globalAlpha = 0.18;
  context.fill();
  context.globalAlpha = 1;
}

function drawTruth(context: CanvasRenderingContext2D, x: Scale, y: Scale): void {
  context.setLineDash([5, 4]);
  context.lineWidth = 1.5;
  context.strokeStyle = colours().soft;
  polyline(context, Array.from({ length: 101 }, (_, i) => [x(i / 50 - 1), y(trueLine(i / 50 - 1))] as const));
  context.setLineDash([]);
}

function drawSamples(context: CanvasRenderingContext2D, x: Scale, y: Scale, { train }: Dataset): void {
  context.fillStyle = colours().orange;
  context.strokeStyle = colours().paper;
  context.lineWidth = 1;
  for (let i = 0; i < train.count; i++) {
    context.beginPath();
    context.arc(x(train.x[i]), y(train.y[i]), 4, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }
}
