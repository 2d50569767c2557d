/** What the page gets to see of two runs. */

import type { Config } from "./config";
import { pictureOf, type Picture } from "./picture";
import type { Curves, Run } from "./run";
import { spreadOf, type Spread } from "./spread";
import { stepView, type StepView } from "./step_view";

/** What a screen needs; the rest is not computed. */
export interface Watch {
  readonly picture?: boolean;
  /** Whether the picture of the network with dropout has dropout on. */
  readonly forgotten?: boolean;
  /** The number of masks whose spread is shown. */
  readonly spread?: number;
  /** The sample of the batch whose step is shown. */
  readonly row?: number;
}

export interface TwinView {
  readonly curves: Curves;
  readonly best: { readonly step: number; readonly loss: number };
  readonly stopped: boolean;
  readonly step: number;
  readonly picture: Picture | null;
}

export interface Snapshot {
  readonly config: Config;
  readonly step: number;
  readonly over: boolean;
  readonly plain: TwinView;
  readonly dropout: TwinView;
  readonly spread: Spread | null;
  readonly detail: StepView | null;
}

export function snapshot(plain: Run, dropout: Run, watch: Watch): Snapshot {
  return {
    config: dropout.config,
    step: Math.max(plain.step, dropout.step),
    over: plain.over && dropout.over,
    plain: view(plain, watch, false),
    dropout: view(dropout, watch, watch.forgotten ?? false),
    spread: watch.spread ? spreadOf(dropout, watch.spread) : null,
    detail: watch.row === undefined ? null : stepView(dropout, watch.row),
  };
}

function view(run: Run, watch: Watch, noisy: boolean): TwinView {
  return {
    curves: run.curves,
    best: { step: run.best.step, loss: run.best.loss },
    stopped: run.stopped,
    step: run.step,
    picture: watch.picture ? pictureOf(run, noisy) : null,
  };
}
