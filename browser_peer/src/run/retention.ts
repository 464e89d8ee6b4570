/**
 * What the driver keeps so that a run can go on after a loss: the items to replay, and the states to replay them upon.
 *
 * Without stateful nodes these are the items whose results are not all out. With them, some seqs are marked
 * (Flag.CHECKPOINT); checkpoint `s` is complete when every stateful node has told its state after `s` and all results of `s`
 * are out; every item above the last complete one is kept. Memory is bounded: RUN_WINDOW_SEQS and RUN_WINDOW_BYTES (exceeded
 * by at most one item) of items, and MAX_CHECKPOINT_BYTES for each checkpoint within.
 */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { Flag, type Resumption } from "./events";
import type { Graph } from "./graph";

/** An item, with the flags that its frames have, and whether it went out at least once. */
export interface Kept {
  seq: number;
  flags: number;
  payload: Uint8Array;
  sent: boolean;
}

interface Checkpoint {
  states: Map<string, Uint8Array>;
  missing: Set<string>;
  size: number;
  fault: string;
}

export class Retention {
  /** Why the run could not go on after a loss now; empty: it could. */
  fault: string;
  private readonly nodes: ReadonlySet<string>;
  private kept: Kept[] = [];
  private next = 0;
  private bytes = 0;
  private seqsSince = 0;
  private bytesSince = 0;
  private turn = 0;
  private states: ReadonlyMap<string, Uint8Array> = new Map();
  /** Of marked seqs, the oldest first. */
  private readonly making = new Map<number, Checkpoint>();

  constructor(graph: Graph) {
    const stateful = graph.nodes.filter((node) => node.stateful);
    const mute = stateful.find((node) => !node.snapshots);
    this.fault = mute === undefined ? "" : `node '${mute.id}' keeps state and makes no snapshots`;
    this.nodes = new Set(mute === undefined ? stateful.map((node) => node.id) : []);
  }

  /** Whether another item may be kept. */
  get hasRoom(): boolean {
    return this.kept.length < limits.RUN_WINDOW_SEQS && this.bytes < limits.RUN_WINDOW_BYTES;
  }

  /** The next item; answers the flags of its frames. */
  keep(payload: Uint8Array): number {
    this.seqsSince += 1;
    this.bytesSince += payload.length;
    this.bytes += payload.length;
    const due = this.seqsSince >= limits.CHECKPOINT_EVERY || this.bytesSince >= limits.CHECKPOINT_EVERY_BYTES;
    const flags = due && this.nodes.size > 0 ? Flag.CHECKPOINT : Flag.NONE;
    if (flags) {
      this.seqsSince = this.bytesSince = 0;
      this.making.set(this.next, this.begun());
    }
    this.kept.push({ seq: this.next, flags, payload, sent: false });
    this.next += 1;
    return flags;
  }

  private begun(): Checkpoint {
    return { states: new Map(), missing: new Set(this.nodes), size: 0, fault: "" };
  }

  /** All results of the seqs below `turn` are out. */
  passed(turn: number): void {
    this.turn = turn;
    if (this.nodes.size > 0) this.adopt();
    else this.release(turn);
  }

  /** A node's state after `seq`, or why there is none. Throws ProtocolError for what is not awaited. */
  reported(node: string, seq: number, state: Uint8Array | null, fault: string): void {
    const checkpoint = this.making.get(seq);
    if (!checkpoint?.missing.delete(node)) {
      throw new ProtocolError("bad-message", `no checkpoint of node '${node}' after seq ${seq} is awaited`);
    }
    checkpoint.size += state?.length ?? 0;
    if (state === null) {
      checkpoint.fault = `node '${node}': ${fault}`;
    } else if (checkpoint.size > limits.MAX_CHECKPOINT_BYTES) {
      checkpoint.fault = `the states of its nodes have more than ${limits.MAX_CHECKPOINT_BYTES} bytes`;
      checkpoint.states.clear();
    } else {
      checkpoint.states.set(node, state);
    }
    this.adopt();
  }

  /** For a new epoch, in which the checkpoints that were not complete are made again. */
  resumption(): Resumption {
    for (const seq of this.making.keys()) this.making.set(seq, this.begun());
    return { firstSeq: this.next - this.kept.length, states: this.states };
  }

  /** What is to be replayed. */
  items(): readonly Kept[] {
    return [...this.kept];
  }

  /** An item is sent; answers whether it was before. */
  goesOut(seq: number): boolean {
    const item = this.kept[seq - (this.next - this.kept.length)];
    if (item === undefined) return true; // all results of it are out
    const before = item.sent;
    item.sent = true;
    return before;
  }

  /** Goes on to the newest complete checkpoint; one that could not be made stands too, with its fault. */
  private adopt(): void {
    for (const [seq, oldest] of this.making) {
      if (seq >= this.turn || oldest.missing.size > 0) return;
      this.making.delete(seq);
      this.states = oldest.states;
      this.fault = oldest.fault;
      this.release(seq + 1);
    }
  }

  private release(below: number): void {
    while (this.kept[0] !== undefined && this.kept[0].seq < below) this.bytes -= this.kept.shift()!.payload.length;
  }
}
