/** What every screen is, and what it may use. */

import { load, type Dataset } from "../data/dataset";
import type { State } from "../state/state";
import type { Store } from "../state/store";
import type { Texts } from "../texts/texts";
import type { Client } from "../training/client";
import type { Config } from "../training/config";
import type { Session } from "../training/session";
import type { Watch } from "../training/snapshot";
import type { Sweep } from "../training/sweep";
import { h } from "../ui/element";

export interface Context {
  readonly store: Store;
  readonly session: Session;
  /** A worker for what takes longer than a frame. */
  readonly background: Client;
  /** Collects the runs of the rate screen. */
  readonly sweep: Sweep;
  readonly texts: Texts;
}

export interface Screen {
  readonly element: HTMLElement;
  /** What it needs of the run. */
  watch(state: State): Watch;
  /** Shows the latest snapshot and the state; called often. */
  show(): void;
}

export function heading(title: string, lede: string): HTMLElement {
  return h("div", { class: "heading" }, h("h2", {}, title), h("p", { class: "lede" }, lede));
}

let kept: { key: string; data: Dataset } | undefined;

/** Returns the data set of a configuration; the last one is kept. */
export function datasetOf({ data, size, noise, seed }: Config): Dataset {
  const key = [data, size, noise, seed].join();
  if (kept?.key !== key) kept = { key, data: load(data, size, noise, seed) };
  return kept.data;
}
