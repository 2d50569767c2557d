/** The experiments that answer the questions: what each sets up, beside the first values of everything else. */

import type { State } from "../state/state";
import type { Texts } from "../texts/texts";

export type QuestionName = keyof Texts["questions"]["all"];

export interface Preset {
  readonly state: Partial<State>;
  /** What starts by itself: the training, or the runs of the rate screen. */
  readonly starts: "session" | "sweep";
}

const rates = (...values: number[]) => ({ rates: [0, 1, 2, 3].map((i) => values[i] ?? values[values.length - 1]) });

export const PRESETS: Record<QuestionName, Preset> = {
  better: { state: { screen: "twins", logged: true, width: 16, size: 200, noise: 0.3, steps: 1000, ...rates(0.5) }, starts: "session" },
  forGood: { state: { screen: "step", speed: "slow", width: 16, ...rates(0.5) }, starts: "session" },
  forgot: { state: { screen: "twins", forgotten: true, ...rates(0.5) }, starts: "session" },
  small: { state: { screen: "twins", width: 4, noise: 0.2, ...rates(0.5) }, starts: "session" },
  moreData: { state: { screen: "twins", size: 500 }, starts: "session" },
  everyLayer: { state: { screen: "twins", depth: 3, ...rates(0, 0, 0.5) }, starts: "session" },
  whichRate: { state: { screen: "rate" }, starts: "sweep" },
};
