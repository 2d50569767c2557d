/** Calls the worker from the page: a call is a promise of its result. */

import type { Answer, Calls, Name } from "./worker";
import TrainingWorker from "./worker?worker&inline";

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export class Client {
  private worker = this.started();
  private readonly waiting = new Map<number, Waiting>();
  private last = 0;

  call<K extends Name>(name: K, argument: Parameters<Calls[K]>[0]): Promise<ReturnType<Calls[K]>> {
    const id = ++this.last;
    this.worker.postMessage({ id, name, argument });
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
    });
  }

  /** Ends the work in progress. Its promises stay open for ever. */
  cancel(): void {
    this.worker.terminate();
    this.waiting.clear();
    this.worker = this.started();
  }

  private started(): Worker {
    const worker = new TrainingWorker();
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data.result);
      else waiting?.reject(new Error(data.error));
    };
    return worker;
  }
}
