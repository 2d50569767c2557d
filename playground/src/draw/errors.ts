/** The error of averages of k random sub-networks, on logarithmic axes, and that of one pass as a dashed line. */

import { scaleLog } from "d3-scale";
import type { Averages } from "../training/average";
import { line, MARGIN, polyline } from "./axes";
import type { Draw } from "./canvas";
import { colours } from "./palette";

const K_TICKS = [1, 2, 5, 10, 20, 50, 100, 200];

export function errorPlot({ errors, scaledError }: Averages, draws: number): Draw {
  return (context, width, height) => {
    const lowest = Math.max(1e-4, Math.min(scaledError, ...errors)) / 1.5;
    const highest = Math.max(scaledError, ...errors, 2e-4) * 1.3;
    const x = scaleLog([1, errors.length], [MARGIN.left + 12, width - MARGIN.right]);
    const y = scaleLog([lowest, highest], [height - MARGIN.bottom, MARGIN.top]);
    const { rule, soft, violet, blue, paper } = colours();
    context.font = "12px system-ui, sans-serif";
    context.lineWidth = 1;
    context.strokeStyle = rule;
    context.fillStyle = soft;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const tick of y.ticks().filter((value) => /^[125]/.test(value.toExponential()))) {
      line(context, x(1), y(tick), width - MARGIN.right, y(tick));
      context.fillText(String(Number(tick.toPrecision(1))), x(1) - 6, y(tick));
    }
    context.textBaseline = "top";
    context.textAlign = "center";
    for (const tick of K_TICKS) context.fillText(String(tick), x(tick), height - MARGIN.bottom + 7);
    context.setLineDash([6, 4]);
    context.lineWidth = 2;
    context.strokeStyle = blue;
    line(context, x(1), y(Math.max(scaledError, lowest)), width - MARGIN.right, y(Math.max(scaledError, lowest)));
    context.setLineDash([]);
    context.strokeStyle = violet;
    polyline(context, errors.map((error, i) => [x(i + 1), y(Math.max(error, lowest))] as const));
    context.beginPath();
    context.arc(x(draws), y(Math.max(errors[draws - 1], lowest)), 6, 0, 2 * Math.PI);
    context.fillStyle = paper;
    context.fill();
    context.stroke();
  };
}
