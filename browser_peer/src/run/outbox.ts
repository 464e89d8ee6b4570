/** The sending end of an edge: what waits for credit, and what an edge that drops gives up. */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { Flag, type Frame } from "./events";
import type { Placement, Seat } from "./placement";

/** What a frame counts against the credit of its strand, in bytes. */
export function cost(frame: Frame): number {
  return limits.PART_OVERHEAD_BYTES + (frame.payload?.length ?? 0);
}

/** To one seat. `begun`: the last seq of which anything was let go. */
interface Strand {
  spent: number;
  waiting: Frame[];
  begun: number;
}

/**
 * `put` frames, then `take` those that may go; `give` it the credit that comes back.
 *
 * A producer must not make anything of a seq while `hasRoom` is false; so what waits in a strand is at most one answer of a
 * node, and on an edge that drops at most RUN_WINDOW_SEQS ends more. `dropped` counts the seqs that it gave up.
 */
export class Outbox {
  dropped = 0;
  private readonly strands = new Map<Seat, Strand>();
  private going: Frame[] = [];

  constructor(
    private readonly placement: Placement,
    readonly edge: number,
    private readonly drops: boolean,
    private readonly creditBytes: number,
  ) {}

  /** Whether the next frame, which is of that seq, may be made now. */
  hasRoom(seq: number): boolean {
    const strand = this.strands.get(this.placement.target(this.edge, seq));
    if (strand === undefined) return true;
    const last = strand.waiting.at(-1);
    if (last === undefined) return strand.spent < this.creditBytes || this.drops;
    const ended = (last.flags & (Flag.END | Flag.FINAL)) === Flag.END;
    return this.drops && ended && strand.waiting.length < limits.RUN_WINDOW_SEQS;
  }

  /** Whether nothing waits to be sent. */
  get isDrained(): boolean {
    return this.going.length === 0 && [...this.strands.values()].every((strand) => strand.waiting.length === 0);
  }

  /** Drops the strands to seats that the placement has forgotten. */
  forget(): void {
    for (const seat of this.strands.keys()) if (!this.placement.knows(seat)) this.strands.delete(seat);
  }

  /** Bytes taken over for which no credit came back. */
  get outstanding(): number {
    const waiting = [...this.strands.values()].flatMap((strand) => strand.waiting);
    const spent = [...this.strands.values()].reduce((sum, strand) => sum + strand.spent, 0);
    return waiting.reduce((sum, frame) => sum + cost(frame), spent);
  }

  /** Takes a frame over; on an edge that drops, a part pushes out the older seqs that still wait whole. */
  put(frame: Frame): void {
    const seat = this.placement.target(this.edge, frame.seq);
    const strand = this.strands.get(seat) ?? { spent: 0, waiting: [], begun: -1 };
    this.strands.set(seat, strand);
    if (this.drops && frame.payload !== null && !(frame.flags & Flag.FINAL)) this.dropOlder(strand, frame.seq);
    strand.waiting.push(frame);
    this.release(strand);
  }

  /** The frames that may be sent now, in order; they are the caller's from here on. */
  take(): Frame[] {
    const going = this.going;
    this.going = [];
    return going;
  }

  /** Credit came back on the strand of that seq. Throws ProtocolError for more than is outstanding. */
  give(seq: number, amount: number): void {
    const strand = this.strands.get(this.placement.target(this.edge, seq));
    const spent = strand?.spent ?? 0;
    if (strand === undefined || !(amount >= 0 && amount <= spent)) {
      const text = `credit of ${amount} bytes for edge ${this.edge}, where ${spent} are out`;
      throw new ProtocolError("bad-message", text);
    }
    strand.spent -= amount;
    this.release(strand);
  }

  private release(strand: Strand): void {
    for (let frame = strand.waiting[0]; frame !== undefined; frame = strand.waiting[0]) {
      if (strand.spent > 0 && strand.spent + cost(frame) > this.creditBytes) return;
      strand.spent += cost(frame);
      strand.begun = frame.seq;
      this.going.push(frame);
      strand.waiting.shift();
    }
  }

  /** Of every older seq that waits whole and has a part, only its end stays: dropped, or failed if it was. */
  private dropOlder(strand: Strand, seq: number): void {
    const droppable = new Set(strand.waiting.filter((each) => each.payload !== null).map((each) => each.seq));
    droppable.delete(seq);
    droppable.delete(strand.begun);
    if (droppable.size === 0) return;
    const kept: Frame[] = [];
    for (const frame of strand.waiting) {
      if (!droppable.has(frame.seq)) kept.push(frame);
      else if (frame.flags & Flag.END) {
        const flags = Flag.END | (frame.flags & Flag.CHECKPOINT) | (frame.flags & Flag.FAILED || Flag.DROPPED);
        kept.push({ edge: this.edge, seq: frame.seq, part: 0, flags, payload: null });
      }
    }
    this.dropped += droppable.size;
    strand.waiting = kept;
  }
}
