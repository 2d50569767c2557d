/** Rate: the U-curve, collected from repeated runs while the page is open. */

import { Canvas } from "../draw/canvas";
import { ratePlot } from "../draw/rates";
import { completeSeeds, conclude, FEWEST, interval, SWEEP } from "../statistics/comparison";
import type { Watch } from "../training/snapshot";
import { h, say } from "../ui/element";
import { decimals } from "../ui/formatting";
import { heading, type Context, type Screen } from "./screen";

export class Rate implements Screen {
  readonly element: HTMLElement;
  private readonly canvas = new Canvas({ height: 320 });
  private readonly button: HTMLButtonElement;
  private readonly progress = h("span", { class: "at" });
  private readonly verdict = h("p", { class: "verdict" });
  private readonly table = h("table");
  private drawn = "";

  constructor(private readonly context: Context) {
    const words = context.texts.rate;
    const { sweep } = context;
    const toggle = () => (sweep.running ? sweep.stop() : sweep.start());
    this.button = h("button", { type: "button", class: "main", onclick: toggle });
    const key = (name: string, text: string) => h("span", { class: `key ${name}` }, text);
    const legend = [key("dot", words.legend.runs), key("mean", words.legend.mean), key("trained", words.legend.train)];
    this.element = h(
      "div",
      {},
      heading(words.title, words.lede),
      h("div", { class: "bar" }, this.button, this.progress),
      this.verdict,
      h("div", { class: "legend" }, ...legend),
      this.canvas.element,
      h("p", { class: "note" }, words.note),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": words.table }, this.table),
    );
  }

  watch(): Watch {
    return {};
  }

  show(): void {
    const { texts, store } = this.context;
    const words = texts.rate;
    const { trials, running } = this.context.sweep;
    say(this.button, running ? `❚❚ ${words.stop}` : `▶ ${words.start}`);
    say(this.progress, words.collecting(trials.length, completeSeeds(trials).length));
    const key = `${trials.length} ${trials[0]?.validation} ${store.state.theme}`;
    if (key === this.drawn) return;
    this.drawn = key;
    say(this.verdict, this.sentence());
    this.canvas.show(words.title, ratePlot(trials, words.xAxis, words.yAxis));
    this.showTable();
  }

  private sentence(): string {
    const { texts, store } = this.context;
    const words = texts.rate;
    const { language } = store.state;
    const found = conclude(this.context.sweep.trials);
    if (found.kind === "few") return words.few(found.seeds, FEWEST);
    if (found.kind === "zero") return words.zero(found.seeds);
    const { mean, half } = found.gain;
    const [gain, low, high] = [mean, mean - half, mean + half].map((value) => decimals(language, value, 2));
    const rate = decimals(language, found.rate, 1);
    return found.kind === "better"
      ? words.better(rate, gain, low, high, found.seeds)
      : words.unsure(rate, low, high, found.seeds);
  }

  private showTable(): void {
    const { texts, store } = this.context;
    const { language } = store.state;
    const cells = SWEEP.map((rate) => {
      const losses = this.context.sweep.trials.filter((trial) => trial.rate === rate).map(({ validation }) => validation);
      return h("td", {}, losses.length === 0 ? "–" : decimals(language, interval(losses).mean, 2));
    });
    const head = SWEEP.map((rate) => h("th", { scope: "col" }, decimals(language, rate, 1)));
    this.table.replaceChildren(
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "p"), ...head)),
      h("tbody", {}, h("tr", {}, h("th", { scope: "row" }, texts.twins.validation), ...cells)),
    );
  }
}
