/** The order of training samples: each epoch sorts them by random words of the seed. */

import { siteNumber } from "../bits/address";
import { unitWords } from "../bits/units";

const SITE = siteNumber("batches");

export class Batches {
  private epoch = -1;
  private order: number[] = [];
  readonly perEpoch: number;

  constructor(
    private readonly seed: number,
    private readonly count: number,
    private readonly size: number,
  ) {
    this.perEpoch = Math.ceil(count / size);
  }

  /** Returns the sample ids of a step. The last batch of an epoch may be smaller. */
  at(step: number): number[] {
    const epoch = Math.floor(step / this.perEpoch);
    if (epoch !== this.epoch) {
      const words = unitWords({ seed: this.seed, site: SITE, step: epoch, sample: 0 }, this.count);
      this.order = Array.from(words.keys()).sort((a, b) => words[a] - words[b] || a - b);
      this.epoch = epoch;
    }
    const start = (step % this.perEpoch) * this.size;
    return this.order.slice(start, start + this.size);
  }
}
