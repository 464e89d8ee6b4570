/** The sending end of an edge: what waits for credit, and what an edge that drops gives up. */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { Flag, type Frame } from "./events";

/** What a frame counts against the credit of its edge, in bytes. */
export function cost(frame: Frame): number {
  return limits.PART_OVERHEAD_BYTES + (frame.payload?.length ?? 0);
}

/**
 * `put` frames, then `take` those that may go; `give` it the credit that comes back.
 *
 * A producer must not make anything while `hasRoom` is false; so what waits is at most one answer of a node, and on an edge
 * that drops at most RUN_WINDOW_SEQS ends more. `dropped` counts the seqs that it gave up.
 */
export class Outbox {
  dropped = 0;
  private spent = 0;
  private waiting: Frame[] = [];
  private going: Frame[] = [];
  /** The last seq of which anything was let go. */
  private begun = -1;

  constructor(
    readonly edge: number,
    private readonly drops: boolean,
    private readonly creditBytes: number,
  ) {}

  /** Whether the next frame may be made now. */
  get hasRoom(): boolean {
    const last = this.waiting.at(-1);
    if (last === undefined) return this.spent < this.creditBytes || this.drops;
    const ended = (last.flags & (Flag.END | Flag.FINAL)) === Flag.END;
    return this.drops && ended && this.waiting.length < limits.RUN_WINDOW_SEQS;
  }

  /** Bytes taken over for which no credit came back. */
  get outstanding(): number {
    return this.waiting.reduce((sum, frame) => sum + cost(frame), this.spent);
  }

  /** Takes a frame over; on an edge that drops, a part pushes out the older seqs that still wait whole. */
  put(frame: Frame): void {
    if (this.drops && frame.payload !== null && !(frame.flags & Flag.FINAL)) this.dropOlder(frame.seq);
    this.waiting.push(frame);
    this.release();
  }

  /** The frames that may be sent now, in order; they are the caller's from here on. */
  take(): Frame[] {
    const going = this.going;
    this.going = [];
    return going;
  }

  /** Credit came back. Throws ProtocolError for more than is outstanding. */
  give(amount: number): void {
    if (!(amount >= 0 && amount <= this.spent)) {
      const text = `credit of ${amount} bytes for edge ${this.edge}, where ${this.spent} are out`;
      throw new ProtocolError("bad-message", text);
    }
    this.spent -= amount;
    this.release();
  }

  private release(): void {
    for (let frame = this.waiting[0]; frame !== undefined; frame = this.waiting[0]) {
      if (this.spent > 0 && this.spent + cost(frame) > this.creditBytes) return;
      this.spent += cost(frame);
      this.begun = frame.seq;
      this.going.push(frame);
      this.waiting.shift();
    }
  }

  /** Of every older seq that waits whole and has a part, only its end stays: dropped, or failed if it was. */
  private dropOlder(seq: number): void {
    const droppable = new Set(this.waiting.filter((each) => each.payload !== null).map((each) => each.seq));
    droppable.delete(seq);
    droppable.delete(this.begun);
    if (droppable.size === 0) return;
    const kept: Frame[] = [];
    for (const frame of this.waiting) {
      if (!droppable.has(frame.seq)) kept.push(frame);
      else if (frame.flags & Flag.END) {
        const flags = Flag.END | (frame.flags & Flag.CHECKPOINT) | (frame.flags & Flag.FAILED || Flag.DROPPED);
        kept.push({ edge: this.edge, seq: frame.seq, part: 0, flags, payload: null });
      }
    }
    this.dropped += droppable.size;
    this.waiting = kept;
  }
}
