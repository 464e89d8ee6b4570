/** The vocabulary of the run engine, as in mesh/run/events.py: frames go in and out, instructions come out. */

import type { Seat } from "./placement";

/** CHECKPOINT: stateful nodes report their state after this seq. OF_SEQ: on every frame of a seq, or on none. */
export const Flag = { NONE: 0, END: 1, FINAL: 2, FAILED: 4, DROPPED: 8, CHECKPOINT: 16, OF_SEQ: 18 } as const;

/** One part on one edge, or, with payload null, only its end. */
export interface Frame {
  edge: number;
  seq: number;
  part: number;
  flags: number;
  payload: Uint8Array | null;
}

export type Op = "process" | "next" | "finish" | "snapshot" | "restore";

export type Instruction =
  | { do: "call"; seat: Seat; op: Op; payload: Uint8Array | null }
  | { do: "recreate"; seat: Seat }
  /** Give up the call under way, and its instance with it: report `failed` with kind `cancelled`. */
  | { do: "interrupt"; seat: Seat }
  | { do: "emit"; frame: Frame }
  | { do: "credit"; edge: number; seq: number; bytes: number }
  | { do: "error"; node: string; seq: number; kind: string; cause: string }
  | { do: "checkpoint"; node: string; seq: number; state: Uint8Array | null; fault: string }
  | { do: "handOver"; node: string; state: Uint8Array | null; fault: string }
  | { do: "retire"; seat: Seat }
  /** Tell the driver that nothing from before the last cut is on its way here any more. */
  | { do: "through" }
  /** Tell every peer of the run, this one too, that nobody wants the seq any more. */
  | { do: "cancelSeq"; seq: number }
  | { do: "fail"; reason: string };

/** Where an epoch begins: its first seq, and the state of each stateful node before it (none: as it is made). */
export interface Resumption {
  firstSeq: number;
  states: ReadonlyMap<string, Uint8Array>;
}

/** Of the first epoch of a run. */
export const BEGINNING: Resumption = { firstSeq: 0, states: new Map() };
