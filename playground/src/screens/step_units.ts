/** The units of the network as buttons over its edges; arrow keys move between hidden units. */

import { isDropped, placesOf } from "../draw/network";
import type { Texts } from "../texts/texts";
import type { StepView } from "../training/step_view";
import { h, say } from "../ui/element";

export interface Unit {
  readonly layer: number;
  readonly unit: number;
}

const SMALLEST = 9;
const LARGEST = 26;

export class UnitGrid {
  readonly element = h("div", { class: "units" });
  readonly titles = h("div", { class: "column-titles" });
  chosen: Unit = { layer: 0, unit: 0 };
  private buttons: HTMLButtonElement[][] = [];
  private shape = "";

  constructor(
    private readonly words: Texts["step"],
    private readonly changed: () => void,
  ) {
    this.element.addEventListener("keydown", (event) => this.move(event));
  }

  show(view: StepView): void {
    if (this.shape !== view.sizes.join()) this.build(view);
    const strongest = Math.max(1e-9, ...view.layers.flatMap(({ values }) => [...values]));
    view.layers.forEach(({ values }, layer) => {
      this.buttons[layer].forEach((button, unit) => {
        const dropped = isDropped(view, layer, unit);
        const chosen = layer === this.chosen.layer && unit === this.chosen.unit;
        button.classList.toggle("dropped", dropped);
        button.style.setProperty("--fill", String(Math.sqrt(values[unit] / strongest)));
        button.setAttribute("aria-pressed", String(chosen));
        button.tabIndex = chosen ? 0 : -1;
        const name = `${this.words.unit(layer + 1, unit)}, ${dropped ? this.words.dropped : this.words.kept}`;
        if (button.getAttribute("aria-label") !== name) button.setAttribute("aria-label", name);
      });
    });
  }

  private build(view: StepView): void {
    const { sizes } = view;
    this.shape = sizes.join();
    const places = placesOf(sizes);
    const widest = Math.max(...sizes.slice(1));
    const size = Math.max(SMALLEST, Math.min(LARGEST, (17 * 32) / widest - 4, 13 * Math.max(1, 20 / widest)));
    this.element.style.setProperty("--unit", `${size}px`);
    const style = ({ x, y }: { x: number; y: number }) => `left:${100 * x}%;top:${100 * y}%`;
    const ends = [...places[0], ...places[places.length - 1]].map((place) =>
      h("span", { class: "end", style: style(place) }),
    );
    this.buttons = places.slice(1, -1).map((column, layer) =>
      column.map((place, unit) =>
        h("button", { type: "button", style: style(place), onclick: () => this.choose({ layer, unit }) }),
      ),
    );
    if (!this.buttons[this.chosen.layer]?.[this.chosen.unit]) this.chosen = { layer: 0, unit: 0 };
    this.element.replaceChildren(...ends, ...this.buttons.flat());
    const last = sizes.length - 1;
    this.titles.replaceChildren(
      ...sizes.map((_, i) => {
        const title = h("span");
        say(title, i === 0 ? this.words.input : i === last ? this.words.output : this.words.hidden(i));
        return title;
      }),
    );
  }

  private choose(unit: Unit): void {
    this.chosen = unit;
    this.changed();
  }

  private move(event: KeyboardEvent): void {
    const { layer, unit } = this.chosen;
    const target = {
      ArrowUp: { layer, unit: unit - 1 },
      ArrowDown: { layer, unit: unit + 1 },
      ArrowLeft: { layer: layer - 1, unit },
      ArrowRight: { layer: layer + 1, unit },
    }[event.key];
    if (!target) return;
    event.preventDefault();
    const button = this.buttons[target.layer]?.[target.unit];
    if (!button) return;
    this.choose(target);
    button.focus();
  }
}
