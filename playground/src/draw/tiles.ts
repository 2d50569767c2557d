/** All sub-networks as a mosaic of small pictures. */

import { scaleLinear } from "d3-scale";
import { TILE, type Averages } from "../training/average";
import { polyline } from "./axes";
import type { Draw } from "./canvas";
import { colours, SURFACE, levelsOf } from "./palette";
import { domainOf } from "./plane";

/** Returns columns and rows of a mosaic of 2^units pictures, wider than high. */
export function mosaic(units: number): { columns: number; rows: number } {
  const rows = 2 ** Math.floor((units - 1) / 2);
  return { columns: 2 ** units / rows, rows };
}

export function tilePlot(averages: Averages, units: number): Draw {
  return (context, width, height) => {
    const { columns, rows } = mosaic(units);
    const [wide, high] = [width / columns, height / rows];
    const gap = wide > 20 ? 2 : wide > 8 ? 1 : 0;
    averages.tiles.forEach((values, i) => {
      const left = (i % columns) * wide;
      const top = Math.floor(i / columns) * high;
      if (averages.data.inputs === 1) drawLine(context, values, left, top, wide - gap, high - gap);
      else drawTile(context, values, averages, left, top, wide - gap, high - gap);
    });
  };
}

const small = document.createElement("canvas");
small.width = small.height = TILE;

function drawTile(
  context: CanvasRenderingContext2D,
  values: Float32Array,
  { data }: Averages,
  left: number,
  top: number,
  width: number,
  height: number,
): void {
  const [low, high] = domainOf(data);
  const levels = levelsOf(SURFACE);
  const image = new ImageData(TILE, TILE);
  values.forEach((value, i) => {
    const level = Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low))));
    image.data.set(levels.subarray(4 * level, 4 * level + 4), 4 * i);
  });
  small.getContext("2d")!.putImageData(image, 0, 0);
  context.drawImage(small, left, top, width, height);
}

function drawLine(
  context: CanvasRenderingContext2D,
  values: Float32Array,
  left: number,
  top: number,
  width: number,
  height: number,
): void {
  const x = scaleLinear([0, values.length - 1], [left, left + width]);
  const y = scaleLinear([-2.6, 2.6], [top + height, top]).clamp(true);
  context.fillStyle = colours().panel;
  context.fillRect(left, top, width, height);
  context.strokeStyle = colours().blue;
  context.lineWidth = width > 30 ? 1.5 : 0.75;
  polyline(context, Array.from(values, (value, i) => [x(i), y(value)] as const));
}
