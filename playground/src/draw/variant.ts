/** One variant of dropout: feature maps, weights or features over time, times their factors. */

import { image } from "../data/digits";
import { CHANNELS, FEATURES, SIDE, TIMES, type Variant } from "../variants/variants";
import type { Draw } from "./canvas";
import { colours, levelColour, type Colour } from "./palette";

const GAP = 8;
const GREYS: readonly Colour[] = ["panel", "ink"];

interface Box {
  readonly left: number;
  readonly top: number;
  readonly size: number;
}

export function variantPlot({ drawn }: Pick<Variant, "drawn">, factors: ArrayLike<number>): Draw {
  return (context, width, height) => {
    if (drawn === "maps") drawMaps(context, width, height, factors);
    else drawTable(context, width, height, factors, drawn === "times");
  };
}

/** The input of the maps: a digit, and how it changes to the right, downwards, and in the other sense. */
export const INPUT: readonly number[][] = maps();

function maps(): number[][] {
  const digit = image(0);
  const at = (row: number, column: number) => digit[row * SIDE + column] ?? 0;
  const each = (of: (row: number, column: number) => number) =>
    digit.map((_, i) => Math.max(0, Math.min(1, of(Math.floor(i / SIDE), i % SIDE))));
  return [
    digit,
    each((row, column) => (column < SIDE - 1 ? at(row, column + 1) : 0) - at(row, column)),
    each((row, column) => at(row, column) - (column < SIDE - 1 ? at(row, column + 1) : 0)),
    each((row, column) => (at(row, column) + at(row + 1, column) + at(row, column + 1)) / 2.4),
  ];
}

function drawMaps(context: CanvasRenderingContext2D, width: number, height: number, factors: ArrayLike<number>): void {
  const size = Math.min(height, (width - GAP * (CHANNELS - 1)) / CHANNELS);
  for (let channel = 0; channel < CHANNELS; channel++) {
    const box = { left: channel * (size + GAP), top: 0, size };
    for (let i = 0; i < SIDE * SIDE; i++) {
      const factor = factors[channel * SIDE * SIDE + i];
      // half a grey level of ink for every number, so that a dropped zero differs from a kept one
      drawCell(context, box, SIDE, i, factor, (0.12 + INPUT[channel][i]) * factor * 0.45);
    }
  }
}

function drawTable(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  factors: ArrayLike<number>,
  times: boolean,
): void {
  const size = Math.min(width, height);
  const box = { left: 0, top: 0, size };
  for (let i = 0; i < factors.length; i++) {
    // over time: columns are times, so that a feature is a row
    const cell = times ? (i % FEATURES) * TIMES + Math.floor(i / FEATURES) : i;
    drawCell(context, box, FEATURES, cell, factors[i], 0.3 * factors[i]);
  }
}

/** Draws a square in the grey of its value, or hatched where it is dropped. */
function drawCell(
  context: CanvasRenderingContext2D,
  { left, top, size }: Box,
  columns: number,
  index: number,
  factor: number,
  value: number,
): void {
  const side = size / columns;
  const x = left + (index % columns) * side;
  const y = top + Math.floor(index / columns) * side;
  context.fillStyle = factor === 0 ? colours().paper : levelColour(GREYS, value);
  context.fillRect(x, y, side - 1, side - 1);
  if (factor !== 0) return;
  context.strokeStyle = colours().red;
  context.lineWidth = 1;
  context.strokeRect(x + 0.5, y + 0.5, side - 2, side - 2);
  context.beginPath();
  context.moveTo(x + 1, y + side - 2);
  context.lineTo(x + side - 2, y + 1);
  context.stroke();
}
