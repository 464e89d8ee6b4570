/** Rates of a run, from the counters of its last seconds. */

import type { RunProgress } from "../../peer/types";

const WINDOW_MS = 2000;

export interface NodeRate {
  count: number;
  p50: number;
  perSecond: number;
  /** Share of the time that the node computed, 0 … 1, taking each call for the median one. */
  busy: number;
}

export class Rates {
  #samples: RunProgress[] = [];

  add(progress: RunProgress): void {
    this.#samples.push(progress);
    while (this.#samples.length > 2 && progress.elapsed_ms - this.#samples[1]!.elapsed_ms >= WINDOW_MS) {
      this.#samples.shift();
    }
  }

  node(id: string): NodeRate | null {
    const times = this.#samples.at(-1)?.node_ms[id];
    if (!times) return null;
    const perSecond = this.#slope((sample) => sample.node_ms[id]?.count ?? 0);
    return { count: times.count, p50: times.p50, perSecond, busy: Math.min(1, (perSecond * times.p50) / 1000) };
  }

  itemsIn(): number {
    return this.#slope((sample) => sample.items_in);
  }

  resultsOut(): number {
    return this.#slope((sample) => sample.results_out);
  }

  #slope(counter: (sample: RunProgress) => number): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (!first || !last || last.elapsed_ms <= first.elapsed_ms) return 0;
    const counted = Math.max(0, counter(last) - counter(first)); // what a lost peer counted is lost with it
    return (counted * 1000) / (last.elapsed_ms - first.elapsed_ms);
  }
}
