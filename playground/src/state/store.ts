/** Holds the state, and tells listeners which fields changed. */

import type { State } from "./state";

export type Listener = (state: State, changed: ReadonlySet<keyof State>) => void;

export class Store {
  private readonly listeners: Listener[] = [];

  constructor(public state: State) {}

  set(patch: Partial<State>): void {
    const keys = Object.keys(patch) as (keyof State)[];
    const changed = new Set(keys.filter((key) => JSON.stringify(patch[key]) !== JSON.stringify(this.state[key])));
    if (changed.size === 0) return;
    this.state = { ...this.state, ...patch };
    for (const listener of this.listeners) listener(this.state, changed);
  }

  listen(listener: Listener): void {
    this.listeners.push(listener);
  }
}
