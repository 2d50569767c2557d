/** Variants: what other methods drop, on feature maps, weights and sequences. */

import { Canvas } from "../draw/canvas";
import { variantPlot } from "../draw/variant";
import { RATES } from "../state/state";
import type { Watch } from "../training/snapshot";
import { CopyBlock } from "../ui/copy";
import { h, say } from "../ui/element";
import { decimals } from "../ui/formatting";
import { slider, type Input } from "../ui/inputs";
import { CHANNELS, factorsOf, SIDE, VARIANT, VARIANTS, type VariantName } from "../variants/variants";
import { heading, type Context, type Screen } from "./screen";

/** Height over width of four maps side by side. */
const MAPS_RATIO = 0.235;
const SQUARE_HEIGHT = 190;

export class Variants implements Screen {
  readonly element: HTMLElement;
  private readonly cards: readonly Card[];
  private readonly input = new Canvas({ ratio: MAPS_RATIO });
  private readonly rate: Input<number>;
  private readonly at = h("span", { class: "at" });
  private step = 0;

  constructor(private readonly context: Context) {
    const { texts, store } = context;
    const words = texts.variants;
    const set = (rate: number) => store.set({ rates: store.state.rates.map(() => rate) });
    this.rate = slider(words.rate, { values: RATES }, (rate) => decimals(store.state.language, rate, 2), set);
    const again = () => {
      this.step++;
      this.show();
    };
    this.cards = VARIANTS.map((name) => new Card(context, name));
    const input = h("section", { class: "card" }, h("h3", {}, words.input), this.input.element);
    const bar = h("div", { class: "bar" }, h("button", { type: "button", class: "main", onclick: again }, words.again), this.at);
    this.element = h(
      "div",
      {},
      heading(words.title, words.lede),
      bar,
      this.rate.element,
      h("div", { class: "variants" }, input, ...this.cards.map((card) => card.element)),
    );
  }

  watch(): Watch {
    return {};
  }

  show(): void {
    const { store, texts } = this.context;
    const [rate] = store.state.rates;
    this.rate.sync(rate);
    say(this.at, texts.variants.at(this.step));
    const ones = new Array<number>(CHANNELS * SIDE * SIDE).fill(1);
    this.input.show(texts.variants.input, variantPlot({ drawn: "maps" }, ones));
    for (const card of this.cards) card.show(rate, store.state.seed, this.step);
  }
}

class Card {
  readonly element: HTMLElement;
  private readonly canvas: Canvas;
  private readonly copy: CopyBlock;

  constructor(
    private readonly context: Context,
    private readonly name: VariantName,
  ) {
    const { texts } = context;
    const words = texts.variants;
    this.canvas = new Canvas(VARIANT[name].drawn === "maps" ? { ratio: MAPS_RATIO } : { height: SQUARE_HEIGHT });
    this.copy = new CopyBlock(texts, words.python);
    const details = h("details", {}, h("summary", {}, words.python), this.copy.element);
    const note = h("p", { class: "note" }, words.notes[name]);
    this.element = h("section", { class: "card" }, h("h3", {}, words.names[name]), this.canvas.element, note, details);
    this.element.dataset["variant"] = name;
  }

  show(rate: number, seed: number, step: number): void {
    const { names } = this.context.texts.variants;
    const factors = factorsOf(this.name, seed, step, rate);
    this.element.dataset["factors"] = JSON.stringify(Array.from(factors));
    this.canvas.show(names[this.name], variantPlot(VARIANT[this.name], factors));
    this.copy.show(VARIANT[this.name].python(rate, seed, step));
  }
}
