/** The receiving end of the edges of a node, or of the driver: frames in, inputs out, and the credit owed for them. */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { packList, packMap } from "../values";
import { Flag, type Frame } from "./events";
import type { Edge } from "./graph";
import { cost } from "./outbox";
import { firstOfBoth, type Placement, type Seat } from "./placement";

const KNOWN = Flag.END | Flag.FINAL | Flag.FAILED | Flag.DROPPED | Flag.CHECKPOINT;

/**
 * One thing to do: a part to process (`payload`), the end of its seq (`Flag.END`), or both at once. `fault` says why the
 * parts of this seq cannot be joined, and `port` at which port.
 */
export interface Input {
  seq: number;
  flags: number;
  payload: Uint8Array | null;
  fault: string;
  port: string;
}

/** From one seat. */
interface Strand {
  readonly frames: Frame[];
  /** Received, and not given back. */
  outstanding: number;
  /** Consumed, and not given back; and the seq of the last frame that was consumed. */
  owed: number;
  consumed: number;
  /** Of the next frame; undefined where there is none any more. */
  seq: number | undefined;
  part: number;
  seqFlags: number;
}

/**
 * One edge into one seat: its frames, in order from `firstSeq` on, until they are consumed.
 *
 * The strands of an edge run at their own pace; `head` goes from one to the other as the seqs do. Memory is bounded by the
 * credit of each. Why nothing can wait for ever is told in mesh/run/inbox.py.
 */
export class Port {
  /** Frames that were not consumed. */
  queued = 0;
  private readonly strands = new Map<Seat, Strand>();
  private turn: number | undefined;
  private final = Number.POSITIVE_INFINITY;

  constructor(
    private readonly placement: Placement,
    readonly edge: number,
    private readonly seat: Seat,
    private readonly firstSeq: number,
    private readonly creditBytes: number,
  ) {
    this.turn = seat.first(firstSeq);
  }

  /** Takes the next frame of a strand; throws ProtocolError, and changes nothing, if it cannot be the next. */
  accept(frame: Frame): void {
    const source = this.placement.source(this.edge, frame.seq);
    const strand = this.strands.get(source) ?? this.begun(source);
    const fault = this.fault(strand, frame);
    if (fault !== "") {
      throw new ProtocolError("bad-message", `edge ${this.edge}, seq ${frame.seq}, part ${frame.part}: ${fault}`);
    }
    this.strands.set(source, strand);
    strand.outstanding += cost(frame);
    strand.part += 1;
    strand.seqFlags = frame.flags & Flag.OF_SEQ;
    if (frame.flags & Flag.END) {
      strand.seq = firstOfBoth(source, this.seat, frame.seq + 1);
      strand.part = 0;
    }
    if (frame.flags & Flag.FINAL) this.final = frame.seq;
    strand.frames.push(frame);
    this.queued += 1;
  }

  private begun(source: Seat): Strand {
    const seq = firstOfBoth(source, this.seat, this.firstSeq);
    return { frames: [], outstanding: 0, owed: 0, consumed: 0, seq, part: 0, seqFlags: Flag.NONE };
  }

  private fault(strand: Strand, frame: Frame): string {
    const { flags } = frame;
    const empty = frame.payload === null;
    if (frame.seq > this.final) return "nothing follows the final seq";
    if (frame.seq !== strand.seq || frame.part !== strand.part) {
      return `expected seq ${strand.seq}, part ${strand.part}`;
    }
    if (flags & ~KNOWN || (empty && !(flags & Flag.END))) return "impossible flags";
    if (flags & (Flag.FAILED | Flag.DROPPED) && !empty) return "a failed or dropped end has no payload";
    if (flags & Flag.DROPPED && (frame.part > 0 || flags & (Flag.FINAL | Flag.FAILED))) {
      return "only whole seqs are dropped, and the final one never";
    }
    if ((flags & Flag.OF_SEQ) === Flag.OF_SEQ) return "the final seq has no checkpoint";
    if (frame.part > 0 && (flags & Flag.OF_SEQ) !== strand.seqFlags) {
      return "a seq is final, or has a checkpoint, from its first part on, or not at all";
    }
    if (strand.outstanding > 0 && strand.outstanding + cost(frame) > this.creditBytes) {
      return `beyond the credit of ${this.creditBytes} bytes`;
    }
    return "";
  }

  /** Whether everything that the seat serves was consumed. */
  get isOver(): boolean {
    return this.turn === undefined || this.seat.first(this.turn) === undefined;
  }

  /** Whether everything below `seq` was consumed. */
  isPast(seq: number): boolean {
    return this.turn === undefined || this.turn >= seq;
  }

  /** All seqs below were consumed; only for a port whose seat serves every seq. */
  get through(): number {
    return this.turn!;
  }

