/**
 * The driver's end of a run, sans-IO: items in at the sources, results out of the sinks, in order.
 *
 * The caller asks `canAdmit` before it takes an item from its source, and hands it over with `admit`; at the end of the
 * source it calls `finishInput`. Frames and credit of the source and sink edges, and item errors that peers report, come in
 * through `frame`, `credit` and `error`. All of them, and `taken`, answer instructions. At most one `result` is out at a
 * time: `taken` says that the application has it, and brings the next. `finished` comes last.
 *
 * When a part of the run is lost, `interrupt` says where a new epoch begins, and `resume`, once everything is set up anew,
 * emits again what is not finished. What the application has had already is dropped when it comes again. Downstream of what
 * may come out differently (nodes that are not deterministic, edges that drop) a seq is held back until it is whole, so that
 * it comes from one epoch. Items that peers may have died of go out alone (suspects.ts).
 *
 * Memory is bounded: of items as retention.ts says; a sink edge holds at most its credit, and several sinks, or one that
 * holds back, one seq more.
 */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { Flag, type Frame, type Resumption } from "./events";
import type { Graph } from "./graph";
import { Gather, type Inbox, type Input, Port, Stream, Whole } from "./inbox";
import { Outbox } from "./outbox";
import { type Counts, type DriverInstruction, type Failure, NO_COUNTS } from "./outcome";
import type { Placement } from "./placement";
import { Retention } from "./retention";
import { type Death, Suspects } from "./suspects";

export type OnError = "stop" | "continue";

/** What a driver reports itself, as the place of the fault. */
const HERE = "driver";

/** One run, seen from the peer that submitted it. */
export class Driver {
  readonly counts: Counts = { ...NO_COUNTS };
  private readonly onError: OnError;
  private readonly nodes: ReadonlySet<string>;
  private readonly creditBytes: number;
  private readonly retention: Retention;
  /** Whether a seq is held back until it is whole. */
  private readonly holds: boolean;
  /** The source edge on which items are counted. */
  private readonly counted: number;
  private readonly suspects: Suspects;
  private firstSeq = 0;
  /** The seqs below it went out in this epoch. */
  private goneOut = 0;
  private sources: ReadonlyMap<number, Outbox>;
  private sinks: Inbox;
  private inputEnded = false;
  private over = false;
  private interrupted = false;
  /** Until all have made a cut. */
  private holding = false;
  /** For a new epoch, a cut, or suspects to be through. */
  private held: { seq: number; flags: number; payload: Uint8Array | null }[] = [];
  /** Of an earlier epoch, with the rest of a seq of which some may be out. */
  private committed: Inbox | undefined;
  /** The seq whose results come out now. */
  turn = 0;
  /** How many of it did, and how many of it this epoch made. */
  private parts = 0;
  private heard = 0;
  /** Of which the result is out; undefined if that is of an earlier epoch. */
  private out: Input | undefined;
  private resultOut = false;
  /** Errors below this seq were told in an earlier epoch. */
  private told = 0;
  /** Of seqs whose turn has not passed. */
  private readonly errors = new Map<number, Failure[]>();
  /** And kept for a while, because errors may come late. */
  private cancelled = new Set<number>();

  constructor(
    private readonly graph: Graph,
    private placement: Placement,
    options: { onError?: OnError; creditBytes?: number } = {},
  ) {
    this.creditBytes = options.creditBytes ?? limits.EDGE_CREDIT_BYTES;
    this.onError = options.onError ?? "stop";
    this.nodes = new Set(graph.nodes.map((node) => node.id));
    this.retention = new Retention(graph);
    this.suspects = new Suspects(graph.order);
    this.holds = mayDiffer(graph);
    this.sources = this.makeSources();
    this.sinks = this.makeSinks();
    this.counted = [...this.sources.keys()][0]!;
  }

  // Items

  /** Whether another item may be taken from the source now; asked again after every event. */
  canAdmit(): boolean {
    return (
      !this.over &&
      !this.inputEnded &&
      !this.holding &&
      !(this.errors.size > 0 && this.onError === "stop") &&
      this.retention.hasRoom &&
      [...this.sources.values()].every((box) => box.hasRoom(this.counts.items_in))
    );
  }

