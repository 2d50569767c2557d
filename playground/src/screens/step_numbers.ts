/** Inverted scaling in numbers: 2, 4, 6, 8 become 4, 0, 12, 0; and the classic scaling at evaluation. */

import { h, say } from "../ui/element";
import { choice, type Input } from "../ui/inputs";
import type { Context } from "./screen";

const VALUES = [2, 4, 6, 8];
const MASK = [1, 0, 1, 0];
const RATE = 0.5;

type Scaling = "inverted" | "classic";

export class Numbers {
  readonly element: HTMLElement;
  private readonly body = h("tbody");
  private readonly note = h("p", { class: "note" });
  private readonly scaling: Input<Scaling>;

  constructor(private readonly context: Context) {
    const { texts, store } = context;
    const words = texts.step;
    const set = (scaling: Scaling) => store.set({ classic: scaling === "classic" });
    this.scaling = choice(words.numbersTitle, ["inverted", "classic"], words, set);
    this.element = h(
      "section",
      { class: "card" },
      h("h3", {}, words.numbersTitle),
      h("p", {}, words.numbersLede),
      this.scaling.element,
      h("table", { class: "numbers-table" }, this.body),
      this.note,
    );
  }

  show(): void {
    const { texts, store } = this.context;
    const { rows, classicNote, invertedNote } = texts.step;
    const { classic } = store.state;
    this.scaling.sync(classic ? "classic" : "inverted");
    const training = VALUES.map((value, i) => value * MASK[i] * (classic ? 1 : 1 / (1 - RATE)));
    const evaluation = VALUES.map((value) => value * (classic ? 1 - RATE : 1));
    const table: [string, readonly number[]][] = [
      [rows.values, VALUES],
      [rows.mask, MASK],
      [rows.training, training],
      [rows.evaluation, evaluation],
    ];
    const cell = (value: number, i: number) => h("td", MASK[i] === 0 ? { class: "off" } : {}, String(value));
    this.body.replaceChildren(
      ...table.map(([name, values], row) =>
        h("tr", {}, h("th", { scope: "row" }, name), ...values.map((value, i) => cell(value, row === 1 || row === 2 ? i : 0))),
      ),
    );
    say(this.note, classic ? classicNote : invertedNote);
  }
}
