/** Twins: the same network without and with dropout, trained live. */

import { Canvas } from "../draw/canvas";
import { CurvePlot } from "../draw/curves";
import { drawing } from "../draw/picture";
import type { State } from "../state/state";
import type { Snapshot, TwinView, Watch } from "../training/snapshot";
import { h, say } from "../ui/element";
import { checkbox, type Input } from "../ui/inputs";
import { decimals, percent } from "../ui/formatting";
import { datasetOf, heading, type Context, type Screen } from "./screen";

/** A rise of the validation loss above its minimum that counts as overfitting. */
const RISE = 0.2;

export class Twins implements Screen {
  readonly element: HTMLElement;
  private readonly plain: Twin;
  private readonly dropout: Twin;
  private readonly curves: CurvePlot;
  private readonly verdict = h("p", { class: "verdict" });
  private readonly caption = h("p", { class: "note" });
  private readonly loggedKey: HTMLElement;
  private readonly logged: Input<boolean>;
  private readonly forgotten: Input<boolean>;

  constructor(private readonly context: Context) {
    const { texts, store } = context;
    const words = texts.twins;
    this.plain = new Twin(context, "plain");
    this.dropout = new Twin(context, "dropout");
    this.curves = new CurvePlot(store.state.language, words.xAxis, words.yAxis, words.curves);
    this.logged = checkbox(words.logged, (logged) => store.set({ logged }));
    this.forgotten = checkbox(words.forgotten, (forgotten) => store.set({ forgotten }));
    const key = (name: string, text: string) => h("span", { class: `key ${name}` }, text);
    this.loggedKey = key("logged", words.legend.logged);
    const legend = [
      key("plain", words.legend.plain),
      key("dropout", words.legend.dropout),
      key("plain dashed", words.legend.plainTrain),
      key("dropout dashed", words.legend.dropoutTrain),
      this.loggedKey,
      key("ring", words.legend.turn),
    ];
    this.element = h(
      "div",
      {},
      heading(words.title, words.lede),
      h("div", { class: "two" }, this.plain.element, this.dropout.element),
      this.caption,
      this.verdict,
      h("h3", {}, words.curves),
      h("div", { class: "legend" }, ...legend),
      this.curves.element,
      h("p", { class: "note" }, words.oneRun),
      h("div", { class: "checks" }, this.logged.element, this.forgotten.element),
    );
  }

  watch({ forgotten }: State): Watch {
    return { picture: true, forgotten };
  }

  show(): void {
    const { session, store, texts } = this.context;
    const { latest } = session;
    if (!latest?.plain.picture) return;
    this.plain.show(latest, latest.plain);
    this.dropout.show(latest, latest.dropout);
    this.curves.show(latest, store.state.logged);
    this.loggedKey.hidden = !store.state.logged;
    this.logged.sync(store.state.logged);
    this.forgotten.sync(store.state.forgotten);
    const { kind } = latest.plain.picture;
    say(this.caption, texts.twins.picture[latest.config.data === "toy" ? "toy" : kind]);
    say(this.verdict, this.sentence(latest));
  }

  private sentence({ plain, dropout, step }: Snapshot): string {
    const { texts, store } = this.context;
    if (step === 0) return texts.twins.start;
    const { language } = store.state;
    const [without, with_] = [lastOf(plain), lastOf(dropout)];
    const lower = with_ < without ? "dropout" : "plain";
    const text = [Math.min(without, with_), Math.max(without, with_)].map((value) => decimals(language, value, 2));
    return texts.twins.verdict(lower, text[0], text[1]);
  }
}

/** One of the two networks: its picture, its numbers, and a sentence on its validation loss. */
class Twin {
  readonly element: HTMLElement;
  private readonly canvas = new Canvas({ ratio: 1 });
  private readonly title = h("h3");
  private readonly numbers = h("dl", { class: "numbers" });
  private readonly state = h("p", { class: "state" });

  constructor(
    private readonly context: Context,
    private readonly name: "plain" | "dropout",
  ) {
    this.title.className = name;
    this.element = h("section", { class: "twin" }, this.title, this.canvas.element, this.numbers, this.state);
  }

  show({ config }: Snapshot, view: TwinView): void {
    const { texts, store } = this.context;
    const { language, forgotten } = store.state;
    const rates = [...new Set(config.rates.slice(0, config.depth))].map((rate) => decimals(language, rate, 2));
    say(this.title, this.name === "plain" ? texts.twins.plain : texts.twins[config.method](rates.join(" / ")));
    this.canvas.show(`${texts.pictureOf(this.title.textContent ?? "")}`, drawing(view.picture!, datasetOf(config)));
    this.showNumbers(view);
    const noisy = forgotten && this.name === "dropout";
    say(this.state, noisy ? texts.twins.forgottenNote : this.turn(view));
    this.state.classList.toggle("alarm", noisy || (rise(view) > RISE && !view.stopped));
  }

  private showNumbers({ curves }: TwinView): void {
    const { texts, store } = this.context;
    const { language } = store.state;
    const entries: [string, string][] = [
      [texts.twins.train, decimals(language, curves.train.at(-1)!)],
      [texts.twins.validation, decimals(language, curves.validation.at(-1)!)],
    ];
    const right = curves.accuracy.at(-1);
    if (right !== undefined) entries.push([texts.twins.accuracy, percent(language, right)]);
    this.numbers.replaceChildren(...entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  private turn(view: TwinView): string {
    const { texts, store } = this.context;
    if (view.step === 0) return "";
    if (view.stopped) return texts.twins.stopped(view.best.step);
    const risen = rise(view);
    return risen > RISE
      ? texts.twins.turned(view.best.step, percent(store.state.language, risen))
      : texts.twins.falling(view.best.step);
  }
}

function lastOf({ curves, best, stopped }: TwinView): number {
  return stopped ? best.loss : curves.validation.at(-1)!;
}

/** Returns how far the validation loss is above its minimum, as a fraction of it. */
function rise({ curves, best }: TwinView): number {
  return curves.validation.at(-1)! / best.loss - 1;
}
