/** The network of a step: the edges between the units that are kept. Units themselves are buttons on top. */

import type { StepView } from "../training/step_view";
import { colours } from "./palette";

/** Columns of the drawing: inputs, hidden layers, outputs. At most so many inputs are drawn. */
export const MOST_INPUTS = 16;
const MOST_WEIGHT = 1.2;

export interface Place {
  readonly x: number;
  readonly y: number;
}

/** Returns the places of the units of each column, as fractions of width and height. */
export function placesOf(sizes: readonly number[]): Place[][] {
  return sizes.map((size, column) => {
    const shown = column === 0 ? Math.min(size, MOST_INPUTS) : size;
    const x = (column + 0.5) / sizes.length;
    return Array.from({ length: shown }, (_, i) => ({ x, y: (i + 0.5) / shown }));
  });
}

export function drawEdges(context: CanvasRenderingContext2D, width: number, height: number, view: StepView): void {
  const places = placesOf(view.sizes);
  const { blue, orange } = colours();
  view.weights.forEach((weights, column) => {
    const inputs = view.sizes[column];
    weights.forEach((weight, k) => {
      const [from, to] = [k % inputs, Math.floor(k / inputs)];
      const start = places[column][from];
      const end = places[column + 1][to];
      if (!start || isDropped(view, column - 1, from) || isDropped(view, column, to)) return;
      const strength = Math.min(1, Math.abs(weight) / MOST_WEIGHT);
      context.globalAlpha = 0.08 + 0.8 * strength ** 1.5;
      context.lineWidth = 0.4 + 1.6 * strength;
      context.strokeStyle = weight > 0 ? blue : orange;
      context.beginPath();
      context.moveTo(start.x * width, start.y * height);
      context.lineTo(end.x * width, end.y * height);
      context.stroke();
    });
  });
  context.globalAlpha = 1;
}

/** Returns whether a unit of a hidden layer is dropped; inputs and outputs never are. */
export function isDropped(view: StepView, layer: number, unit: number): boolean {
  return view.layers[layer]?.factors?.[unit] === 0;
}
