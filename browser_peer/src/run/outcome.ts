/** What a driver tells of its run. */

import type { Instruction } from "./events";

/** An item error, as the driver learnt of it; `peer` is where the node ran. */
export interface Failure {
  seq: number;
  node: string;
  kind: string;
  cause: string;
  peer: string;
}

/**
 * `result`: one part of the single sink, or the map of several; call `taken` once the application has it. `seqFailed`: with
 * "continue", an item failed; where several nodes failed on one seq, each is told. `finished`: the run is over: done, or
 * ended by an item error (with "stop"; with "continue" by kind `lost` only), or by `fail` with its `reason`.
 */
export type DriverInstruction =
  | Extract<Instruction, { do: "emit" | "credit" | "cancelSeq" }>
  | { do: "result"; seq: number; part: number; payload: Uint8Array }
  | { do: "seqFailed"; error: Failure }
  | { do: "finished"; status: "done" | "failed"; error: Failure | null; reason: string };

/**
 * For the receipt; the extra seq of finish counts in `results_out` only. `dropped`: by an edge; `cancelled`: by the
 * application. `replayed`: items that went out again; `duplicates_dropped`: results that came again.
 */
export interface Counts {
  items_in: number;
  results_out: number;
  done: number;
  filtered: number;
  failed: number;
  dropped: number;
  cancelled: number;
  replayed: number;
  duplicates_dropped: number;
}

export const NO_COUNTS: Readonly<Counts> = {
  items_in: 0,
  results_out: 0,
  done: 0,
  filtered: 0,
  failed: 0,
  dropped: 0,
  cancelled: 0,
  replayed: 0,
  duplicates_dropped: 0,
};
