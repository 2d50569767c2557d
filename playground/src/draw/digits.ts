/** Validation digits with the predicted class: a frame and the class in red where it is wrong. */

import { SIDE } from "../data/digits";
import type { Split } from "../data/dataset";
import { colours, levelsOf } from "./palette";

const COLUMNS = 8;

export function drawDigits(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  { x, y }: Split,
  classes: readonly number[],
): void {
  const rows = Math.ceil(classes.length / COLUMNS);
  const [wide, high] = [width / COLUMNS, height / rows];
  const side = Math.min(wide * 0.72, high * 0.6);
  context.font = `600 ${Math.max(11, Math.round(high * 0.26))}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "top";
  classes.forEach((found, i) => {
    const left = (i % COLUMNS) * wide + (wide - side) / 2;
    const top = Math.floor(i / COLUMNS) * high + 4;
    drawDigit(context, left, top, side, x.subarray(i * SIDE * SIDE, (i + 1) * SIDE * SIDE));
    const right = found === y[i];
    context.fillStyle = right ? colours().soft : colours().red;
    context.fillText(right ? String(found) : `✗ ${found}`, left + side / 2, top + side + 2);
  });
}

/** Draws grey levels 0 .. 1 as a square picture, dark on the paper. */
export function drawDigit(
  context: CanvasRenderingContext2D,
  left: number,
  top: number,
  size: number,
  pixels: ArrayLike<number>,
): void {
  const levels = levelsOf(["panel", "ink"]);
  const small = document.createElement("canvas");
  small.width = small.height = SIDE;
  const image = new ImageData(SIDE, SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) {
    const level = Math.max(0, Math.min(255, Math.round(255 * pixels[i])));
    image.data.set(levels.subarray(4 * level, 4 * level + 4), 4 * i);
  }
  small.getContext("2d")!.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, left, top, size, size);
}
