/** The one state of the page: the configuration of the run, and what the screens show of it. */

import { DATA_NAMES } from "../data/names";
import { DEEPEST, DEFAULTS, type Config } from "../training/config";
import { choiceOf, flag, listOf, numberOf, range, type Field } from "./fields";

export const SCREENS = ["twins", "step", "average", "uncertainty", "rate", "variants", "questions"] as const;
export const LANGUAGES = ["en", "de"] as const;
export const THEMES = ["auto", "light", "dark"] as const;
export const SPEEDS = ["slow", "normal", "fast"] as const;

export type ScreenName = (typeof SCREENS)[number];
export type Language = (typeof LANGUAGES)[number];
export type Theme = (typeof THEMES)[number];
export type Speed = (typeof SPEEDS)[number];

export interface State extends Config {
  readonly screen: ScreenName;
  readonly language: Language;
  readonly theme: Theme;
  readonly speed: Speed;
  /** Evaluate with dropout on, as after a forgotten eval(). */
  readonly forgotten: boolean;
  /** Show the training loss with noise. */
  readonly logged: boolean;
  /** Which sample of the batch the step shows. */
  readonly row: number;
  /** The 2014 scaling: at evaluation instead of in training. */
  readonly classic: boolean;
  /** Hidden units of the network whose sub-networks are all shown. */
  readonly units: number;
  /** Random sub-networks in the average. */
  readonly draws: number;
}

export const RATES = range(0, 0.9, 0.05);

const LANGUAGE: Language = globalThis.navigator?.language.startsWith("de") ? "de" : "en";

export const FIELDS = {
  screen: choiceOf("twins", SCREENS),
  language: choiceOf(LANGUAGE, LANGUAGES),
  theme: choiceOf("auto", THEMES),
  speed: choiceOf("normal", SPEEDS),
  forgotten: flag(false),
  logged: flag(false),
  row: numberOf(0, range(0, 99)),
  classic: flag(false),
  units: numberOf(8, range(2, 12)),
  draws: numberOf(10, range(1, 200)),
  data: choiceOf(DEFAULTS.data, DATA_NAMES),
  size: numberOf(DEFAULTS.size, range(20, 500, 20)),
  noise: numberOf(DEFAULTS.noise, range(0, 1, 0.1)),
  depth: numberOf(DEFAULTS.depth, range(1, DEEPEST)),
  width: numberOf(DEFAULTS.width, [2, 4, 8, 16, 24, 32, 48, 64]),
  method: choiceOf(DEFAULTS.method, ["dropout", "gaussian"] as const),
  rates: listOf(DEFAULTS.rates, RATES),
  learningRate: numberOf(DEFAULTS.learningRate, [0.001, 0.003, 0.01, 0.03, 0.1]),
  l2: numberOf(DEFAULTS.l2, [0, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]),
  batch: numberOf(DEFAULTS.batch, [1, 5, 10, 20, 50, 100]),
  seed: numberOf(DEFAULTS.seed, range(0, 99)),
  steps: numberOf(DEFAULTS.steps, [500, 1000, 2000, 4000, 8000]),
  patience: numberOf(DEFAULTS.patience, [0, 100, 200, 400, 800]),
} satisfies { [K in keyof State]: Field<State[K]> };

/** Returns the part of the state that determines the run. */
export function configOf(state: State): Config {
  return Object.fromEntries(Object.keys(DEFAULTS).map((key) => [key, state[key as keyof Config]])) as unknown as Config;
}