  /** Drops the strands from seats that the placement has forgotten. */
  forget(): void {
    for (const seat of this.strands.keys()) if (!this.placement.knows(seat)) this.strands.delete(seat);
  }

  /** The frame whose turn it is, if it is there. */
  head(): Frame | undefined {
    if (this.queued === 0 || this.turn === undefined) return undefined;
    return this.strands.get(this.placement.source(this.edge, this.turn))?.frames[0];
  }

  /** Takes the head; its credit is owed from now on. */
  consume(): Frame {
    const strand = this.strands.get(this.placement.source(this.edge, this.turn!))!;
    const frame = strand.frames.shift()!;
    strand.owed += cost(frame);
    strand.consumed = frame.seq;
    this.queued -= 1;
    if (frame.flags & Flag.END) this.turn = this.seat.first(frame.seq + 1);
    return frame;
  }

  /** What waits of a seq loses its payload, and the credit of that is owed; `butHead`: but for the head. */
  cancel(seq: number, butHead: boolean): void {
    const strand = this.strands.get(this.placement.source(this.edge, seq));
    const spared = butHead ? this.head() : undefined;
    for (const [index, frame] of strand?.frames.entries() ?? []) {
      if (frame.seq !== seq || frame.payload === null || frame === spared) continue;
      strand!.owed += frame.payload.length;
      strand!.consumed = seq;
      strand!.frames[index] = { ...frame, payload: null };
    }
  }

  /**
   * Credit to give back now: a seq of the strand, and bytes. Less than a quarter is kept back while there is more of the
   * strand to be consumed.
   */
  due(): { seq: number; bytes: number }[] {
    const dues: { seq: number; bytes: number }[] = [];
    for (const strand of this.strands.values()) {
      if (strand.owed === 0) continue;
      if (strand.frames.length > 0 && strand.owed < Math.floor(this.creditBytes / 4)) continue;
      dues.push({ seq: strand.consumed, bytes: strand.owed });
      strand.outstanding -= strand.owed;
      strand.owed = 0;
    }
    return dues;
  }
}

/** Makes inputs of the frames on `ports` (by edge); `head` is the oldest, until `done` says it is consumed. */
export abstract class Inbox {
  abstract readonly ports: ReadonlyMap<number, Port>;

  /** A frame came in; throws ProtocolError, and changes nothing, where it is impossible. */
  accept(frame: Frame): void {
    this.ports.get(frame.edge)!.accept(frame);
  }

  /** How many frames wait here. */
  get queued(): number {
    return [...this.ports.values()].reduce((sum, port) => sum + port.queued, 0);
  }

  /** Whether everything below `seq` was consumed at every port. */
  isPast(seq: number): boolean {
    return [...this.ports.values()].every((port) => port.isPast(seq));
  }

  /** The oldest input, if it is complete. */
  abstract head(): Input | undefined;

  /** The oldest input was consumed. */
  abstract done(): void;

  /** Lets the payloads go that wait here for a seq, but for those of `head` where that is in use. */
  cancel(seq: number, butHead: boolean): void {
    for (const port of this.ports.values()) port.cancel(seq, butHead);
  }
}

/** A single edge: every frame is an input, and its credit is owed when it was consumed. */
export class Stream extends Inbox {
  readonly ports: ReadonlyMap<number, Port>;

  constructor(private readonly port: Port) {
    super();
    this.ports = new Map([[port.edge, port]]);
  }

  head(): Input | undefined {
    const frame = this.port.head();
    return frame && { seq: frame.seq, flags: frame.flags, payload: frame.payload, fault: "", port: "" };
  }

  done(): void {
    this.port.consume();
  }
}

/**
 * A single edge, whose parts are inputs only once their seq has ended: so they all come from one execution.
 *
 * Every input of a seq that failed has `Flag.FAILED`. The parts of one seq are bounded as those of a join are.
 */
export class Whole extends Inbox {
  readonly ports: ReadonlyMap<number, Port>;
  private frames: Frame[] = [];
  private bytes = 0;
  private bad: number = Flag.NONE;
  private whole = false;
  private fault = "";

  constructor(
    private readonly port: Port,
    private readonly name: string,
  ) {
    super();
    this.ports = new Map([[port.edge, port]]);
  }

  override accept(frame: Frame): void {
    super.accept(frame);
    this.gather();
  }

  private gather(): void {
    while (!this.whole && this.port.head() !== undefined) {
      const frame = this.port.consume();
      this.bytes += frame.payload?.length ?? 0;
      this.bad |= frame.flags & Flag.FAILED;
      this.whole = (frame.flags & Flag.END) !== 0;
      if (this.fault === "") this.frames.push(frame);
      if (this.frames.length > limits.MAX_JOIN_PARTS || this.bytes > limits.MAX_JOIN_BYTES) {
        this.fault = `more than ${limits.MAX_JOIN_PARTS} parts or ${limits.MAX_JOIN_BYTES} bytes of one seq to hold back`;
        this.frames = [];
      }
      if (this.fault !== "" && this.whole) {
        const flags = (frame.flags & Flag.OF_SEQ) | Flag.END | Flag.FAILED;
        this.frames.push({ edge: frame.edge, seq: frame.seq, part: 0, flags, payload: null });
      }
    }
  }

