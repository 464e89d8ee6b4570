/**
 * The driver's end of a run, sans-IO: items in at the sources, results out of the sinks, in order.
 *
 * The caller asks `canAdmit` before it takes an item from its source, and hands it over with `admit`; at the end of the
 * source it calls `finishInput`. Frames and credit of the source and sink edges, and item errors that peers report, come in
 * through `frame`, `credit` and `error`. All of them, and `taken`, answer instructions. At most one `result` is out at a
 * time: `taken` says that the application has it, and brings the next. `finished` comes last.
 *
 * Memory is bounded: RUN_WINDOW_SEQS and RUN_WINDOW_BYTES (exceeded by at most one item) are in flight, a sink edge holds
 * at most its credit, and several sinks one seq more.
 */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { Flag, type Frame, type Instruction } from "./events";
import type { Graph } from "./graph";
import { Gather, type Inbox, type Input, Port, Stream } from "./inbox";
import { Outbox } from "./outbox";

export type OnError = "stop" | "continue";

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
  | Extract<Instruction, { do: "emit" | "credit" }>
  | { do: "result"; seq: number; part: number; payload: Uint8Array }
  | { do: "seqFailed"; error: Failure }
  | { do: "finished"; status: "done" | "failed"; error: Failure | null; reason: string };

/** For the receipt; the extra seq of finish counts in `results_out` only. */
export interface Counts {
  items_in: number;
  results_out: number;
  done: number;
  filtered: number;
  failed: number;
  dropped: number;
}

/** What a driver reports itself, as the place of the fault. */
const HERE = "driver";

/** One run, seen from the peer that submitted it. */
export class Driver {
  readonly counts: Counts = { items_in: 0, results_out: 0, done: 0, filtered: 0, failed: 0, dropped: 0 };
  private readonly onError: OnError;
  private readonly nodes: ReadonlySet<string>;
  private readonly sources: ReadonlyMap<number, Outbox>;
  private readonly sinks: Inbox;
  private inputEnded = false;
  private over = false;
  /** Of the items in flight, the oldest first. */
  private readonly sizes: number[] = [];
  /** Their sum. */
  private bytes = 0;
  /** The seq whose results come out now, and how many of it did. */
  private turn = 0;
  private parts = 0;
  private resultOut = false;
  /** Of seqs whose turn has not passed. */
  private readonly errors = new Map<number, Failure[]>();

  constructor(graph: Graph, options: { onError?: OnError; creditBytes?: number } = {}) {
    const creditBytes = options.creditBytes ?? limits.EDGE_CREDIT_BYTES;
    this.onError = options.onError ?? "stop";
    this.nodes = new Set(graph.nodes.map((node) => node.id));
    const sources = [...graph.edges.entries()].filter(([, edge]) => edge.from === null);
    this.sources = new Map(sources.map(([number]) => [number, new Outbox(number, false, creditBytes)]));
    this.sinks = makeSinks(graph, creditBytes);
  }

  // Items

  /** Whether another item may be taken from the source now; asked again after every event. */
  canAdmit(): boolean {
    return (
      !this.over &&
      !this.inputEnded &&
      !(this.errors.size > 0 && this.onError === "stop") &&
      this.sizes.length < limits.RUN_WINDOW_SEQS &&
      this.bytes < limits.RUN_WINDOW_BYTES &&
      [...this.sources.values()].every((box) => box.hasRoom)
    );
  }

