/** Starts the page: state from the URL, workers, screens, keys. */

import { App } from "./app";
import { listenToKeys } from "./keys";
import { configOf } from "./state/state";
import { Store } from "./state/store";
import { read, write } from "./state/url";
import "./style.css";
import { TEXTS } from "./texts/texts";
import { applyTheme, listenToSystem } from "./theme";
import { Client } from "./training/client";
import type { Recorded } from "./training/record";
import { Session } from "./training/session";
import { Sweep } from "./training/sweep";

const store = new Store(read(location.hash));
const background = new Client();
const session = new Session(new Client(), store, () => app.watch);
const sweep = new Sweep(store);
let app = build();

function build(): App {
  const { language } = store.state;
  document.documentElement.lang = language;
  document.title = TEXTS[language].title;
  const made = new App({ store, session, background, sweep, texts: TEXTS[language] });
  document.body.replaceChildren(made.element);
  return made;
}

store.listen((state, changed) => {
  const hash = write(state);
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  if (changed.has("theme")) applyTheme(state.theme);
  if (changed.has("language") || changed.has("theme")) app = build();
  app.show();
});
session.listen(() => app.show());
sweep.listen(() => app.show());
listenToKeys(store, session);
listenToSystem(() => {
  applyTheme(store.state.theme);
  app = build();
  app.show();
});
addEventListener("hashchange", () => store.set(read(location.hash)));

applyTheme(store.state.theme);
app = build();
app.show();
session.restart();

/** For the console: `await thinnet.record(200)` returns data, batches, and the parameters before and after some steps. */
function record(steps: number): Promise<Recorded> {
  return new Client().call("record", { config: configOf(store.state), steps });
}

Object.assign(window, { thinnet: { record } });
