/** The experiments that answer the questions: what each sets up, beside the first values of everything else. */

import type { State } from "../state/state";
import type { Texts } from "../texts/texts";

export type QuestionName = keyof Texts["questions"]["all"];

export interface Preset {
  readonly state: Partial<State>;
  /** Whether the training starts by itself. */
  readonly plays: boolean;
}

const rates = (...values: number[]) => ({ rates: [0, 1, 2, 3].map((i) => values[i] ?? values[values.length - 1]) });

export const PRESETS: Record<QuestionName, Preset> = {
  better: { state: { screen: "twins", logged: true, width: 16, size: 200, noise: 0.3, steps: 1000, ...rates(0.5) }, plays: true },
  forGood: { state: { screen: "step", speed: "slow", width: 16, ...rates(0.5) }, plays: true },
  forgot: { state: { screen: "twins", forgotten: true, ...rates(0.5) }, plays: true },
  small: { state: { screen: "twins", width: 4, noise: 0.2, ...rates(0.5) }, plays: true },
  moreData: { state: { screen: "twins", size: 500 }, plays: true },
  everyLayer: { state: { screen: "twins", depth: 3, ...rates(0, 0, 0.5) }, plays: true },
  whichRate: { state: { screen: "rate" }, plays: false },
};
