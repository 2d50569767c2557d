/** Uncertainty: the spread of predictions over masks, near the data and far from them. */

import { Canvas } from "../draw/canvas";
import { drawFit } from "../draw/fit";
import { colours, RISING } from "../draw/palette";
import { domainOf, drawPlane, type PlanePicture } from "../draw/plane";
import { FAR, NEAR } from "../training/picture";
import type { Snapshot, Watch } from "../training/snapshot";
import type { Spread } from "../training/spread";
import { h, say } from "../ui/element";
import { decimals, short } from "../ui/formatting";
import { datasetOf, heading, type Context, type Screen } from "./screen";

/** Masks of the spread; fewer while the network trains, as a picture must not take longer than a few frames. */
const MASKS = 60;
const FEW_MASKS = 12;
/** An experiment in which the spread grows away from the data. */
const CURVE = { data: "line", size: 60, noise: 0.3, rates: [0.2, 0.2, 0.2, 0.2] } as const;

export class Uncertainty implements Screen {
  readonly element: HTMLElement;
  private readonly mean = new Canvas({ ratio: 1 });
  private readonly deviation = new Canvas({ ratio: 1 });
  private readonly line = new Canvas({ height: 380 });
  private readonly scale = h("p", { class: "note" });
  private readonly message = h("p", { class: "verdict" });
  private readonly note = h("p", { class: "note" });
  private readonly toLine: HTMLButtonElement;
  private readonly planes: HTMLElement;
  private readonly lines: HTMLElement;

  constructor(private readonly context: Context) {
    const words = context.texts.uncertainty;
    this.planes = h(
      "div",
      { class: "two planes" },
      h("section", {}, h("h3", {}, words.mean), this.mean.element),
      h("section", {}, h("h3", {}, words.deviation), this.deviation.element, this.scale),
    );
    this.lines = h("section", {}, h("h3", {}, words.line), this.line.element);
    const showLine = () => {
      context.store.set(CURVE);
      context.session.play();
    };
    this.toLine = h("button", { type: "button", onclick: showLine }, `${words.toLine} →`);
    const parts = [this.message, this.toLine, this.planes, this.lines, this.note];
    this.element = h("div", { class: "uncertainty" }, heading(words.title, words.lede), ...parts);
  }

  watch(): Watch {
    return { spread: this.context.session.playing ? FEW_MASKS : MASKS };
  }

  show(): void {
    const { latest } = this.context.session;
    if (!latest) return;
    const missing = this.missing(latest);
    const { spread } = latest;
    this.toLine.hidden = spread?.mean.kind === "line";
    this.planes.hidden = spread?.mean.kind !== "plane" || missing === "all";
    this.lines.hidden = spread?.mean.kind !== "line" || missing === "all";
    const words = this.context.texts.uncertainty;
    say(this.note, spread ? (spread.mean.kind === "line" ? words.lineNote : words.planeNote) : "");
    if (!spread) return;
    if (spread.mean.kind === "plane") this.showPlanes(latest, spread);
    else this.showLine(latest, spread);
  }

  /** Says what is missing, or what the spread is. */
  private missing({ spread, config, step }: Snapshot): "" | "all" {
    const words = this.context.texts.uncertainty;
    const { language } = this.context.store.state;
    if (!spread) say(this.message, words.needsPlane);
    else if (config.rates.slice(0, config.depth).every((rate) => rate === 0)) say(this.message, words.noRate);
    else if (step === 0) say(this.message, words.start);
    else {
      const text = words.near(decimals(language, spread.near), decimals(language, spread.far));
      say(this.message, `${text} ${spread.far > spread.near ? words.more : words.less}`);
      return "";
    }
    return spread && step === 0 ? "" : "all";
  }

  private showPlanes({ config }: Snapshot, { mean, deviation }: Spread): void {
    const { texts, store } = this.context;
    const words = texts.uncertainty;
    const data = datasetOf(config);
    const highest = Math.max(0.01, ...(deviation as PlanePicture).values);
    this.mean.show(words.mean, (context, width, height) => {
      drawPlane(context, width, height, mean as PlanePicture, data, domainOf(data));
      frame(context, width, height);
    });
    this.deviation.show(words.deviation, (context, width, height) => {
      drawPlane(context, width, height, deviation as PlanePicture, null, [0, highest], RISING);
      frame(context, width, height);
    });
    say(this.scale, words.scale("0", short(store.state.language, highest)));
  }

  private showLine({ config }: Snapshot, { mean, deviation, curves }: Spread): void {
    if (mean.kind !== "line" || deviation.kind !== "line") return;
    const band = deviation.values.map((value) => 2 * value);
    const fit = { extent: mean.extent, values: mean.values, band, others: curves };
    this.line.show(this.context.texts.uncertainty.line, (context, width, height) =>
      drawFit(context, width, height, fit, datasetOf(config)),
    );
  }
}

/** Draws the dotted square around the data. */
function frame(context: CanvasRenderingContext2D, width: number, height: number): void {
  const [wide, high] = [(width * NEAR) / FAR, (height * NEAR) / FAR];
  context.setLineDash([3, 3]);
  context.lineWidth = 1.25;
  context.strokeStyle = colours().ink;
  context.strokeRect((width - wide) / 2, (height - high) / 2, wide, high);
  context.setLineDash([]);
}
