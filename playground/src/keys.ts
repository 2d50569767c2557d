/** The keys of the page. They do nothing while a control that uses them has the focus. */

import { SCREENS } from "./state/state";
import type { Store } from "./state/store";
import type { Session } from "./training/session";

const OWN_KEYS = "input, select, textarea, button, summary, a, pre";

export function listenToKeys(store: Store, session: Session): void {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const focused = event.target instanceof Element && event.target.closest(OWN_KEYS) !== null;
    if (event.key === " " && focused) return;
    const number = SCREENS[Number(event.key) - 1];
    if (number && !focused) store.set({ screen: number });
    else if (event.key === " ") session.playing ? session.pause() : session.play();
    else if (event.key === ".") session.step();
    else if (event.key === "r" && !(event.target instanceof HTMLSelectElement)) session.restart();
    else return;
    event.preventDefault();
  });
}
