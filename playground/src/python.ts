/** The lines of Python that print what is on the screen. */

import { siteName } from "./network/noise";
import type { Config } from "./training/config";

/** Returns lines that print the mask, or the Gaussian factors, of a hidden layer for a sample at a step. */
export function maskLines(config: Config, layer: number, step: number, sample: number): string {
  const site = siteName(layer);
  const rate = config.rates[layer];
  const units = config.width;
  if (config.method === "gaussian") {
    const call = `print(model["${site}"](torch.ones(1, ${units})).tolist())`;
    return lines(site, `thinnet.nn.GaussianDropout(${rate})`, config.seed, `rng.at(step=${step}, samples=[${sample}])`, call);
  }
  const call = `rng.mask("${site}", step=${step}, samples=[${sample}], shape=(${units},))`;
  return lines(site, `thinnet.nn.Dropout(${rate})`, config.seed, `print(${call}.int().tolist())`);
}

/** Returns lines that apply a module to ones, and print which are kept or what they become. */
export function moduleLines(module: string, shape: readonly number[], seed: number, step: number): string {
  const call = `print(model["drop"](torch.ones(${shape.join(", ")})).tolist())`;
  return lines("drop", module, seed, `rng.at(step=${step}, samples=[0])`, call);
}

/** Returns lines that print the mask of a site. */
export function siteMaskLines(module: string, units: number, seed: number, step: number): string {
  const call = `rng.mask("drop", step=${step}, samples=[0], shape=(${units},))`;
  return lines("drop", module, seed, `print(${call}.int().tolist())`);
}

function lines(site: string, module: string, seed: number, ...calls: string[]): string {
  return [
    "import torch, thinnet",
    `model = torch.nn.ModuleDict({"${site}": ${module}})`,
    `rng = thinnet.DropoutRNG(${seed}).bind(model)`,
    ...calls,
  ].join("\n");
}
