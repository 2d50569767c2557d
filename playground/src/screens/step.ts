/** This step: the sub-network of one sample at one step, unit by unit. */

import { Canvas } from "../draw/canvas";
import { drawEdges } from "../draw/network";
import { maskLines } from "../python";
import type { State } from "../state/state";
import type { Config } from "../training/config";
import type { Watch } from "../training/snapshot";
import type { StepView } from "../training/step_view";
import { CopyBlock } from "../ui/copy";
import { h, say } from "../ui/element";
import { heading, type Context, type Screen } from "./screen";
import { Numbers } from "./step_numbers";
import { UnitCard } from "./step_unit";
import { UnitGrid } from "./step_units";

const HEIGHT_OF_UNIT = 17;
const LEAST = 260;

export class Step implements Screen {
  readonly element: HTMLElement;
  private readonly canvas = new Canvas({ height: LEAST });
  private readonly units: UnitGrid;
  private readonly card: UnitCard;
  private readonly where = h("span", { class: "at" });
  private readonly printed = h("code", { class: "printed", "data-printed": true });
  private readonly numbers: Numbers;
  private readonly copy: CopyBlock;
  private readonly drawing: HTMLElement;

  constructor(private readonly context: Context) {
    const { texts, store } = context;
    const words = texts.step;
    this.units = new UnitGrid(words, () => this.show());
    this.card = new UnitCard(context);
    this.numbers = new Numbers(context);
    this.copy = new CopyBlock(texts, texts.copy.mask);
    this.drawing = h("div", { class: "network" }, this.canvas.element, this.units.element);
    const move = (by: number) => {
      const batch = context.session.latest?.detail?.batch ?? 1;
      const row = context.session.latest?.detail?.row ?? 0;
      store.set({ row: (row + by + batch) % batch });
    };
    const button = (text: string, by: number) => h("button", { type: "button", onclick: () => move(by) }, text);
    const bar = h("div", { class: "bar" }, button(words.previous, -1), button(words.next, 1), this.where);
    const side = h("div", {}, this.card.element, h("p", { class: "note" }, words.nobody));
    this.element = h(
      "div",
      {},
      heading(words.title, words.lede),
      bar,
      h("div", { class: "step-columns" }, h("div", {}, this.units.titles, this.drawing), side),
      this.copy.element,
      h("p", { class: "prints" }, h("span", {}, words.prints), " ", this.printed),
      this.numbers.element,
    );
  }

  watch({ row }: State): Watch {
    return { row };
  }

  show(): void {
    const { session, texts } = this.context;
    const detail = session.latest?.detail;
    if (!session.latest || !detail) return;
    const { config } = session.latest;
    const height = Math.max(LEAST, HEIGHT_OF_UNIT * Math.max(...detail.sizes.slice(1)));
    this.canvas.setHeight(height);
    this.canvas.show(texts.pictureOf(texts.step.title), (context, wide, high) => drawEdges(context, wide, high, detail));
    this.units.show(detail);
    const { layer } = this.units.chosen;
    this.card.show(config, detail, this.units.chosen);
    say(this.where, texts.step.sample(detail.row + 1, detail.batch, detail.sample));
    this.showPrinted(config, detail, layer);
    this.copy.show(maskLines(config, layer, detail.step, detail.sample));
    this.numbers.show();
  }

  /** Writes what the lines of Python print. */
  private showPrinted(config: Config, { layers }: StepView, layer: number): void {
    const { factors, values } = layers[layer];
    const all = Array.from(factors ?? values.map(() => 1));
    const numbers = config.method === "gaussian" ? all : all.map((factor) => (factor === 0 ? 0 : 1));
    say(this.printed, `[${numbers.join(", ")}]`);
  }
}
