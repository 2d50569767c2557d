/** Collects trials in the background: seed by seed, every rate. Another configuration starts anew. */

import { SWEEP } from "../statistics/comparison";
import { configOf } from "../state/state";
import type { Store } from "../state/store";
import { Client } from "./client";
import { DEFAULTS } from "./config";
import type { Trial } from "./trial";

const MOST_SEEDS = 40;

export class Sweep {
  trials: Trial[] = [];
  running = false;
  private readonly client = new Client();
  private readonly listeners: (() => void)[] = [];

  constructor(private readonly store: Store) {
    store.listen((_, changed) => {
      if ([...changed].some((key) => key in DEFAULTS)) this.clear();
    });
  }

  listen(listener: () => void): void {
    this.listeners.push(listener);
  }

  start(): void {
    if (this.running) return;
    this.running = true;
    void this.next();
    this.tell();
  }

  stop(): void {
    this.running = false;
    this.client.cancel();
    this.tell();
  }

  private clear(): void {
    this.trials = [];
    if (!this.running) return;
    this.client.cancel();
    void this.next();
  }

  private async next(): Promise<void> {
    const done = this.trials.length;
    const seed = Math.floor(done / SWEEP.length);
    if (!this.running || seed >= MOST_SEEDS) return;
    const config = configOf(this.store.state);
    const rate = SWEEP[done % SWEEP.length];
    this.trials = [...this.trials, await this.client.call("trial", { config, rate, seed: config.seed + seed })];
    this.tell();
    return this.next();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}