  /** The next item, an encoded value. Only while `canAdmit`. */
  admit(payload: Uint8Array): DriverInstruction[] {
    if (!this.canAdmit()) throw new Error("no item can be admitted now: ask canAdmit first");
    const flags = this.retention.keep(payload);
    this.counts.items_in += 1;
    return this.put(this.counts.items_in - 1, Flag.END | flags, payload);
  }

  /** There are no more items: the nodes finish. */
  finishInput(): DriverInstruction[] {
    if (this.inputEnded || this.over) return [];
    this.inputEnded = true;
    return this.put(this.counts.items_in, Flag.END | Flag.FINAL, null);
  }

  /** How many bytes are out on each source edge: sent or waiting to be, and not yet consumed. */
  outstanding(): Map<number, number> {
    return new Map([...this.sources].map(([edge, box]) => [edge, box.outstanding]));
  }

  // A new epoch

  /** Why the run could not go on after a loss now; empty: it could. */
  get fault(): string {
    return this.retention.fault;
  }

  /**
   * A part of the run is lost: nothing of the present epoch may come in from now on, and nothing goes out. `deaths`: of
   * the peers that are lost, those that may have died of an item. May be called again before `resume`.
   */
  interrupt(deaths: readonly Death[] = []): Resumption {
    this.interrupted = true;
    this.holding = false;
    this.commit();
    if (this.committed === undefined) {
      this.out = undefined;
      this.heard = 0;
    }
    this.told = this.turn + (this.committed === undefined ? 0 : 1);
    this.suspects.died(deaths, Math.max(this.told, this.through), this.goneOut, this.placement);
    for (const seq of this.errors.keys()) if (seq >= this.told) this.errors.delete(seq);
    for (const [seq, error] of this.suspects.condemned) if (seq >= this.told) this.errors.set(seq, [error]);
    const resumption = this.retention.resumption();
    this.begin(this.placement, resumption.firstSeq);
    const items = this.retention.items();
    this.held = items.map(({ seq, flags, payload }) => ({ seq, flags: Flag.END | flags, payload }));
    if (this.inputEnded) this.held.push({ seq: this.counts.items_in, flags: Flag.END | Flag.FINAL, payload: null });
    return resumption;
  }

  /** Fresh ends of all edges of the graph. */
  private begin(placement: Placement, firstSeq: number): void {
    this.placement = placement;
    this.firstSeq = this.goneOut = firstSeq;
    this.sources = this.makeSources();
    this.sinks = this.makeSinks();
  }

  private makeSources(): Map<number, Outbox> {
    const sources = [...this.graph.edges.entries()].filter(([, edge]) => edge.from === null);
    return new Map(sources.map(([edge]) => [edge, new Outbox(this.placement, edge, false, this.creditBytes)]));
  }

  private makeSinks(): Inbox {
    const edges = new Map([...this.graph.edges.entries()].filter(([, edge]) => edge.to === null));
    const here = this.placement.seat(null, 0);
    const ports = [...edges.keys()].map(
      (number) => new Port(this.placement, number, here, this.firstSeq, this.creditBytes),
    );
    const [only] = ports;
    if (only !== undefined && ports.length === 1) {
      return this.holds ? new Whole(only, edges.get(only.edge)!.port) : new Stream(only);
    }
    return new Gather(edges, ports, new Set([...edges.values()].map((edge) => edge.port)));
  }

  /** All seqs below have ended at every sink in this epoch, and were taken from there. */
  private get through(): number {
    return Math.min(...[...this.sinks.ports.values()].map((port) => port.through));
  }

  /** A seq that is held back and whole stays as it is, because some of it may be out. */
  private commit(): void {
    const given = this.holds && this.committed === undefined ? this.sinks.head() : undefined;
    if (given?.seq === this.turn && !this.awaitsError(given)) this.committed = this.sinks;
  }

  /** Everything is set up as `placement` says, at the seq and with the states that `interrupt` told. */
  resume(placement: Placement): DriverInstruction[] {
    this.interrupted = false;
    this.begin(placement, this.firstSeq);
    return this.send();
  }

  // A planned move

  /** Where a new step of the plan may begin: above all that was sent; undefined where all was. Nothing goes out until `goOn`. */
  hold(): number | undefined {
    if (this.inputEnded || this.interrupted || this.over) return undefined;
    this.holding = true;
    return this.counts.items_in;
  }

  /** All have made the cut, or it was called off. */
  goOn(): DriverInstruction[] {
    this.holding = false;
    for (const box of this.sources.values()) box.forget();
    for (const port of this.sinks.ports.values()) port.forget();
    return this.send();
  }