  /** The next item, an encoded value. Only while `canAdmit`. */
  admit(payload: Uint8Array): DriverInstruction[] {
    if (!this.canAdmit()) throw new Error("no item can be admitted now: ask canAdmit first");
    this.sizes.push(payload.length);
    this.bytes += payload.length;
    this.counts.items_in += 1;
    return this.put(this.counts.items_in - 1, Flag.END, payload);
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

  private put(seq: number, flags: number, payload: Uint8Array | null): DriverInstruction[] {
    for (const [edge, box] of this.sources) box.put({ edge, seq, part: 0, flags, payload });
    return this.send();
  }

  private send(): DriverInstruction[] {
    return [...this.sources.values()].flatMap((box) => box.take().map((frame) => ({ do: "emit", frame }) as const));
  }

  // From the network

  /** Credit came back on a source edge. Throws ProtocolError("bad-message") for what cannot be. */
  credit(edge: number, amount: number): DriverInstruction[] {
    const box = this.sources.get(edge);
    if (box === undefined) throw new ProtocolError("bad-message", `edge ${edge} is no source edge`);
    box.give(amount);
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
    // another node failed on it first, and its turn has passed
    if (seq < this.turn) return [kind === "lost" ? this.finish("failed", error) : { do: "seqFailed", error }];
    const known = this.errors.get(seq) ?? [];
    if (known.some((each) => each.node === node)) {
      throw new ProtocolError("bad-message", `a second error of node '${node}' for seq ${seq}`);
    }
    this.errors.set(seq, [...known, error]);
    return this.proceed();
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
    const given = this.sinks.head();
    if (this.over || given === undefined) return [];
    return [...this.pass(given), ...this.proceed()];
  }

  /** Brings the next result, or the end, as far as it is known; gives back the credit of what is behind. */
  private proceed(): DriverInstruction[] {
    const instructions: DriverInstruction[] = [];
    while (!this.over && !this.resultOut) {
      const given = this.sinks.head();
      if (given === undefined || this.awaitsError(given)) break;
      if (given.payload === null) {
        instructions.push(...this.pass(given));
      } else {
        instructions.push({ do: "result", seq: given.seq, part: this.parts, payload: given.payload });
        this.resultOut = true;
        this.parts += 1;
        this.counts.results_out += 1;
      }
    }
    if (this.over) return instructions;
    for (const [edge, port] of this.sinks.ports) {
      const bytes = port.due();
      if (bytes > 0) instructions.push({ do: "credit", edge, bytes });
    }
    return instructions;
  }

  /** Whether a seq ended as failed, and the error itself, on its own way here, has not come yet. */
  private awaitsError(given: Input): boolean {
    if (given.fault !== "" && !this.errors.has(given.seq)) {
      const error = { seq: given.seq, node: given.port, kind: "overflow", cause: given.fault, peer: HERE };
      this.errors.set(given.seq, [error]);
    }
    return (given.flags & Flag.FAILED) !== 0 && !this.errors.has(given.seq);
  }

  /** An input is behind; with it perhaps its seq, and with that perhaps the run. */
  private pass(given: Input): DriverInstruction[] {
    this.sinks.done();
    if (!(given.flags & Flag.END)) return [];
    const final = (given.flags & Flag.FINAL) !== 0;
    const errors = this.errors.get(given.seq) ?? [];
    this.errors.delete(given.seq);
    if (!final) this.count(given, errors.length > 0);
    this.turn = given.seq + 1;
    this.parts = 0;
    if (errors[0] !== undefined && this.onError === "stop") return [this.finish("failed", errors[0])];
    const told: DriverInstruction[] = errors
      .filter((error) => error.kind !== "lost")
      .map((error) => ({ do: "seqFailed", error }));
    const lost = errors.find((error) => error.kind === "lost");
    if (lost !== undefined) return [...told, this.finish("failed", lost)];
    return final ? [...told, this.finish("done")] : told;
  }

  private count(given: Input, failed: boolean): void {
    this.bytes -= this.sizes.shift()!;
    if (failed) this.counts.failed += 1;
    else if (this.parts > 0) this.counts.done += 1;
    else if (given.flags & Flag.DROPPED) this.counts.dropped += 1;
    else this.counts.filtered += 1;
  }

  private finish(status: "done" | "failed", error: Failure | null = null, reason = ""): DriverInstruction {
    this.over = true;
    return { do: "finished", status, error, reason };
  }
}

function makeSinks(graph: Graph, creditBytes: number): Inbox {
  const edges = new Map([...graph.edges.entries()].filter(([, edge]) => edge.to === null));
  const ports = [...edges.keys()].map((number) => new Port(number, creditBytes));
  if (ports.length === 1) return new Stream(ports[0]!);
  return new Gather(edges, ports, new Set([...edges.values()].map((edge) => edge.port)));
}
