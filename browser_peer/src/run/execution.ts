/**
 * One instance of a node: which call comes next, and what becomes of its answer.
 *
 *     READY ─call─▶ RUNNING ─answered─▶ READY               one call at a time, and only with room on every out edge
 *                   RUNNING ─more─▶ HOLDING ─call─▶ RUNNING     a generator, between two steps
 *     READY ─save─▶ SAVING ─answered─▶ READY                a snapshot, between two inputs; at a checkpoint it is reported
 *                   RUNNING ─lost─▶ LOST ─recreated─▶ READY     a new instance; for a stateful node by way of:
 *           LOST ─restore─▶ RESTORING ─replay─▶ REPLAYING ─recreated─▶ READY    (outputs are discarded)
 *     LOST, … ─broken─▶ BROKEN                              beyond repair: whatever needs a call fails
 *     READY, RUNNING, BROKEN ─end─▶ ENDED                   the extra seq is out; what still comes in is only consumed
 *     READY, BROKEN ─leave─▶ LEFT                           a later step begins, and all before it is out; likewise
 *     AWAITING ─restore─▶ RESTORING                         the new place of a stateful node gets the state of the old one
 */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { Flag, type Instruction, type Op } from "./events";
import type { GraphNode } from "./graph";
import type { Inbox, Input } from "./inbox";
import { Journal } from "./journal";
import type { Outbox } from "./outbox";
import type { Seat } from "./placement";

/** What an instance is doing. */
export type State =
  | "READY"
  | "RUNNING"
  | "HOLDING"
  | "SAVING"
  | "LOST"
  | "RESTORING"
  | "REPLAYING"
  | "BROKEN"
  | "ENDED"
  | "LEFT"
  | "AWAITING";

export const TRANSITIONS: Readonly<Record<State, Readonly<Record<string, State>>>> = {
  READY: { call: "RUNNING", save: "SAVING", end: "ENDED", leave: "LEFT" },
  RUNNING: { answered: "READY", more: "HOLDING", lost: "LOST", end: "ENDED" },
  HOLDING: { call: "RUNNING", abandon: "READY" },
  SAVING: { answered: "READY", broken: "BROKEN" },
  LOST: { recreated: "READY", restore: "RESTORING", replay: "REPLAYING", broken: "BROKEN" },
  RESTORING: { recreated: "READY", replay: "REPLAYING", broken: "BROKEN" },
  REPLAYING: { recreated: "READY", replay: "REPLAYING", broken: "BROKEN" },
  BROKEN: { end: "ENDED", leave: "LEFT" },
  ENDED: {},
  LEFT: {},
  AWAITING: { restore: "RESTORING" },
};

/** Kinds of failure after which the instance is closed. */
export const GONE: ReadonlySet<string> = new Set(["timeout", "trapped", "crashed", "cancelled"]);

/** States in which no call is under way. */
const CALLING: ReadonlySet<State> = new Set<State>(["RUNNING", "SAVING", "RESTORING", "REPLAYING"]);
const FREE: ReadonlySet<State> = new Set<State>(["READY", "HOLDING", "BROKEN", "ENDED", "LEFT"]);

/**
 * Takes inputs from `inbox` and puts frames into every one of `outboxes`; the fragment carries them on.
 *
 * An input stays at the head of the inbox until it was consumed, and the seq that goes out is the seq that comes in. So an
 * input of a seq that was ended here already (it failed) needs nothing but to be consumed.
 */
export class NodeExecution {
  state: State;
  private journal: Journal | undefined;
  /** Inputs of the journal that were given again. */
  private replayed = 0;
  /** What the call, or the row of calls, under way began with. */
  private op: Op = "process";
  /** Of the input at the head, only finish is left. */
  private processed = false;
  /** The checkpoint that is still to be reported. */
  private due: number | undefined;
  /** Of the next frame out. */
  private part = 0;
  /** Why no call can be made any more. */
  private broken = "";
  /** Seqs that were not ended here. */
  private readonly cancelled = new Set<number>();

  constructor(
    readonly node: GraphNode,
    readonly seat: Seat,
    readonly inbox: Inbox,
    readonly outboxes: ReadonlyMap<number, Outbox>,
    /** The lowest that was not ended here; of the next frame out. */
    private seq: number,
    state: Uint8Array | null,
    awaitsState = false,
  ) {
    this.state = awaitsState ? "AWAITING" : "READY";
    this.journal = node.stateful && node.snapshots ? new Journal(state) : undefined;
  }

