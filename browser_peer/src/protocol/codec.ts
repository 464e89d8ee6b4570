/**
 * Frames and records (docs/wire.md, 2): typed records in, bytes out, and back; as in mesh/protocol/codec.py.
 * Every malformed frame is a ProtocolError with its code; nothing else is ever thrown for what comes from outside.
 */

import { encode } from "@msgpack/msgpack";
import registry from "../../../mesh/protocol/registry.json";
import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { unpack } from "./unpack";

/** One of the two data channels of a link, by its id. */
export const Lane = { CONTROL: registry.lanes.control, DATA: registry.lanes.data } as const;
export type Lane = number;
export const LANES: readonly Lane[] = [Lane.CONTROL, Lane.DATA];

/** `total`, the length of the message in bytes, comes with its first chunk only. */
export type Chunk = { type: "CHUNK"; message: number; total: number | null; data: Uint8Array; last: boolean };
/** Everything on this lane before byte `offset` of `message` has arrived. */
export type Ack = { type: "ACK"; message: number; offset: number };

export type Record =
  | Chunk
  | Ack
  | { type: "PING" | "PONG"; token: number }
  | { type: "HELLO" | "PROOF"; body: Uint8Array }
  | { type: "CLOSE"; code: string; text: string }
  /** What has arrived of the session so far, on each lane: the other side goes on from there. */
  | { type: "RESUME"; control: Position; data: Position };

export type Position = [message: number, offset: number];

const RECORD_BYTES = 4;
/** The headers of a first chunk, the longest ones. */
export const CHUNK_BYTES = RECORD_BYTES + 8;

const { FIRST, LAST } = registry.chunk_flags;
const NAMES = new Map(Object.entries(registry.records).map(([name, type]) => [type, name as Record["type"]]));

/** One frame of these records; the caller keeps it within MAX_FRAME_BYTES. */
export function encodeFrame(records: Record[]): Uint8Array<ArrayBuffer> {
  const bodies = records.map(bodyOf);
  const frame = new Uint8Array(
    bodies.reduce((size, [head, tail]) => size + RECORD_BYTES + head.length + tail.length, 0),
  );
  const view = new DataView(frame.buffer);
  let at = 0;
  records.forEach((record, index) => {
    const [head, tail] = bodies[index]!;
    view.setUint8(at, registry.records[record.type]);
    view.setUint8(at + 1, flagsOf(record));
    view.setUint16(at + 2, head.length + tail.length, true);
    frame.set(head, at + RECORD_BYTES);
    frame.set(tail, at + RECORD_BYTES + head.length);
    at += RECORD_BYTES + head.length + tail.length;
  });
  return frame;
}

/** The records of a frame, at least one; throws ProtocolError `too-large`, `bad-frame` or `bad-record`. Data are views. */
export function decodeFrame(frame: Uint8Array): Record[] {
  if (frame.length > limits.MAX_FRAME_BYTES) {
    throw new ProtocolError(
      "too-large",
      `a frame of ${frame.length} bytes; at most ${limits.MAX_FRAME_BYTES} are allowed`,
    );
  }
  if (frame.length === 0) throw new ProtocolError("bad-frame", "the frame is empty");
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const records: Record[] = [];
  let at = 0;
  while (at < frame.length) {
    if (frame.length - at < RECORD_BYTES) throw new ProtocolError("bad-frame", "the header of a record is cut short");
    const [type, flags, length] = [view.getUint8(at), view.getUint8(at + 1), view.getUint16(at + 2, true)];
    at += RECORD_BYTES;
    if (frame.length - at < length) throw new ProtocolError("bad-frame", `a record of ${length} bytes is cut short`);
    records.push(readRecord(type, flags, frame.subarray(at, at + length)));
    at += length;
  }
  return records;
}

function flagsOf(record: Record): number {
  return record.type === "CHUNK" ? (record.total === null ? 0 : FIRST) | (record.last ? LAST : 0) : 0;
}

function bodyOf(record: Record): [head: Uint8Array, tail: Uint8Array] {
  switch (record.type) {
    case "CHUNK":
      return [record.total === null ? words(record.message) : words(record.message, record.total), record.data];
    case "ACK":
      return [words(record.message, record.offset), NOTHING];
    case "PING":
    case "PONG":
      return [words(record.token), NOTHING];
    case "HELLO":
    case "PROOF":
      return [record.body, NOTHING];
    case "CLOSE":
      return [encode([record.code, record.text.slice(0, limits.MAX_CAUSE_CHARS)]), NOTHING];
    case "RESUME":
      return [words(...record.control, ...record.data), NOTHING];
  }
}

const NOTHING = new Uint8Array();

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => {
    view.setUint32(4 * index, value, true);
  });
  return bytes;
}

function readRecord(type: number, flags: number, body: Uint8Array): Record {
  const name = NAMES.get(type);
  if (name === undefined) throw new ProtocolError("bad-record", `there is no record type ${type}`);
  if (flags !== 0 && (name !== "CHUNK" || flags > (FIRST | LAST))) {
    throw new ProtocolError("bad-record", `record type ${type} has no flags ${flags}`);
  }
  switch (name) {
    case "CHUNK": {
      const head = readWords(name, body, flags & FIRST ? 2 : 1);
      const data = body.subarray(4 * head.length);
      return { type: name, message: head[0]!, total: head[1] ?? null, data, last: (flags & LAST) !== 0 };
    }
    case "ACK": {
      const [message, offset] = readWords(name, body, 2, body.length);
      return { type: name, message: message!, offset: offset! };
    }
    case "PING":
    case "PONG":
      return { type: name, token: readWords(name, body, 1, body.length)[0]! };
    case "HELLO":
    case "PROOF":
      if (body.length > limits.MAX_HELLO_BYTES) {
        throw new ProtocolError("too-large", `${body.length} bytes; ${name} has at most ${limits.MAX_HELLO_BYTES}`);
      }
      return { type: name, body };
    case "CLOSE":
      return readClose(body);
    case "RESUME": {
      const [control, offset, ...data] = readWords(name, body, 4, body.length);
      return { type: name, control: [control!, offset!], data: data as Position };
    }
  }
}

/** The first `count` words of a body, which must be no longer than `size` where that is given. */
function readWords(name: string, body: Uint8Array, count: number, size = 4 * count): number[] {
  if (body.length < 4 * count || size !== 4 * count) {
    throw new ProtocolError("bad-record", `${body.length} bytes are no body of ${name}`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  return Array.from({ length: count }, (_, index) => view.getUint32(4 * index, true));
}

function readClose(body: Uint8Array): Record {
  const fields = unpack(body, "bad-record");
  if (Array.isArray(fields) && fields.length === 2) {
    const [code, text] = fields;
    const short = (each: unknown): each is string => typeof each === "string" && each.length <= limits.MAX_CAUSE_CHARS;
    if (short(code) && short(text)) return { type: "CLOSE", code, text };
  }
  throw new ProtocolError("bad-record", "the body of CLOSE is [code, text]");
}
