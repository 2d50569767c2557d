/** Lines of Python, with a button that copies them. */

import type { Texts } from "../texts/texts";
import { h, say } from "./element";

const SHOWN_FOR = 2500;

export class CopyBlock {
  readonly element: HTMLElement;
  private readonly code = h("code");
  private readonly note = h("span", { class: "note", role: "status" });

  constructor(
    private readonly texts: Texts,
    title: string,
  ) {
    const button = h("button", { type: "button", class: "quiet", onclick: () => void this.copy() }, texts.copy.button);
    const bar = h("div", { class: "copy-bar" }, h("span", { class: "copy-title" }, title), button, this.note);
    this.element = h("div", { class: "copy" }, bar, h("pre", { tabindex: 0, role: "region", "aria-label": title }, this.code));
  }

  show(code: string): void {
    say(this.code, code);
  }

  private async copy(): Promise<void> {
    const copied = await write(this.code.textContent ?? "");
    if (!copied) getSelection()?.selectAllChildren(this.code);
    say(this.note, copied ? this.texts.copy.done : this.texts.copy.selected);
    setTimeout(() => say(this.note, ""), SHOWN_FOR);
  }
}

/** Returns whether the browser let the page write to the clipboard. */
async function write(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
