/** The settings of the run. */

import { FIELDS, RATES, type State } from "../state/state";
import type { Store } from "../state/store";
import type { Texts } from "../texts/texts";
import { DEFAULTS } from "../training/config";
import { h } from "./element";
import { decimals, short } from "./formatting";
import { menu, slider, type Input } from "./inputs";

type NumberKey = "size" | "noise" | "depth" | "width" | "learningRate" | "l2" | "batch" | "steps" | "patience" | "seed";

export class Controls {
  readonly element: HTMLElement;
  private readonly syncs: ((state: State) => void)[] = [];

  constructor(
    private readonly store: Store,
    private readonly texts: Texts,
  ) {
    const words = texts.controls;
    const { language } = store.state;
    const plain = (value: number) => short(language, value);
    const patience = (steps: number) => (steps === 0 ? words.patienceOff : words.patienceAfter(steps));
    const data = menu(words.data, FIELDS.data, texts.dataSets, (value) => store.set({ data: value }));
    const method = menu(words.method, FIELDS.method, words.methods, (value) => store.set({ method: value }));
    this.follow(data, ({ data }) => data);
    this.follow(method, ({ method }) => method);
    this.element = h(
      "div",
      { class: "controls" },
      this.group(words.groups.data, data.element, this.number("size", plain), this.number("noise", plain)),
      this.group(words.groups.dropout, this.allRates(), this.ratesByLayer(), method.element),
      this.group(words.groups.network, this.number("depth", plain), this.number("width", plain)),
      this.group(
        words.groups.training,
        ...(["learningRate", "l2", "batch", "steps"] as const).map((key) => this.number(key, plain)),
        this.number("patience", patience),
        this.number("seed", plain),
      ),
      h("button", { type: "button", class: "quiet", onclick: () => store.set(DEFAULTS) }, words.reset),
    );
  }

  sync(state: State): void {
    for (const sync of this.syncs) sync(state);
  }

  private follow<T>(input: Input<T>, of: (state: State) => T): void {
    this.syncs.push((state) => input.sync(of(state)));
  }

  private group(title: string, ...fields: HTMLElement[]): HTMLElement {
    return h("fieldset", {}, h("legend", {}, title), ...fields);
  }

  private number(key: NumberKey, format: (value: number) => string): HTMLElement {
    const input = slider(this.texts.controls[key], FIELDS[key], format, (value) => this.store.set({ [key]: value }));
    this.follow(input, (state) => state[key]);
    return input.element;
  }

  private allRates(): HTMLElement {
    const set = (rate: number) => this.store.set({ rates: this.store.state.rates.map(() => rate) });
    const input = slider(this.texts.controls.allRates, { values: RATES }, this.rateText, set);
    this.follow(input, ({ rates }) => Math.max(...rates));
    return input.element;
  }

  private ratesByLayer(): HTMLElement {
    const rows = DEFAULTS.rates.map((_, layer) => {
      const set = (rate: number) =>
        this.store.set({ rates: this.store.state.rates.map((old, i) => (i === layer ? rate : old)) });
      const input = slider(this.texts.controls.rate(layer + 1), { values: RATES }, this.rateText, set);
      this.follow(input, ({ rates }) => rates[layer]);
      this.syncs.push(({ depth }) => (input.element.hidden = layer >= depth));
      return input.element;
    });
    return h("details", {}, h("summary", {}, this.texts.controls.byLayer), ...rows);
  }

  private readonly rateText = (rate: number) => decimals(this.store.state.language, rate, 2);
}