  head(): Input | undefined {
    const frame = this.frames[0];
    if (!this.whole || frame === undefined) return undefined;
    const { seq, flags, payload } = frame;
    return { seq, flags: flags | this.bad, payload, fault: this.fault, port: this.name };
  }

  done(): void {
    this.frames.shift();
    if (this.frames.length > 0) return;
    this.bytes = 0;
    this.bad = Flag.NONE;
    this.whole = false;
    this.fault = "";
    this.gather();
  }
}

/**
 * Several edges: an input for each seq, once all have ended it; its payload is the map of the ports with parts.
 *
 * What belongs to the seq being gathered is consumed as it comes in, so no edge can hold up another. There is no payload
 * where a port that is not `optional` has no part, where no port has any, and where the seq failed.
 */
export class Gather extends Inbox {
  readonly ports: ReadonlyMap<number, Port>;
  /** Known when something of it came. */
  private seq = 0;
  private ready: Input | undefined;
  private flags = 0;
  private open = new Set<number>();
  private parts = new Map<number, Uint8Array[]>();
  private count = 0;
  private bytes = 0;
  private fault = "";
  private faultPort = "";

  constructor(
    private readonly edges: ReadonlyMap<number, Edge>,
    ports: readonly Port[],
    private readonly optional: ReadonlySet<string>,
  ) {
    super();
    this.ports = new Map(ports.map((port) => [port.edge, port]));
    this.start();
  }

  private start(): void {
    this.ready = undefined;
    this.flags = Flag.NONE;
    this.open = new Set(this.ports.keys());
    this.forget();
    this.count = this.bytes = 0;
    this.fault = this.faultPort = "";
  }

  private forget(): void {
    this.parts = new Map([...this.ports.keys()].map((edge) => [edge, []]));
  }

  override accept(frame: Frame): void {
    super.accept(frame);
    this.gather(frame.edge);
  }

  private gather(edge: number): void {
    const port = this.ports.get(edge)!;
    while (this.open.has(edge) && port.head() !== undefined) {
      const frame = port.consume();
      this.seq = frame.seq;
      this.flags |= frame.flags & ~Flag.END;
      if (frame.payload !== null && this.fault === "") this.add(edge, frame.payload);
      if (frame.flags & Flag.END) this.open.delete(edge);
    }
  }

  private add(edge: number, payload: Uint8Array): void {
    const parts = this.parts.get(edge)!;
    this.count += 1;
    this.bytes += payload.length;
    parts.push(payload);
    if (this.count > limits.MAX_JOIN_PARTS || this.bytes > limits.MAX_JOIN_BYTES) {
      this.refuse(
        edge,
        `more than ${limits.MAX_JOIN_PARTS} parts or ${limits.MAX_JOIN_BYTES} bytes of one seq to join`,
      );
    } else if (parts.length > 1 && !this.edges.get(edge)!.list) {
      this.refuse(edge, "a second part in one seq, for a port that takes one value");
    }
  }

  private refuse(edge: number, fault: string): void {
    this.faultPort = this.edges.get(edge)!.port;
    this.fault = `port '${this.faultPort}': ${fault}`;
    this.forget();
  }

  override cancel(seq: number, butHead: boolean): void {
    super.cancel(seq, butHead);
    if (seq !== this.seq || butHead) return;
    this.ready = undefined;
    this.fault = "cancelled"; // so nothing more is kept
    this.forget();
  }

  head(): Input | undefined {
    if (this.ready === undefined && this.open.size === 0) {
      const ended = { seq: this.seq, flags: this.flags | Flag.END, payload: null, fault: "", port: "" };
      if (this.flags & Flag.FAILED) this.ready = ended;
      else if (this.fault !== "") this.ready = { ...ended, fault: this.fault, port: this.faultPort };
      else this.ready = { ...ended, payload: this.joined() };
      this.parts.clear();
    }
    return this.ready;
  }

  private joined(): Uint8Array | null {
    const entries: [string, Uint8Array][] = [];
    for (const [number, parts] of this.parts) {
      const edge = this.edges.get(number)!;
      if (parts.length > 0) entries.push([edge.port, edge.list ? packList(parts) : parts[0]!]);
      else if (!this.optional.has(edge.port)) return null;
    }
    return entries.length > 0 ? packMap(entries) : null;
  }

  done(): void {
    this.start();
    for (const edge of this.ports.keys()) this.gather(edge);
  }
}
