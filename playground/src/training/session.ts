/** The live run: starts it anew where the configuration changes, and takes some steps a frame while it plays. */

import { configOf, type Speed } from "../state/state";
import type { Store } from "../state/store";
import { DEFAULTS } from "./config";
import type { Client } from "./client";
import type { Snapshot, Watch } from "./snapshot";

const STEPS_A_FRAME: Record<Speed, number> = { slow: 1, normal: 4, fast: 25 };
/** At the slow speed a step is taken at every so many frames. */
const SLOW_FRAMES = 12;

export class Session {
  latest: Snapshot | undefined;
  playing = false;
  private busy = false;
  /** What to call when the call under way is done. A restart is never forgotten. */
  private next: "start" | "refresh" | undefined;
  private frames = 0;
  private readonly listeners: (() => void)[] = [];

  constructor(
    private readonly client: Client,
    private readonly store: Store,
    private readonly watch: () => Watch,
  ) {
    store.listen((_, changed) => {
      if ([...changed].some((key) => key in DEFAULTS)) this.restart();
      else this.refresh();
    });
  }

  listen(listener: () => void): void {
    this.listeners.push(listener);
  }

  restart(): void {
    if (this.busy) this.next = "start";
    else void this.call(() => this.client.call("start", { config: configOf(this.store.state), watch: this.watch() }));
  }

  /** Asks for what the screen shows, without a step. */
  refresh(): void {
    if (this.busy) this.next ??= "refresh";
    else void this.advance(0);
  }

  /** Takes one step, or only pauses if it plays. A step that is asked for while another is under way is left out. */
  step(): void {
    if (this.playing) this.pause();
    else if (!this.busy) void this.advance(1);
  }

  play(): void {
    if (this.playing) return;
    this.playing = true;
    if (this.latest?.over) this.restart();
    this.tell();
    requestAnimationFrame(() => this.frame());
  }

  pause(): void {
    this.playing = false;
    this.tell();
    this.refresh();
  }

  private frame(): void {
    if (!this.playing) return;
    const { speed } = this.store.state;
    const due = speed !== "slow" || this.frames++ % SLOW_FRAMES === 0;
    if (!this.busy && due) void this.advance(STEPS_A_FRAME[speed]);
    requestAnimationFrame(() => this.frame());
  }

  private advance(steps: number): Promise<void> {
    return this.call(() => this.client.call("advance", { steps, watch: this.watch() }));
  }

  private async call(ask: () => Promise<Snapshot>): Promise<void> {
    this.busy = true;
    const snapshot = await ask().finally(() => (this.busy = false));
    const { next } = this;
    this.next = undefined;
    if (next === "start") return this.restart();
    this.latest = snapshot;
    if (snapshot.over && this.playing) this.pause();
    this.tell();
    if (next === "refresh") this.refresh();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}
