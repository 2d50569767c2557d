/** Numbers as text, in the language of the page. */

import type { Language } from "../state/state";

export function decimals(language: Language, value: number, digits = 3): string {
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function percent(language: Language, value: number): string {
  return value.toLocaleString(language, { style: "percent", maximumFractionDigits: 0 });
}

export function short(language: Language, value: number): string {
  return value.toLocaleString(language, { maximumSignificantDigits: 3 });
}