  private put(seq: number, flags: number, payload: Uint8Array | null): DriverInstruction[] {
    this.held.push({ seq, flags, payload });
    return this.send();
  }

  private send(): DriverInstruction[] {
    while (this.held[0] !== undefined && this.mayGo(this.held[0].seq)) {
      const { seq, flags, payload } = this.held.shift()!;
      const failed = this.suspects.condemned.has(seq) || this.cancelled.has(seq);
      const item = failed ? { flags: flags | Flag.FAILED, payload: null } : { flags, payload };
      for (const [edge, box] of this.sources) box.put({ edge, seq, part: 0, ...item });
    }
    const frames = [...this.sources.values()].flatMap((box) => box.take());
    for (const { edge, seq, payload } of frames) {
      this.goneOut = Math.max(this.goneOut, seq + 1);
      if (edge === this.counted && payload !== null && this.retention.goesOut(seq)) this.counts.replayed += 1;
    }
    return frames.map((frame) => ({ do: "emit", frame }) as const);
  }

  private mayGo(seq: number): boolean {
    return !this.interrupted && !this.holding && this.suspects.mayGo(seq, this.through);
  }

  // From the network

  /** Credit came back for the strand of a seq on a source edge. Throws ProtocolError("bad-message"). */
  credit(edge: number, seq: number, amount: number): DriverInstruction[] {
    const box = this.sources.get(edge);
    if (box === undefined) throw new ProtocolError("bad-message", `edge ${edge} is no source edge`);
    box.give(seq, amount);
    return this.send();
  }

  /** A frame of a sink edge. Throws ProtocolError("bad-message"), and changes nothing, where it is impossible. */
  frame(frame: Frame): DriverInstruction[] {
    if (!this.sinks.ports.has(frame.edge)) {
      throw new ProtocolError("bad-message", `edge ${frame.edge} is no sink edge`);
    }
    this.checkSeq(frame.seq, (frame.flags & Flag.FINAL) !== 0);
    this.sinks.accept(frame);
    return this.proceed();
  }

  /** A peer reports an item error. Throws ProtocolError("bad-message") for what cannot be. */
  error(node: string, seq: number, kind: string, cause: string, peer: string): DriverInstruction[] {
    if (!this.nodes.has(node)) {
      throw new ProtocolError("bad-message", `an error of node '${node}', which is not in this run`);
    }
    this.checkSeq(seq, this.inputEnded && seq === this.counts.items_in);
    const error = { seq, node, kind, cause, peer };
    if (this.over) return [];
    if (kind !== "lost" && (seq < this.told || this.cancelled.has(seq))) return [];
    // another node failed on it first, and its turn has passed
    if (seq < this.turn) return [kind === "lost" ? this.finish("failed", error) : { do: "seqFailed", error }];
    const known = this.errors.get(seq) ?? [];
    if (known.some((each) => each.node === node)) {
      throw new ProtocolError("bad-message", `a second error of node '${node}' for seq ${seq}`);
    }
    this.errors.set(seq, [...known, error]);
    return this.proceed();
  }

  /**
   * The application does not want a seq any more: what it has not taken of it will not come. A stateful node may have seen
   * it, and may not. Throws a RangeError for a seq that was not admitted.
   */
  cancel(seq: number): DriverInstruction[] {
    if (!(seq >= 0 && seq < this.counts.items_in)) throw new RangeError(`no item ${seq} was taken in`);
    if (this.over || seq < this.turn || this.cancelled.has(seq)) return [];
    const recent = [...this.cancelled].filter((each) => each > this.turn - limits.RUN_WINDOW_SEQS);
    this.cancelled = new Set([...recent, seq]);
    this.sinks.cancel(seq, true);
    return [{ do: "cancelSeq", seq }, ...this.proceed()];
  }

  /** A peer reports a node's state after a seq, or why there is none. Throws ProtocolError("bad-message"). */
  checkpoint(node: string, seq: number, state: Uint8Array | null, fault: string): DriverInstruction[] {
    this.retention.reported(node, seq, state, fault);
    return [];
  }

  private checkSeq(seq: number, final: boolean): void {
    const admitted = this.counts.items_in;
    if (!(final ? this.inputEnded && seq === admitted : seq >= 0 && seq < admitted)) {
      throw new ProtocolError("bad-message", `seq ${seq} is not in flight`);
    }
  }

