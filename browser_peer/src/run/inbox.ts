/** The receiving end of the edges of a node, or of the driver: frames in, inputs out, and the credit owed for them. */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { packList, packMap } from "../values";
import { Flag, type Frame } from "./events";
import type { Edge } from "./graph";
import { cost } from "./outbox";

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

/** One edge: its frames, in order from `seq` on, until they are consumed. Memory is bounded by the credit of the sender. */
export class Port {
  readonly frames: Frame[] = [];
  /** Received, and not given back. */
  private outstanding = 0;
  /** Consumed, and not given back. */
  private owed = 0;
  private part = 0;
  private seqFlags: number = Flag.NONE;
  private ended = false;

  constructor(
    readonly edge: number,
    private seq: number,
    private readonly creditBytes: number,
  ) {}

  /** Takes the next frame of the edge; throws ProtocolError, and changes nothing, if it cannot be the next. */
  accept(frame: Frame): void {
    const fault = this.fault(frame);
    if (fault !== "") {
      throw new ProtocolError("bad-message", `edge ${this.edge}, seq ${frame.seq}, part ${frame.part}: ${fault}`);
    }
    this.outstanding += cost(frame);
    this.part += 1;
    this.seqFlags = frame.flags & Flag.OF_SEQ;
    if (frame.flags & Flag.END) {
      this.seq += 1;
      this.part = 0;
      this.ended = (frame.flags & Flag.FINAL) !== 0;
    }
    this.frames.push(frame);
  }

  private fault(frame: Frame): string {
    const { flags } = frame;
    const empty = frame.payload === null;
    if (this.ended) return "nothing follows the final seq";
    if (frame.seq !== this.seq || frame.part !== this.part) return `expected seq ${this.seq}, part ${this.part}`;
    if (flags & ~KNOWN || (empty && !(flags & Flag.END))) return "impossible flags";
    if (flags & (Flag.FAILED | Flag.DROPPED) && !empty) return "a failed or dropped end has no payload";
    if (flags & Flag.DROPPED && (frame.part > 0 || flags & (Flag.FINAL | Flag.FAILED))) {
      return "only whole seqs are dropped, and the final one never";
    }
    if ((flags & Flag.OF_SEQ) === Flag.OF_SEQ) return "the final seq has no checkpoint";
    if (frame.part > 0 && (flags & Flag.OF_SEQ) !== this.seqFlags) {
      return "a seq is final, or has a checkpoint, from its first part on, or not at all";
    }
    if (this.outstanding > 0 && this.outstanding + cost(frame) > this.creditBytes) {
      return `beyond the credit of ${this.creditBytes} bytes`;
    }
    return "";
  }

  /** The oldest frame; its credit is owed from now on. */
  consume(): Frame {
    const frame = this.frames.shift()!;
    this.owed += cost(frame);
    return frame;
  }

  /** Credit to give back now, in bytes; less than a quarter is kept back while there is more to be consumed. */
  due(): number {
    if (this.frames.length > 0 && this.owed < Math.floor(this.creditBytes / 4)) return 0;
    const due = this.owed;
    this.owed = 0;
    this.outstanding -= due;
    return due;
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
    return [...this.ports.values()].reduce((sum, port) => sum + port.frames.length, 0);
  }

  /** The oldest input, if it is complete. */
  abstract head(): Input | undefined;

  /** The oldest input was consumed. */
  abstract done(): void;
}

/** A single edge: every frame is an input, and its credit is owed when it was consumed. */
export class Stream extends Inbox {
  readonly ports: ReadonlyMap<number, Port>;

  constructor(private readonly port: Port) {
    super();
    this.ports = new Map([[port.edge, port]]);
  }

  head(): Input | undefined {
    const frame = this.port.frames[0];
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
    while (this.port.frames.length > 0 && !this.whole) {
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
    private seq: number,
  ) {
    super();
    this.ports = new Map(ports.map((port) => [port.edge, port]));
    this.start(seq);
  }

  private start(seq: number): void {
    this.seq = seq;
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
    while (port.frames.length > 0 && this.open.has(edge)) {
      const frame = port.consume();
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
    this.start(this.seq + 1);
    for (const edge of this.ports.keys()) this.gather(edge);
  }
}
