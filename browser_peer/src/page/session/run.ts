/** One run as the page follows it: results with the time that their item took, failures in their place, the receipt. */

import { ManifestFaults, type PeerApi, PlanRefused, type RunHandle, type RunProgress } from "../../peer/types";
import { Rates } from "../graph/rates";
import { seated } from "./lanes";
import { type Obstacle, ROWS_KEPT, type Row, type RunState, type State, type Store } from "./state";

const NOTHING_YET: RunProgress = {
  state: "planning",
  detail: "",
  items_in: 0,
  results_out: 0,
  in_flight: 0,
  errors: 0,
  replayed: 0,
  duplicates_dropped: 0,
  epochs: [],
  trouble: null,
  node_ms: {},
  elapsed_ms: 0,
};

/** Keeps `run` of the store up to date, from the start of a run to its receipt. */
export class Following {
  #taken = new Map<number, number>();
  #run: RunState;
  #handle: RunHandle;

  /** Starts a run of the store's manifest. */
  constructor(
    peer: PeerApi,
    items: readonly Uint8Array[],
    private readonly store: Store<State>,
  ) {
    const { manifest, pins } = store.value;
    this.#handle = peer.run(manifest, timed(items, this.#taken), {
      pins,
      onError: "continue",
      onProgress: (progress) => {
        this.#run.rates.add(progress);
        this.#change({ progress });
      },
      onPlan: (planned) => {
        for (const peer of seated(planned)) this.#run.parts.add(peer);
        this.store.set({ planned });
      },
      onFailure: (failure) => this.#append({ kind: "failure", failure }),
    });
    const { id } = this.#handle;
    const cancel = () => this.#handle.cancel();
    this.#run = {
      id,
      cancel,
      progress: NOTHING_YET,
      rates: new Rates(),
      parts: new Set(),
      rows: [],
      total: 0,
      receipt: null,
      error: null,
    };
    store.set({ run: this.#run, editing: false });
  }

  /** Until it has ended, well or badly. */
  async end(): Promise<void> {
    try {
      for await (const result of this.#handle) {
        this.#append({ kind: "result", result, tookMs: tookMs(this.#taken, result.seq) });
      }
      this.#change({ receipt: await this.#handle.receipt });
    } catch (error) {
      if (error instanceof ManifestFaults || error instanceof PlanRefused) {
        this.store.set({ run: null, obstacle: obstacleOf(error) });
      } else await this.#broken(error);
    }
  }

  /** A run that was cancelled, or broke off, has a receipt too. */
  async #broken(error: unknown): Promise<void> {
    const receipt = await this.#handle.receipt;
    const message = error instanceof Error ? error.message : String(error);
    this.#change({ receipt, error: receipt.status === "cancelled" ? null : message });
  }

  #append(row: Row): void {
    const { rows, total } = this.#run;
    rows.push(row);
    if (rows.length > 2 * ROWS_KEPT) rows.splice(0, rows.length - ROWS_KEPT);
    this.#change({ total: total + 1 });
  }

  #change(fields: Partial<RunState>): void {
    this.#run = { ...this.#run, ...fields };
    this.store.set({ run: this.#run });
  }
}

/** Notes when each item is taken; the iteration is the driver's, so an item is taken when the run has room for it. */
function* timed(items: readonly Uint8Array[], taken: Map<number, number>): Generator<Uint8Array> {
  for (const [seq, item] of items.entries()) {
    taken.set(seq, performance.now());
    yield item;
  }
}

/** Results come in order: what is before this item is through, with a result or without. */
function tookMs(taken: Map<number, number>, seq: number): number | null {
  for (const earlier of taken.keys()) {
    if (earlier >= seq) break;
    taken.delete(earlier);
  }
  const start = taken.get(seq);
  return start === undefined ? null : performance.now() - start;
}

export function obstacleOf(error: unknown): Obstacle {
  if (error instanceof ManifestFaults) return { kind: "faults", faults: error.faults };
  if (error instanceof PlanRefused) return { kind: "refused", message: error.message, refusals: error.refusals };
  return { kind: "error", message: error instanceof Error ? error.message : String(error) };
}
