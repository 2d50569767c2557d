/** Predictions over the plane: colour, the decision boundary, and the training samples. */

import { contours } from "d3-contour";
import { scaleLinear } from "d3-scale";
import type { Dataset } from "../data/dataset";
import type { Picture } from "../training/picture";
import { colours, DIVERGING, levelColour, levelsOf, SURFACE, type Colour } from "./palette";

export type PlanePicture = Extract<Picture, { kind: "plane" }>;

/** The lowest and the highest value that have a colour. */
export type Domain = readonly [number, number];

const PROBABILITY: Domain = [0, 1];
const TOY: Domain = [-1.5, 2.5];
const TOY_LEVELS = [-1, -0.5, 0, 0.5, 1, 1.5, 2];

export function domainOf(data: Dataset): Domain {
  return data.task === "regression" ? TOY : PROBABILITY;
}

export function drawPlane(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  picture: PlanePicture,
  data: Dataset | null,
  domain: Domain,
  scale: readonly Colour[] = SURFACE,
): void {
  drawColours(context, width, height, picture, domain, scale);
  if (scale === SURFACE) drawContours(context, width, height, picture, domain);
  if (data) drawSamples(context, width, height, picture.extent, data, domain);
}

function drawColours(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  { side, values }: PlanePicture,
  [low, high]: Domain,
  scale: readonly Colour[],
): void {
  const small = document.createElement("canvas");
  small.width = small.height = side;
  const image = new ImageData(side, side);
  const levels = levelsOf(scale);
  values.forEach((value, i) => {
    const level = Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low))));
    image.data.set(levels.subarray(4 * level, 4 * level + 4), 4 * i);
  });
  small.getContext("2d")!.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, width, height);
}

/** Draws the decision boundary, or the level lines of a regression. */
function drawContours(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  { side, values }: PlanePicture,
  domain: Domain,
): void {
  const regression = domain === TOY;
  context.strokeStyle = regression ? colours().soft : colours().ink;
  context.lineWidth = regression ? 0.75 : 1.5;
  for (const level of contours().size([side, side]).thresholds(regression ? TOY_LEVELS : [0.5])(Array.from(values))) {
    context.beginPath();
    for (const ring of level.coordinates.flat()) trace(context, width / side, height / side, side, ring);
    context.stroke();
  }
}

/** Traces a ring of a contour, without the parts that run along the edge of the plane. */
function trace(context: CanvasRenderingContext2D, wide: number, high: number, side: number, ring: number[][]): void {
  let before = true;
  ring.forEach(([x, y], i) => {
    const edge = Math.min(x, y) < 0.5 || Math.max(x, y) > side - 0.5;
    if (i === 0 || (edge && before)) context.moveTo(x * wide, y * high);
    else context.lineTo(x * wide, y * high);
    before = edge;
  });
}

function drawSamples(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  extent: number,
  { train }: Dataset,
  domain: Domain,
): void {
  const x = scaleLinear([-extent, extent], [0, width]);
  const y = scaleLinear([-extent, extent], [height, 0]);
  const radius = Math.max(2, Math.min(4.5, width / 80)) * (train.count > 200 ? 0.75 : 1);
  context.lineWidth = 1;
  context.strokeStyle = colours().paper;
  for (let i = 0; i < train.count; i++) {
    context.beginPath();
    context.arc(x(train.x[2 * i]), y(train.x[2 * i + 1]), radius, 0, 2 * Math.PI);
    context.fillStyle = levelColour(DIVERGING, (train.y[i] - domain[0]) / (domain[1] - domain[0]));
    context.fill();
    context.stroke();
  }
}
