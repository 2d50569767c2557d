/** Average: all 2^n sub-networks of a small network, their average, one pass, and k random draws. */

import { Canvas } from "../draw/canvas";
import { errorPlot } from "../draw/errors";
import { drawing } from "../draw/picture";
import { mosaic, tilePlot } from "../draw/tiles";
import { configOf, FIELDS, type State } from "../state/state";
import { framed, NEAR, type Picture } from "../training/picture";
import type { Averages } from "../training/average";
import type { Watch } from "../training/snapshot";
import { h, say } from "../ui/element";
import { short } from "../ui/formatting";
import { slider, type Input } from "../ui/inputs";
import { heading, type Context, type Screen } from "./screen";

/** A difference below the precision of the pictures. */
const EXACT = 1e-5;

export class Average implements Screen {
  readonly element: HTMLElement;
  private readonly exact = new Panel();
  private readonly scaled = new Panel();
  private readonly sampled = new Panel();
  private readonly tiles = new Canvas({ ratio: 0.5 });
  private readonly tilesTitle = h("h3");
  private readonly errors = new Canvas({ height: 230 });
  private readonly message = h("p", { class: "verdict", role: "status" });
  private readonly results: HTMLElement;
  private readonly units: Input<number>;
  private readonly draws: Input<number>;
  private averages: Averages | undefined;
  private key = "";
  private shown = "";

  constructor(private readonly context: Context) {
    const { texts, store } = context;
    const words = texts.average;
    this.units = slider(words.units, FIELDS.units, String, (units) => store.set({ units }));
    this.draws = slider(words.draws, FIELDS.draws, String, (draws) => store.set({ draws }));
    this.results = h(
      "div",
      {},
      h("div", { class: "three" }, this.exact.element, this.scaled.element, this.sampled.element),
      h("h3", {}, words.errors),
      this.errors.element,
      h("p", { class: "note" }, words.errorsNote),
      this.tilesTitle,
      this.tiles.element,
    );
    const sliders = h("div", { class: "two" }, this.units.element, this.draws.element);
    this.element = h("div", {}, heading(words.title, words.lede), sliders, this.message, this.results);
  }

  watch(): Watch {
    return {};
  }

  show(): void {
    const { state } = this.context.store;
    this.units.sync(state.units);
    this.draws.sync(state.draws);
    const missing = this.missing(state);
    this.results.hidden = missing !== "" || this.averages === undefined;
    if (missing) {
      say(this.message, missing);
      this.key = "";
      return;
    }
    const key = JSON.stringify([configOf(state), state.units]);
    if (key !== this.key) void this.compute(key, state);
    this.draw(state);
  }

  private missing({ data, rates }: State): string {
    const words = this.context.texts.average;
    return data === "digits" ? words.needsPlane : rates[0] === 0 ? words.noRate : "";
  }

  private async compute(key: string, state: State): Promise<void> {
    this.key = key;
    this.context.background.cancel(); // an older computation would delay this one
    say(this.message, this.context.texts.average.working);
    const averages = await this.context.background.call("average", { config: configOf(state), units: state.units });
    if (key !== this.key) return;
    this.averages = averages;
    this.shown = "";
    say(this.message, "");
    this.show();
  }

  private draw(state: State): void {
    const { averages } = this;
    const key = `${this.key} ${state.draws} ${state.theme}`;
    if (!averages || key === this.shown) return;
    this.shown = key;
    const words = this.context.texts.average;
    const number = (value: number) => short(state.language, value);
    const { data, exact, scaled, sampled, errors, scaledError } = averages;
    const units = Math.log2(averages.tiles.length);
    const count = averages.tiles.length.toLocaleString(state.language);
    const mean = framed(data, NEAR, sampled[state.draws - 1]);
    this.exact.show(words.exact(count), words.exactNote, exact, averages);
    const scaledNote = scaledError < EXACT ? words.scaledExact : words.scaledNote(number(scaledError));
    this.scaled.show(words.scaled, scaledNote, scaled, averages);
    this.sampled.show(words.sampled(state.draws), words.sampledNote(number(errors[state.draws - 1])), mean, averages);
    say(this.tilesTitle, words.tiles(count));
    const { columns, rows } = mosaic(units);
    this.tiles.element.style.aspectRatio = String(columns / rows);
    this.tiles.show(words.tiles(count), tilePlot(averages, units));
    this.errors.show(words.errors, errorPlot(averages, state.draws));
  }
}

class Panel {
  private readonly canvas = new Canvas({ ratio: 1 });
  private readonly title = h("h3");
  private readonly note = h("p", { class: "note" });
  readonly element = h("section", {}, this.title, this.canvas.element, this.note);

  show(title: string, note: string, picture: Picture, { data }: Averages): void {
    say(this.title, title);
    say(this.note, note);
    this.canvas.show(`${title}: ${note}`, drawing(picture, data, false));
  }
}
