/**
 * A session: messages on two lanes over channels that carry frames (docs/wire.md, 2), as in mesh/protocol/session.py.
 * `send` queues a message; `nextFrame` gives what to hand to a channel, as long as it has room; `receive` takes what came;
 * `tick` is due at `deadline`. Times are seconds. Messages are kept until they are acknowledged, so a session outlives its
 * connections: `resume` goes on over a new one.
 */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import {
  type Ack,
  CHUNK_BYTES,
  type Chunk,
  decodeFrame,
  encodeFrame,
  LANES,
  Lane,
  type Position,
  type Record,
} from "./codec";

/** More than a RESUME, an ACK, a PING and a PONG take together. */
const SMALL_RECORDS_BYTES = 64;

export type Event =
  | { type: "delivered"; lane: Lane; message: Uint8Array }
  /** The other side closes the link. */
  | { type: "closed"; code: string; text: string };

/** One end. The data lane opens when the other end was heard: until then it may not have seen our proof. */
export class Session {
  /** The smoothed round trip; null before the first one. */
  rtt: number | null = null;
  private readonly out = LANES.map(() => new Outbound());
  private readonly in = LANES.map((lane) => new Inbound(longest(lane)));
  private heard!: number;
  /** Nothing has been heard for SUSPECT_AFTER_S. */
  silent!: boolean;
  private greeted!: boolean;
  private token = 0;
  private pinged!: number;
  private pingDue!: boolean;
  private pong!: number | null;
  private ackAt!: number | null;
  private resumeDue = false;
  private resuming = false;

  constructor(now: number) {
    this.begin(now);
  }

  private begin(now: number): void {
    this.heard = now;
    this.silent = false;
    this.greeted = false;
    this.pinged = now - limits.HEARTBEAT_S;
    this.pingDue = false;
    this.pong = null;
    this.ackAt = null;
  }

  /**
   * A new connection takes the place of the one before, of which nothing may be received any more. The first frame of the
   * control lane says what has arrived; everything else waits until the other side said so.
   */
  resume(now: number): void {
    this.begin(now);
    this.resumeDue = true;
    this.resuming = true;
    for (const inbound of this.in) inbound.ack();
  }

  /** Queues a message; `backlog` grows by its length. Throws ProtocolError("too-large"). */
  send(lane: Lane, message: Uint8Array): void {
    if (message.length === 0 || message.length > longest(lane)) {
      throw new ProtocolError("too-large", `a message of ${message.length} bytes on lane ${lane}`);
    }
    this.out[lane]!.queue(message);
  }

  /** Bytes queued on the lane that no frame took yet. */
  backlog(lane: Lane): number {
    return this.out[lane]!.backlog;
  }

  /** Whether everything that was sent has been acknowledged. */
  get settled(): boolean {
    return this.out.every((out) => out.backlog === 0 && out.unacknowledged === 0);
  }

  /** When `tick` is to be called next, at the latest. */
  get deadline(): number {
    const suspectAt = this.silent ? Infinity : this.heard + limits.SUSPECT_AFTER_S;
    return Math.min(suspectAt, this.pinged + limits.HEARTBEAT_S, this.ackAt ?? Infinity);
  }

  /** Time has come to `now`. True: the other side has fallen silent; that is said once, until it is heard again. */
  tick(now: number): boolean {
    // it was this side that stood still, and what came meanwhile was not read yet
    if (now > this.deadline + limits.SUSPECT_AFTER_S / 2) this.heard = now;
    if (this.ackAt !== null && now >= this.ackAt) {
      this.ackAt = null;
      for (const inbound of this.in) inbound.ackDue = inbound.unacknowledged > 0;
    }
    if (now >= this.pinged + limits.HEARTBEAT_S) this.ping(now);
    const fallsSilent = !this.silent && now >= this.heard + limits.SUSPECT_AFTER_S;
    this.silent ||= fallsSilent;
    return fallsSilent;
  }

  /** There is reason to doubt that the other side lives: it has PROBE_S to be heard. */
  probe(now: number): void {
    this.heard = Math.min(this.heard, now - limits.SUSPECT_AFTER_S + limits.PROBE_S);
    this.ping(now);
  }

  private ping(now: number): void {
    this.token = (this.token + 1) >>> 0;
    this.pinged = now;
    this.pingDue = true;
  }

