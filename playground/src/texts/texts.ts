/** The texts of each language. */

import type { Language } from "../state/state";
import { de } from "./de";
import { en, type Texts } from "./en";

export type { Texts };

export const TEXTS: Record<Language, Texts> = { en, de };
export const LANGUAGE_NAMES: Record<Language, string> = { en: "English", de: "Deutsch" };