  /** The lowest seq that was not ended here, and whether a call is under way. */
  get progress(): [seq: number, busy: boolean] {
    return [this.seq, CALLING.has(this.state)];
  }

  private to(event: string): void {
    const next = TRANSITIONS[this.state][event];
    if (next === undefined) throw new Error(`node '${this.node.id}' is ${this.state}: no ${event} there`);
    this.state = next;
  }

  // What comes next

  /** Consumes inputs up to one that needs a call, and asks for that call, while there is room downstream. */
  advance(): Instruction[] {
    const instructions: Instruction[] = [];
    while (FREE.has(this.state)) {
      if (this.state === "READY" && this.wantsSnapshot()) {
        this.to("save");
        instructions.push(this.ask("snapshot"));
        break;
      }
      const given = this.inbox.head();
      if (this.state === "BROKEN" && this.due !== undefined) {
        instructions.push(...this.checkpoint(null, this.broken));
      } else if ((this.state === "READY" || this.state === "BROKEN") && this.leaves()) {
        instructions.push(...this.leave(null, this.broken));
      } else if (given === undefined || !this.hasRoom(given.seq)) {
        break;
      } else if (this.state === "HOLDING" && this.cancelled.has(given.seq)) {
        this.to("abandon");
      } else if (this.state === "HOLDING") {
        instructions.push(this.call("next"));
      } else {
        instructions.push(...this.begin(given));
      }
    }
    return instructions;
  }

  private wantsSnapshot(): boolean {
    return this.journal !== undefined && (this.due !== undefined || this.journal.isFull || this.leaves());
  }

  private hasRoom(seq: number): boolean {
    for (const box of this.outboxes.values()) if (!box.hasRoom(seq)) return false;
    return true;
  }

  /** Asks for the call that an input needs; where it needs none, passes its end on. */
  private begin(given: Input): Instruction[] {
    const op = this.needs(given);
    if (given.seq >= this.seq) {
      this.seq = given.seq;
      if (this.cancelled.has(given.seq)) return this.fail(given, "cancelled", "");
      if (given.fault !== "") return this.fail(given, "overflow", given.fault);
      if (op !== undefined && this.state === "BROKEN") return this.fail(given, "lost", this.broken);
      if (op !== undefined) return [this.call(op, op === "process" ? given.payload : null)];
      this.end(given);
    }
    this.inbox.done();
    return [];
  }

  private needs(given: Input): Op | undefined {
    if (given.flags & (Flag.FAILED | Flag.DROPPED)) return undefined;
    if (given.payload !== null && !this.processed) return "process";
    return this.wantsFinish(given) ? "finish" : undefined;
  }

  private call(op: Op, payload: Uint8Array | null = null): Instruction {
    this.to("call");
    if (op !== "next") this.op = op;
    return this.ask(op, payload);
  }

  private ask(op: Op, payload: Uint8Array | null = null): Instruction {
    return { do: "call", seat: this.seat, op, payload };
  }

  private wantsFinish(given: Input): boolean {
    return this.node.finishes && isLast(given);
  }

  // What goes out

  private put(flags: number, payload: Uint8Array | null): void {
    for (const box of this.outboxes.values()) {
      box.put({ edge: box.edge, seq: this.seq, part: this.part, flags, payload });
    }
    this.part += 1;
    if (flags & Flag.END) {
      this.cancelled.delete(this.seq);
      if (flags & Flag.CHECKPOINT && this.journal !== undefined) this.due = this.seq;
      this.seq += 1;
      this.part = 0;
      if (flags & Flag.FINAL) this.to("end");
    }
  }

  /** Ends the seq downstream if this input ends it; that it failed counts for more than that it was dropped. */
  private end(given: Input): void {
    if (given.flags & Flag.END) {
      const bad = given.flags & Flag.FAILED || given.flags & Flag.DROPPED;
      this.put(Flag.END | (given.flags & Flag.OF_SEQ) | bad, null);
    }
  }

  // What came of a call

