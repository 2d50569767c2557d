/** The loss by rate: every run, and the means with their intervals. */

import { scaleLinear } from "d3-scale";
import { interval, SWEEP } from "../statistics/comparison";
import type { Trial } from "../training/trial";
import { drawAxes, line, MARGIN, polyline, type Scale } from "./axes";
import type { Draw } from "./canvas";
import { colours } from "./palette";

/** Runs below which a mean has no interval: that of two runs says nothing. */
const FEWEST_SHOWN = 3;

export function ratePlot(trials: readonly Trial[], xLabel: string, yLabel: string): Draw {
  return (context, width, height) => {
    const highest = Math.max(0.1, ...trials.map(({ validation }) => validation));
    const x = scaleLinear([-0.04, 0.84], [MARGIN.left + 18, width - MARGIN.right]);
    const y = scaleLinear([0, highest * 1.08], [height - MARGIN.bottom - 16, MARGIN.top]);
    drawAxes(context, x, y, 9);
    context.fillStyle = colours().soft;
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText(xLabel, (MARGIN.left + width) / 2, height - 2);
    context.save();
    context.translate(10, height / 2);
    context.rotate(-Math.PI / 2);
    context.textBaseline = "middle";
    context.fillText(yLabel, 0, 0);
    context.restore();
    drawMeans(context, x, y, trials);
  };
}

function drawMeans(context: CanvasRenderingContext2D, x: Scale, y: Scale, trials: readonly Trial[]): void {
  const { teal, soft } = colours();
  const rates = SWEEP.filter((rate) => trials.some((trial) => trial.rate === rate));
  const at = (rate: number) => trials.filter((trial) => trial.rate === rate);
  context.fillStyle = soft;
  context.globalAlpha = 0.45;
  for (const { rate, validation } of trials) dot(context, x(rate) - 7, y(validation), 2.5);
  context.globalAlpha = 1;
  context.strokeStyle = soft;
  context.lineWidth = 1.5;
  context.setLineDash([5, 4]);
  polyline(context, rates.map((rate) => [x(rate), y(interval(at(rate).map(({ train }) => train)).mean)] as const));
  context.setLineDash([]);
  const means = rates.map((rate) => {
    const losses = at(rate).map(({ validation }) => validation);
    return { rate, count: losses.length, ...interval(losses) };
  });
  context.strokeStyle = context.fillStyle = teal;
  context.lineWidth = 2.5;
  polyline(context, means.map(({ rate, mean }) => [x(rate), y(mean)] as const));
  for (const { rate, mean, half, count } of means) {
    dot(context, x(rate), y(mean), 5);
    const [low, high] = [Math.max(0, mean - half), Math.min(y.domain()[1], mean + half)];
    if (count >= FEWEST_SHOWN) line(context, x(rate), y(low), x(rate), y(high));
  }
}

function dot(context: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}