  /** The next frame for the lane's channel; null if there is nothing that may go now. */
  nextFrame(lane: Lane): Uint8Array<ArrayBuffer> | null {
    const chunks: Record[] = [];
    let room = limits.MAX_FRAME_BYTES - SMALL_RECORDS_BYTES;
    while (room > CHUNK_BYTES && !this.resuming && (lane === Lane.CONTROL || this.greeted)) {
      const chunk = this.out[lane]!.chunk(room - CHUNK_BYTES);
      if (chunk === null) break;
      chunks.push(chunk);
      room -= CHUNK_BYTES + chunk.data.length;
    }
    const records = [...this.smallRecords(lane, chunks.length > 0), ...chunks];
    return records.length > 0 ? encodeFrame(records) : null;
  }

  /** Takes a frame that came on the lane's channel; throws ProtocolError, after which the link must be closed. */
  receive(lane: Lane, frame: Uint8Array, now: number): Event[] {
    const records = decodeFrame(frame);
    this.heard = now;
    this.silent = false;
    if (lane === Lane.CONTROL) this.greeted = true;
    const events = records.map((record) => this.take(lane, record, now)).filter((event) => event !== null);
    if (this.ackAt === null && this.in.some((inbound) => inbound.unacknowledged > 0)) {
      this.ackAt = now + limits.ACK_AFTER_S;
    }
    return events;
  }

  /** An ACK that is not due yet goes `along` with what goes anyway. */
  private smallRecords(lane: Lane, along: boolean): Record[] {
    const records: Record[] = [];
    if (lane === Lane.CONTROL) {
      if (this.resumeDue) {
        const [control, data] = [this.in[Lane.CONTROL]!.position(), this.in[Lane.DATA]!.position()];
        records.push({ type: "RESUME", control, data });
      }
      if (this.pingDue) records.push({ type: "PING", token: this.token });
      if (this.pong !== null) records.push({ type: "PONG", token: this.pong });
      this.resumeDue = false;
      this.pingDue = false;
      this.pong = null;
    }
    const inbound = this.in[lane]!;
    if (inbound.ackDue || (along && inbound.unacknowledged > 0)) records.push(inbound.ack());
    return records;
  }

  private take(lane: Lane, record: Record, now: number): Event | null {
    if (lane === Lane.CONTROL && this.resuming) {
      if (record.type !== "RESUME") throw new ProtocolError("out-of-order", `${record.type} came before RESUME`);
      this.resuming = false;
      this.out[Lane.CONTROL]!.resume(record.control);
      this.out[Lane.DATA]!.resume(record.data);
      return null;
    }
    if (record.type === "CHUNK") {
      const message = this.in[lane]!.chunk(record);
      return message && { type: "delivered", lane, message };
    }
    if (record.type === "ACK") {
      this.out[lane]!.acknowledged([record.message, record.offset]);
      return null;
    }
    if (lane === Lane.CONTROL) {
      if (record.type === "CLOSE") return { type: "closed", code: record.code, text: record.text };
      if (record.type === "PING") {
        this.pong = record.token;
        return null;
      }
      if (record.type === "PONG") {
        if (record.token === this.token && !this.pingDue) this.roundTrip(now - this.pinged);
        return null;
      }
    }
    throw new ProtocolError("bad-record", `${record.type} on lane ${lane} of a proven link`);
  }

  /** Smoothed as TCP does it (RFC 6298, 2). */
  private roundTrip(sample: number): void {
    this.rtt = this.rtt === null ? sample : 0.875 * this.rtt + 0.125 * sample;
  }
}

function longest(lane: Lane): number {
  return lane === Lane.CONTROL ? limits.MAX_CONTROL_MESSAGE_BYTES : limits.MAX_MESSAGE_BYTES;
}

/** One lane's messages on their way out: `queued` until whole in frames, `kept` until acknowledged. */
class Outbound {
  backlog = 0;
  unacknowledged = 0;
  private readonly queued = new Fifo<Uint8Array>();
  private readonly kept = new Fifo<Uint8Array>();
  /** Bytes of the first queued message that are in frames, and its number. */
  private offset = 0;
  private number = 0;
  /** Bytes of the oldest message, kept or queued, that have arrived. */
  private acked = 0;

  queue(message: Uint8Array): void {
    this.queued.push(message);
    this.backlog += message.length;
  }

