/** Questions learners ask, each with an answer and a button that sets up the experiment. */

import { DEFAULTS } from "../training/config";
import type { Watch } from "../training/snapshot";
import { h } from "../ui/element";
import { PRESETS, type QuestionName } from "./presets";
import { heading, type Context, type Screen } from "./screen";

export class Questions implements Screen {
  readonly element: HTMLElement;

  constructor(private readonly context: Context) {
    const words = context.texts.questions;
    const cards = (Object.keys(PRESETS) as QuestionName[]).map((name) => {
      const { question, answer } = words.all[name];
      const label = `${words.show}: ${question}`;
      const button = h("button", { type: "button", "aria-label": label, onclick: () => this.open(name) }, `${words.show} →`);
      return h("section", { class: "card question" }, h("h3", {}, question), h("p", {}, answer), button);
    });
    this.element = h("div", {}, heading(words.title, words.lede), h("div", { class: "questions" }, ...cards));
  }

  watch(): Watch {
    return {};
  }

  show(): void {}

  private open(name: QuestionName): void {
    const { store, session, sweep } = this.context;
    const { state, starts } = PRESETS[name];
    store.set({ ...DEFAULTS, forgotten: false, logged: false, speed: "normal", ...state });
    session.restart();
    if (starts === "sweep") sweep.start();
    else session.play();
    scrollTo({ top: 0 });
  }
}
