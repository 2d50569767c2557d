/** Sliders, menus and switches that follow a value of the state. */

import type { ChoiceField, NumberField } from "../state/fields";
import { h, say } from "./element";

export interface Input<T> {
  readonly element: HTMLElement;
  /** Shows a value. */
  sync(value: T): void;
}

let last = 0;
const nextId = () => `input-${++last}`;

/** A slider over the values of a field. */
export function slider(
  label: string,
  { values }: Pick<NumberField, "values">,
  format: (value: number) => string,
  change: (value: number) => void,
): Input<number> {
  const id = nextId();
  const shown = h("output", { for: id });
  const input = h("input", { type: "range", id, min: 0, max: values.length - 1, step: 1 });
  const show = () => {
    const text = format(values[Number(input.value)]);
    say(shown, text);
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", show);
  input.addEventListener("change", () => change(values[Number(input.value)]));
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, label), shown, input),
    sync(value) {
      input.value = String(nearest(values, value));
      show();
    },
  };
}

function nearest(values: readonly number[], value: number): number {
  return values.reduce((best, each, i) => (Math.abs(each - value) < Math.abs(values[best] - value) ? i : best), 0);
}

/** A menu of the values of a field. */
export function menu<T extends string>(
  label: string,
  { values }: Pick<ChoiceField<T>, "values">,
  names: Record<T, string>,
  change: (value: T) => void,
): Input<T> {
  const id = nextId();
  const options = values.map((value) => h("option", { value }, names[value]));
  const select = h("select", { id }, ...options);
  select.addEventListener("change", () => change(select.value as T));
  return {
    element: h("div", { class: "field" }, h("label", { for: id }, label), select),
    sync: (value) => void (select.value = value),
  };
}

export function checkbox(label: string, change: (value: boolean) => void): Input<boolean> {
  const input = h("input", { type: "checkbox" });
  input.addEventListener("change", () => change(input.checked));
  return { element: h("label", { class: "check" }, input, label), sync: (value) => void (input.checked = value) };
}

/** A few buttons of which one is pressed. */
export function choice<T extends string>(
  label: string,
  values: readonly T[],
  names: Record<T, string>,
  change: (value: T) => void,
): Input<T> {
  const buttons = values.map((value) => h("button", { type: "button", onclick: () => change(value) }, names[value]));
  return {
    element: h("div", { class: "choice", role: "group", "aria-label": label }, ...buttons),
    sync: (value) => values.forEach((each, i) => buttons[i].setAttribute("aria-pressed", String(each === value))),
  };
}
