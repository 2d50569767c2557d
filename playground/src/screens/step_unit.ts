/** What the page knows of one hidden unit at this step: its address, bits, value, gradient, and how often it was dropped. */

import { siteNumber } from "../bits/address";
import { countOf, unitBits } from "../bits/units";
import { siteName } from "../network/noise";
import type { Config } from "../training/config";
import type { StepView } from "../training/step_view";
import { h, say } from "../ui/element";
import { percent, short } from "../ui/formatting";
import type { Context } from "./screen";
import type { Unit } from "./step_units";

const ROWS = ["address", "bits", "value", "gradient", "often"] as const;

export class UnitCard {
  readonly element: HTMLElement;
  private readonly title = h("h3");
  private readonly badge = h("span", { class: "badge" });
  private readonly cells = ROWS.map(() => h("dd"));

  constructor(private readonly context: Context) {
    const words = context.texts.step;
    const rows = ROWS.flatMap((row, i) => [h("dt", {}, words[row]), this.cells[i]]);
    const hint = h("p", { class: "note" }, words.choose);
    this.element = h("section", { class: "card" }, this.title, this.badge, h("dl", { class: "facts" }, ...rows), hint);
  }

  show(config: Config, view: StepView, { layer, unit }: Unit): void {
    const { texts, store } = this.context;
    const words = texts.step;
    const number = (value: number) => short(store.state.language, value);
    const { values, factors, gradients, dropped } = view.layers[layer];
    const factor = factors?.[unit] ?? 1;
    say(this.title, words.unit(layer + 1, unit));
    say(this.badge, factor === 0 ? words.dropped : words.kept);
    this.badge.classList.toggle("dropped", factor === 0);
    const facts = [
      words.addressOf(config.seed, siteName(layer), view.step, view.sample, unit),
      this.bits(config, view, { layer, unit }, factor),
      words.valueOf(number(values[unit]), number(factor), number(values[unit] * factor)),
      words.gradientOf(number(gradients[unit]), factor === 0),
      view.drawn === 0
        ? words.notYet
        : words.oftenOf(dropped[unit], view.drawn, percent(store.state.language, dropped[unit] / view.drawn)),
    ];
    facts.forEach((fact, i) => say(this.cells[i], fact));
  }

  private bits(config: Config, { step, sample }: StepView, { layer, unit }: Unit, factor: number): string {
    const { texts, store } = this.context;
    const rate = config.rates[layer];
    if (rate === 0) return texts.step.noRate;
    if (config.method === "gaussian") return texts.step.gaussian(short(store.state.language, factor));
    const address = { seed: config.seed, site: siteNumber(siteName(layer)), step, sample };
    return texts.step.bitsOf(unitBits(address, unit + 1)[unit], countOf(rate), factor !== 0);
  }
}
