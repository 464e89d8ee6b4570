/** The vocabulary of the run engine, as in mesh/run/events.py: frames go in and out, instructions come out. */

export const Flag = { NONE: 0, END: 1, FINAL: 2, FAILED: 4, DROPPED: 8 } as const;

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
  | { do: "call"; node: string; op: Op; payload: Uint8Array | null }
  | { do: "recreate"; node: string }
  | { do: "emit"; frame: Frame }
  | { do: "credit"; edge: number; bytes: number }
  | { do: "error"; node: string; seq: number; kind: string; cause: string }
  | { do: "fail"; reason: string };
