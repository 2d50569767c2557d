/** The tabs of the screens: arrow keys move between them. */

import { SCREENS, type ScreenName } from "../state/state";
import { h } from "./element";

export class Tabs {
  readonly element: HTMLElement;
  private readonly buttons: readonly HTMLButtonElement[];

  constructor(label: string, names: Record<ScreenName, string>, panel: string, choose: (screen: ScreenName) => void) {
    this.buttons = SCREENS.map((screen, i) =>
      h(
        "button",
        { type: "button", role: "tab", id: `tab-${screen}`, "aria-controls": panel, onclick: () => choose(screen) },
        h("span", { class: "number", "aria-hidden": "true" }, String(i + 1)),
        names[screen],
      ),
    );
    this.element = h("div", { class: "tabs", role: "tablist", "aria-label": label }, ...this.buttons);
    this.element.addEventListener("keydown", (event) => this.move(event));
  }

  sync(screen: ScreenName): void {
    this.buttons.forEach((button, i) => {
      const chosen = SCREENS[i] === screen;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      if (chosen) this.element.scrollTo({ left: button.offsetLeft - this.element.clientWidth / 3 });
    });
  }

  private move(event: KeyboardEvent): void {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const at = this.buttons.indexOf(event.target as HTMLButtonElement);
    const next = this.buttons[(at + by + this.buttons.length) % this.buttons.length];
    next.focus();
    next.click();
  }
}
