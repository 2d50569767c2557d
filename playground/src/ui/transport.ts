/** Train, pause, one step, restart, speed, and where the run is. */

import { SPEEDS } from "../state/state";
import type { Store } from "../state/store";
import type { Texts } from "../texts/texts";
import type { Session } from "../training/session";
import { h, say } from "./element";
import { choice, type Input } from "./inputs";

const SHOWN_FOR = 2500;

export class Transport {
  readonly element: HTMLElement;
  private readonly train: HTMLButtonElement;
  private readonly at = h("span", { class: "at" });
  private readonly progress = h("progress", { max: 1 });
  private readonly shared = h("span", { class: "note", role: "status" });
  private readonly speed: Input<(typeof SPEEDS)[number]>;

  constructor(
    private readonly store: Store,
    private readonly session: Session,
    private readonly texts: Texts,
  ) {
    const words = texts.bar;
    const button = (text: string, onclick: () => void) => h("button", { type: "button", onclick }, text);
    this.train = h("button", { type: "button", class: "main", onclick: () => this.toggle() });
    this.speed = choice(words.speed, SPEEDS, words.speeds, (speed) => store.set({ speed }));
    this.progress.setAttribute("aria-label", words.step);
    this.element = h(
      "div",
      { class: "transport" },
      this.train,
      button(words.step, () => session.step()),
      button(words.restart, () => session.restart()),
      this.speed.element,
      h("span", { class: "where" }, this.at, this.progress),
      h("button", { type: "button", class: "quiet", onclick: () => void this.share() }, words.share),
      this.shared,
    );
  }

  toggle(): void {
    if (this.session.playing) this.session.pause();
    else this.session.play();
  }

  show(): void {
    const { playing, latest } = this.session;
    say(this.train, playing ? `❚❚ ${this.texts.bar.pause}` : `▶ ${this.texts.bar.train}`);
    this.speed.sync(this.store.state.speed);
    if (!latest) return;
    say(this.at, this.texts.bar.at(latest.step, latest.config.steps));
    this.progress.value = latest.step / latest.config.steps;
  }

  private async share(): Promise<void> {
    const { bar } = this.texts;
    const done = await navigator.clipboard.writeText(location.href).then(
      () => true,
      () => false,
    );
    say(this.shared, done ? bar.shared : bar.shareFailed);
    setTimeout(() => say(this.shared, ""), SHOWN_FOR);
  }
}