  /** The run cannot go on: a peer is gone, or has an error of its own. */
  fail(reason: string): DriverInstruction[] {
    return this.over ? [] : [this.finish("failed", null, reason)];
  }

  // Results

  /** The application has the result that was out. */
  taken(): DriverInstruction[] {
    if (!this.resultOut) throw new Error("no result is out");
    this.resultOut = false;
    const given = this.out;
    this.out = undefined;
    if (this.over) return [];
    return [...(given === undefined ? [] : this.pass(given)), ...this.proceed()];
  }

  /** Brings the next result, or the end, as far as it is known; gives back the credit of what is behind. */
  private proceed(): DriverInstruction[] {
    const instructions: DriverInstruction[] = [];
    while (!this.over && !this.resultOut) {
      const given = (this.committed ?? this.sinks).head();
      if (given === undefined || this.awaitsError(given)) break;
      if (given.payload === null || this.cancelled.has(given.seq) || this.isDuplicate(given)) {
        instructions.push(...this.pass(given));
      } else {
        instructions.push({ do: "result", seq: given.seq, part: this.parts, payload: given.payload });
        this.resultOut = true;
        this.out = given;
        this.parts += 1;
        this.counts.results_out += 1;
      }
    }
    if (this.over) return instructions;
    for (const [edge, port] of this.sinks.ports) {
      instructions.push(...port.due().map((due) => ({ do: "credit", edge, ...due }) as const));
    }
    return this.held.length > 0 ? [...instructions, ...this.send()] : instructions; // suspects may be through
  }

  /** Whether the application had this part in an earlier epoch; those are counted. */
  private isDuplicate(given: Input): boolean {
    if (given.seq === this.turn) {
      this.heard += 1;
      if (this.heard > this.parts) return false;
    }
    this.counts.duplicates_dropped += 1;
    return true;
  }

  /** Whether a seq ended as failed, and the error itself, on its own way here, has not come yet. */
  private awaitsError(given: Input): boolean {
    if (given.seq < this.turn || this.cancelled.has(given.seq)) return false;
    if (given.fault !== "" && !this.errors.has(given.seq)) {
      const error = { seq: given.seq, node: given.port, kind: "overflow", cause: given.fault, peer: HERE };
      this.errors.set(given.seq, [error]);
    }
    return (given.flags & Flag.FAILED) !== 0 && !this.errors.has(given.seq);
  }

  /** An input is behind; with it perhaps its seq, and with that perhaps the run. */
  private pass(given: Input): DriverInstruction[] {
    (this.committed ?? this.sinks).done();
    if (!(given.flags & Flag.END)) return [];
    this.committed = undefined;
    this.heard = 0;
    if (given.seq < this.turn) return []; // it ended in an earlier epoch
    const final = (given.flags & Flag.FINAL) !== 0;
    const known = this.errors.get(given.seq) ?? [];
    const errors = this.cancelled.has(given.seq) ? known.filter((error) => error.kind === "lost") : known;
    this.errors.delete(given.seq);
    if (!final) this.count(given, errors.length > 0);
    this.turn = given.seq + 1;
    this.parts = 0;
    this.retention.passed(this.turn);
    if (errors[0] !== undefined && this.onError === "stop") return [this.finish("failed", errors[0])];
    const told: DriverInstruction[] = errors
      .filter((error) => error.kind !== "lost")
      .map((error) => ({ do: "seqFailed", error }));
    const lost = errors.find((error) => error.kind === "lost");
    if (lost !== undefined) return [...told, this.finish("failed", lost)];
    return final ? [...told, this.finish("done")] : told;
  }

  private count(given: Input, failed: boolean): void {
    if (this.cancelled.has(given.seq)) this.counts.cancelled += 1;
    else if (failed) this.counts.failed += 1;
    else if (this.parts > 0) this.counts.done += 1;
    else if (given.flags & Flag.DROPPED) this.counts.dropped += 1;
    else this.counts.filtered += 1;
  }

  private finish(status: "done" | "failed", error: Failure | null = null, reason = ""): DriverInstruction {
    this.over = true;
    return { do: "finished", status, error, reason };
  }
}

/** Whether a seq may come out otherwise when it is replayed. */
function mayDiffer(graph: Graph): boolean {
  return graph.nodes.some((node) => !node.deterministic) || graph.edges.some((edge) => edge.overflow !== "block");
}
