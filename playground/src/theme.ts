/** Light or dark: as the system has it, or as the state says. */

import { forgetColours } from "./draw/palette";
import type { Theme } from "./state/state";

const DARK = matchMedia("(prefers-color-scheme: dark)");

export function applyTheme(theme: Theme): void {
  const dark = theme === "dark" || (theme === "auto" && DARK.matches);
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  forgetColours();
}

export function listenToSystem(changed: () => void): void {
  DARK.addEventListener("change", changed);
}