  /** The call made `parts`; `more`: there may be further ones. */
  answered(parts: readonly Uint8Array[], more: boolean): Instruction[] {
    if (this.state === "REPLAYING") return this.replay(more);
    const given = this.given();
    const wrong = this.cancelled.has(given.seq) ? "nobody wants it" : this.misfit(parts.length, more);
    if (wrong !== "") return this.callFailed(given, "answer", wrong);
    this.to(more ? "more" : "answered");
    const closes = !more && (given.flags & Flag.END) !== 0 && (this.op === "finish" || !this.wantsFinish(given));
    const lasting = given.flags & Flag.OF_SEQ;
    for (const [index, payload] of parts.entries()) {
      this.put(lasting | (closes && index === parts.length - 1 ? Flag.END : Flag.NONE), payload);
    }
    if (closes && parts.length === 0) this.end(given);
    if (!more) this.consumed(given, closes);
    return [];
  }

  private consumed(given: Input, closes: boolean): void {
    if (this.op === "process") this.remember(given);
    this.processed = this.op === "process" && !closes && this.wantsFinish(given);
    if (!this.processed) this.inbox.done();
  }

  /** The input of the call under way. */
  private given(): Input {
    const given = this.inbox.head();
    if (given === undefined || this.state !== "RUNNING") {
      throw new Error(`node '${this.node.id}' is ${this.state}: no call for an input is under way`);
    }
    return given;
  }

  /** How an answer breaks the arity of the node; empty if it does not. */
  private misfit(parts: number, more: boolean): string {
    const { arity } = this.node;
    if (arity === "many") return "";
    if (parts > 1 || more) return `it made a second part, and its arity is '${arity}'`;
    if (parts === 0 && arity === "one" && this.op === "process") {
      return "it made no part, and its arity is 'one' (a filter declares 'maybe')";
    }
    return "";
  }

  private remember(given: Input): void {
    if (given.payload !== null) this.journal?.processed(given.payload);
  }

  /** The call, or the making of the instance, failed. */
  failed(kind: string, cause: string): Instruction[] {
    const gone = GONE.has(kind);
    if (this.state === "RUNNING") return this.callFailed(this.given(), kind, cause);
    if (this.state === "REPLAYING" && !gone) return this.replay(false); // it raised the first time too
    if (this.state === "SAVING" && !gone) {
      this.to("answered");
      this.journal?.spoiled(`its snapshot failed: ${cause}`);
      return this.reportState(null, `its snapshot failed: ${cause}`);
    }
    if (this.state === "SAVING") return this.break(`it was lost making a snapshot: ${cause}`);
    if (this.state === "LOST") return this.break(`it could not be made anew: ${cause}`);
    return this.break(`it could not be brought back to its state: ${cause}`);
  }

  private callFailed(given: Input, kind: string, cause: string): Instruction[] {
    if (!GONE.has(kind) && this.op === "process") this.remember(given); // it lives on, and may have taken in some of it
    return this.fail(given, kind, cause);
  }

  /** The seq ends here, with an item error unless it was cancelled; what was made of it already stays. */
  private fail(given: Input, kind: string, cause: string): Instruction[] {
    const error: Instruction = { do: "error", node: this.node.id, seq: given.seq, kind, cause: shorten(cause) };
    const told = this.cancelled.has(given.seq) ? [] : [error];
    this.put(Flag.END | Flag.FAILED | (given.flags & Flag.OF_SEQ), null);
    this.processed = false;
    this.inbox.done();
    if (this.state !== "RUNNING") return told;
    this.to(GONE.has(kind) ? "lost" : "answered");
    return GONE.has(kind) ? [...told, ...this.recover(`seq ${given.seq}: ${cause}`)] : told;
  }

  /**
   * Nobody wants a seq any more: what waits of it is let go, and a call for it is given up. Unless the node's state would
   * be lost with the call: then its answer is not used.
   */
  cancel(seq: number): Instruction[] {
    if (seq < this.seq) return [];
    if (this.cancelled.size >= limits.RUN_WINDOW_SEQS) {
      const many = `${limits.RUN_WINDOW_SEQS} seqs were cancelled already that did not end`;
      throw new ProtocolError("bad-message", many);
    }
    this.cancelled.add(seq);
    const underWay = this.state === "RUNNING" && this.inbox.head()?.seq === seq;
    this.inbox.cancel(seq, underWay);
    const lasting = this.node.stateful && (this.journal === undefined || this.journal.fault !== "");
    return underWay && !lasting ? [{ do: "interrupt", seat: this.seat }] : [];
  }

  // A lost instance

