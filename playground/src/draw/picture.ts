/** Draws a picture of predictions, whatever its kind. */

import type { Dataset } from "../data/dataset";
import type { Picture } from "../training/picture";
import { drawDigits } from "./digits";
import { drawFit } from "./fit";
import { domainOf, drawPlane } from "./plane";
import type { Draw } from "./canvas";

export function drawing(picture: Picture, data: Dataset, samples = true): Draw {
  return (context, width, height) => {
    if (picture.kind === "plane") drawPlane(context, width, height, picture, samples ? data : null, domainOf(data));
    else if (picture.kind === "line") drawFit(context, width, height, picture, data);
    else drawDigits(context, width, height, data.validation, picture.classes);
  };
}
