/** The page: header, tabs, settings, and the chosen screen. It is built anew for another language. */

import { Average } from "./screens/average";
import { Questions } from "./screens/questions";
import { Rate } from "./screens/rate";
import type { Context, Screen } from "./screens/screen";
import { Step } from "./screens/step";
import { Twins } from "./screens/twins";
import { Uncertainty } from "./screens/uncertainty";
import { Variants } from "./screens/variants";
import { LANGUAGES, THEMES, type ScreenName } from "./state/state";
import { LANGUAGE_NAMES } from "./texts/texts";
import type { Watch } from "./training/snapshot";
import { Controls } from "./ui/controls";
import { h } from "./ui/element";
import { menu } from "./ui/inputs";
import { Tabs } from "./ui/tabs";
import { Transport } from "./ui/transport";

const PANEL = "screen";
const WIDE = "(min-width: 900px)";

export class App {
  readonly element: HTMLElement;
  readonly transport: Transport;
  private readonly screens: Record<ScreenName, Screen>;
  private readonly tabs: Tabs;
  private readonly controls: Controls;
  private readonly panel = h("div", { id: PANEL, role: "tabpanel", tabindex: -1 });

  constructor(private readonly context: Context) {
    const { texts, store, session } = context;
    this.screens = {
      twins: new Twins(context),
      step: new Step(context),
      average: new Average(context),
      uncertainty: new Uncertainty(context),
      rate: new Rate(context),
      variants: new Variants(context),
      questions: new Questions(context),
    };
    this.tabs = new Tabs(texts.menu.screens, texts.screens, PANEL, (screen) => store.set({ screen }));
    this.controls = new Controls(store, texts);
    this.transport = new Transport(store, session, texts);
    const settings = h("details", { class: "settings" }, h("summary", {}, texts.menu.settings), this.controls.element);
    settings.open = matchMedia(WIDE).matches;
    this.element = h(
      "div",
      { class: "page" },
      h("button", { type: "button", class: "skip", onclick: () => this.panel.focus() }, texts.skip),
      this.header(),
      h("nav", { "aria-label": texts.menu.screens }, this.tabs.element),
      h("div", { class: "body" }, h("aside", { "aria-label": texts.menu.settings }, settings), this.main()),
      h("footer", {}, h("p", {}, texts.footer), h("p", {}, texts.bar.keys)),
    );
  }

  get watch(): Watch {
    return this.screen.watch(this.context.store.state);
  }

  /** Shows the state and the latest snapshot. */
  show(): void {
    const { state } = this.context.store;
    this.tabs.sync(state.screen);
    this.controls.sync(state);
    this.transport.show();
    this.transport.element.hidden = !["twins", "step", "uncertainty"].includes(state.screen);
    this.panel.setAttribute("aria-labelledby", `tab-${state.screen}`);
    if (this.panel.firstChild !== this.screen.element) this.panel.replaceChildren(this.screen.element);
    this.screen.show();
  }

  private get screen(): Screen {
    return this.screens[this.context.store.state.screen];
  }

  private main(): HTMLElement {
    return h("main", {}, this.transport.element, this.panel);
  }

  private header(): HTMLElement {
    const { texts, store } = this.context;
    const language = menu(texts.menu.language, { values: LANGUAGES }, LANGUAGE_NAMES, (value) => store.set({ language: value }));
    const theme = menu(texts.menu.theme, { values: THEMES }, texts.themes, (value) => store.set({ theme: value }));
    language.sync(store.state.language);
    theme.sync(store.state.theme);
    const choices = h("div", { class: "choices" }, language.element, theme.element);
    return h("header", {}, h("div", {}, h("h1", {}, texts.title), h("p", { class: "lede" }, texts.lede)), choices);
  }
}