  /** The next slice, of at most `room` bytes and within the window. */
  chunk(room: number): Chunk | null {
    const size = Math.min(room, limits.SESSION_WINDOW_BYTES - this.unacknowledged);
    const message = this.queued.at(0);
    if (message === undefined || size <= 0) return null;
    const start = this.offset;
    const data = message.subarray(start, start + size);
    const last = start + data.length === message.length;
    const chunk: Chunk = {
      type: "CHUNK",
      message: this.number,
      total: start === 0 ? message.length : null,
      data,
      last,
    };
    this.backlog -= data.length;
    this.unacknowledged += data.length;
    this.offset += data.length;
    if (last) {
      this.kept.push(this.queued.shift()!);
      this.offset = 0;
      this.number = (this.number + 1) >>> 0;
    }
    return chunk;
  }

  /** Lets go of what has arrived. */
  acknowledged([message, offset]: Position): void {
    const whole = (message - this.number + this.kept.length) >>> 0;
    const reached = whole < this.kept.length ? this.kept.at(whole)!.length : this.offset;
    if (whole > this.kept.length || offset > reached || (whole === 0 && offset < this.acked)) {
      throw new ProtocolError("bad-record", `ACK of byte ${offset} of message ${message}, which is not under way`);
    }
    for (let count = 0; count < whole; count += 1) {
      this.unacknowledged -= this.kept.shift()!.length - this.acked;
      this.acked = 0;
    }
    this.unacknowledged -= offset - this.acked;
    this.acked = offset;
  }

  /** Goes on behind what has arrived, whatever was sent since. */
  resume(arrived: Position): void {
    this.acknowledged(arrived);
    this.number = (this.number - this.kept.length) >>> 0;
    this.queued.unshift(this.kept);
    this.offset = this.acked;
    this.backlog += this.unacknowledged;
    this.unacknowledged = 0;
  }
}

/** One lane's message on its way in, in a buffer that grows with what arrives and not by what was announced. */
class Inbound {
  unacknowledged = 0;
  ackDue = false;
  private number = 0;
  private total: number | null = null;
  private buffer = new Uint8Array();
  private received = 0;

  constructor(private readonly longest: number) {}

  /** The message, if this chunk ends it. */
  chunk({ message, total, data, last }: Chunk): Uint8Array | null {
    if (message !== this.number || (total === null) !== (this.total !== null)) {
      throw new ProtocolError("out-of-order", `a chunk of message ${message} while ${this.number} is expected`);
    }
    if (total !== null) {
      if (total === 0 || total > this.longest) {
        throw new ProtocolError("too-large", `a message of ${total} bytes; at most ${this.longest} are allowed`);
      }
      this.total = total;
    }
    const [end, size] = [this.received + data.length, this.total!];
    if (data.length === 0 || end > size || last !== (end === size)) {
      throw new ProtocolError("bad-record", `a chunk ends at byte ${end} of a message of ${size}`);
    }
    this.append(data, size);
    this.unacknowledged += data.length;
    this.ackDue ||= this.unacknowledged >= limits.ACK_EVERY_BYTES;
    if (!last) return null;
    const whole = this.buffer;
    [this.buffer, this.received, this.total] = [new Uint8Array(), 0, null];
    this.number = (this.number + 1) >>> 0;
    return whole;
  }

  private append(data: Uint8Array, size: number): void {
    const end = this.received + data.length;
    if (end > this.buffer.length) {
      const grown = new Uint8Array(Math.min(size, Math.max(end, 2 * this.buffer.length)));
      grown.set(this.buffer.subarray(0, this.received));
      this.buffer = grown;
    }
    this.buffer.set(data, this.received);
    this.received = end;
  }

  ack(): Ack {
    this.unacknowledged = 0;
    this.ackDue = false;
    return { type: "ACK", message: this.number, offset: this.received };
  }

  /** What has arrived. */
  position(): Position {
    return [this.number, this.received];
  }
}

/** A queue whose shift does not move the rest. */
class Fifo<T> {
  private items: (T | undefined)[] = [];
  private head = 0;

  get length(): number {
    return this.items.length - this.head;
  }

  at(index: number): T | undefined {
    return this.items[this.head + index];
  }

  push(item: T): void {
    this.items.push(item);
  }

  /** Takes everything out of `before`, and puts it in front. */
  unshift(before: Fifo<T>): void {
    this.items = [...before.items.slice(before.head), ...this.items.slice(this.head)];
    this.head = 0;
    before.items = [];
    before.head = 0;
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.items[this.head];
    this.items[this.head] = undefined;
    this.head += 1;
    if (this.head > 64 && 2 * this.head > this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return item;
  }
}