  private recover(cause: string): Instruction[] {
    if (this.node.stateful && this.journal === undefined) {
      return this.break(`its state was lost, and it makes no snapshots to go on from (${cause})`);
    }
    if (this.journal !== undefined && this.journal.fault !== "") {
      return this.break(`its state was lost, and ${this.journal.fault} (${cause})`);
    }
    return [{ do: "recreate", seat: this.seat }];
  }

  /** No call can be made any more: the next input that needs one fails as `lost`, and that ends the run. */
  private break(reason: string): Instruction[] {
    this.to("broken");
    this.broken = reason;
    return [];
  }

  /** There is a new instance. */
  recreated(): Instruction[] {
    if (this.journal === undefined) {
      this.to("recreated");
      return [];
    }
    this.replayed = 0;
    if (this.journal.snapshot === null) return this.replay(false);
    this.to("restore");
    return [this.ask("restore", this.journal.snapshot)];
  }

  /** It is back at the last snapshot. */
  restored(): Instruction[] {
    return this.replay(false);
  }

  /** Gives the inputs since the snapshot again, one by one, to the end of each; what they make went out before. */
  private replay(more: boolean): Instruction[] {
    if (more && this.node.arity === "many") return [this.ask("next")];
    const next = this.journal?.inputs[this.replayed];
    if (next === undefined) {
      this.to("recreated");
      return [];
    }
    this.to("replay");
    this.replayed += 1;
    return [this.ask("process", next)];
  }

  /** The snapshot was made. */
  snapshotted(snapshot: Uint8Array): Instruction[] {
    this.to("answered");
    this.journal?.saved(snapshot);
    if (snapshot.length <= limits.MAX_CHECKPOINT_BYTES) return this.reportState(snapshot, "");
    return this.reportState(null, `its state has ${snapshot.length} bytes, more than ${limits.MAX_CHECKPOINT_BYTES}`);
  }

  /** At a checkpoint, and when the node goes on elsewhere. */
  private reportState(state: Uint8Array | null, fault: string): Instruction[] {
    const reported = this.checkpoint(state, fault);
    return this.leaves() ? [...reported, ...this.leave(state, fault)] : reported;
  }

  private checkpoint(state: Uint8Array | null, fault: string): Instruction[] {
    if (this.due === undefined) return [];
    const seq = this.due;
    this.due = undefined;
    return [{ do: "checkpoint", node: this.node.id, seq, state, fault: shorten(fault) }];
  }

  // A planned move

  /** Whether all that is served here is out, because a later step of the plan begins. */
  private leaves(): boolean {
    return this.seat.until < Number.POSITIVE_INFINITY && this.seat.first(this.seq) === undefined;
  }

  private leave(state: Uint8Array | null, fault: string): Instruction[] {
    this.to("leave");
    return this.node.stateful ? [{ do: "handOver", node: this.node.id, state, fault: shorten(fault) }] : [];
  }

  /** Whether nothing of what was served here is still on its way, in or out. */
  get isOver(): boolean {
    const [ports, boxes] = [[...this.inbox.ports.values()], [...this.outboxes.values()]];
    return this.state === "LEFT" && ports.every((port) => port.isOver) && boxes.every((box) => box.isDrained);
  }

  /**
   * Whether nothing of the seqs below `cut` is on its way here. One that stays may have ended them all, and still have
   * parts of a seq that failed to consume.
   */
  isThrough(cut: number): boolean {
    return Number.isFinite(this.seat.until) ? this.isOver : this.inbox.isPast(cut);
  }

  /** Drops what the placement has forgotten. */
  forget(): void {
    for (const port of this.inbox.ports.values()) port.forget();
    for (const box of this.outboxes.values()) box.forget();
  }

  /** The state of the place that the node had before. */
  arrived(state: Uint8Array): Instruction[] {
    this.journal = new Journal(state);
    this.to("restore");
    return [this.ask("restore", state)];
  }
}

/** Whether nothing comes after this input. */
function isLast(given: Input): boolean {
  return (given.flags & (Flag.END | Flag.FINAL)) === (Flag.END | Flag.FINAL);
}

/** At most MAX_CAUSE_CHARS characters of a cause; none is cut in two. */
function shorten(cause: string): string {
  return cause.length > limits.MAX_CAUSE_CHARS ? [...cause].slice(0, limits.MAX_CAUSE_CHARS).join("") : cause;
}
