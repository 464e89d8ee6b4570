/** One run as the page follows it: results with the time that their item took, failures in their place, the receipt. */

import { ManifestFaults, type PeerApi, PlanRefused, type RunHandle, type RunProgress } from "../peer/types";
import { Rates } from "./graph/rates";
import { type Obstacle, ROWS_KEPT, type Row, type RunState, type State, type Store } from "./state";

const NOTHING_YET: RunProgress = {
  state: "planning",
  detail: "",
  items_in: 0,
  results_out: 0,
  in_flight: 0,
  errors: 0,
  node_ms: {},
  elapsed_ms: 0,
};

/** Starts a run of the store's manifest and keeps the store's `run` up to date until it has ended. */
export async function follow(peer: PeerApi, items: readonly Uint8Array[], store: Store<State>): Promise<void> {
  const { manifest, pins } = store.value;
  const taken = new Map<number, number>();
  const handle = peer.run(manifest, timed(items, taken), {
    pins,
    onError: "continue",
    onProgress: (progress) => {
      run.rates.add(progress);
      change({ progress });
    },
    onFailure: (failure) => append({ kind: "failure", failure }),
  });
  let run: RunState = {
    id: handle.id,
    cancel: () => handle.cancel(),
    progress: NOTHING_YET,
    rates: new Rates(),
    rows: [],
    total: 0,
    receipt: null,
    error: null,
  };
  const change = (fields: Partial<RunState>) => {
    run = { ...run, ...fields };
    store.set({ run });
  };
  const append = (row: Row) => {
    run.rows.push(row);
    if (run.rows.length > 2 * ROWS_KEPT) run.rows.splice(0, run.rows.length - ROWS_KEPT);
    change({ total: run.total + 1 });
  };
  store.set({ run, editing: false });
  handle.planned.then(
    (planned) => store.set({ planned }),
    () => undefined,
  );
  try {
    for await (const result of handle) append({ kind: "result", result, tookMs: tookMs(taken, result.seq) });
    change({ receipt: await handle.receipt });
  } catch (error) {
    await broken(handle, error, change, store);
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

/** A run that was cancelled, or broke off, has a receipt too, if it began. */
async function broken(
  handle: RunHandle,
  error: unknown,
  change: (fields: Partial<RunState>) => void,
  store: Store<State>,
): Promise<void> {
  if (error instanceof ManifestFaults || error instanceof PlanRefused) {
    store.set({ run: null, obstacle: obstacleOf(error) });
    return;
  }
  const receipt = await handle.receipt.catch(() => null);
  const message = error instanceof Error ? error.message : String(error);
  change({ receipt, error: receipt?.status === "cancelled" ? null : message });
}

export function obstacleOf(error: unknown): Obstacle {
  if (error instanceof ManifestFaults) return { kind: "faults", faults: error.faults };
  if (error instanceof PlanRefused) return { kind: "refused", message: error.message, refusals: error.refusals };
  return { kind: "error", message: error instanceof Error ? error.message : String(error) };
}
