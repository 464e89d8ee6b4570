/** From values to payloads (docs/wire.md, 1). */

import limits from "../generated/limits.json";
import {
  ARRAY_EXTENSION,
  checkShape,
  DTYPES,
  descend,
  Float,
  fault,
  type NdArray,
  type Step,
  TYPED,
  type Value,
} from "./types";

const MIN_INT = -(2n ** 63n);
const MAX_INT = 2n ** 64n - 1n;
const MAP = { fix: 0x80, limit: 16, long: 0xde };
const LIST = { fix: 0x90, limit: 16, long: 0xdc };
const utf8 = new TextEncoder();

/** The payload of a value. A safe integer is an int, any other number a float; `float(2)` makes a float of an integer. */
export function encode(value: Value): Uint8Array {
  const writer = new Writer();
  write(writer, value, []);
  return writer.bytes();
}

/** The payload of a map, of its values' payloads; nothing is decoded. */
export function packMap(entries: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const writer = new Writer();
  writer.header(MAP, entries.length);
  for (const [key, payload] of entries) {
    writeText(writer, key, []);
    writer.raw(payload);
  }
  return writer.bytes();
}

/** The payload of a list, of its members' payloads; nothing is decoded. */
export function packList(payloads: readonly Uint8Array[]): Uint8Array {
  const writer = new Writer();
  writer.header(LIST, payloads.length);
  for (const payload of payloads) writer.raw(payload);
  return writer.bytes();
}

function write(writer: Writer, value: unknown, path: Step[]): void {
  if (value === null) writer.byte(0xc0);
  else if (typeof value === "boolean") writer.byte(value ? 0xc3 : 0xc2);
  else if (typeof value === "string") writeText(writer, value, path);
  else if (typeof value === "number") writeNumber(writer, value);
  else if (typeof value === "bigint") writeBigInt(writer, value, path);
  else if (value instanceof Float) writer.float(value.value);
  else if (value instanceof Uint8Array) {
    writer.sized([0xc4, 0xc5, 0xc6], value.length);
    writer.raw(value);
  } else if (Array.isArray(value)) writeList(writer, value, path);
  else if (isArray(value)) writeArray(writer, value, path);
  else if (value instanceof Map) writeMap(writer, [...value], path);
  else if (isPlain(value)) writeMap(writer, Object.entries(value), path);
  else fault(path, `${nameOf(value)} cannot be carried`);
}

function writeText(writer: Writer, text: string, path: Step[]): void {
  if (!text.isWellFormed()) fault(path, "half a surrogate pair is no Unicode text");
  const bytes = utf8.encode(text);
  if (bytes.length < 32) writer.byte(0xa0 | bytes.length);
  else writer.sized([0xd9, 0xda, 0xdb], bytes.length);
  writer.raw(bytes);
}

function writeNumber(writer: Writer, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) writer.float(value);
  else if (value >= -0x80000000 && value <= 0xffffffff) writer.int(value);
  else writer.long(BigInt(value));
}

function writeBigInt(writer: Writer, value: bigint, path: Step[]): void {
  if (value < MIN_INT || value > MAX_INT) fault(path, "the integer is outside -2**63 … 2**64-1");
  if (value >= -0x80000000n && value <= 0xffffffffn) writer.int(Number(value));
  else writer.long(value);
}

function writeList(writer: Writer, members: unknown[], path: Step[]): void {
  descend(path, 0);
  writer.header(LIST, members.length);
  members.forEach((member, index) => {
    path.push(index);
    write(writer, member, path);
    path.pop();
  });
}

function writeMap(writer: Writer, entries: [unknown, unknown][], path: Step[]): void {
  descend(path, 0);
  writer.header(MAP, entries.length);
  for (const [key, member] of entries) {
    if (typeof key !== "string") fault(path, `map keys must be text, not ${nameOf(key)}`);
    writeText(writer, key, path);
    path.push(key);
    write(writer, member, path);
    path.pop();
  }
}

/** The header has the longest form, so the padding never changes its length. */
function writeArray(writer: Writer, { dtype, shape, data }: NdArray, path: Step[]): void {
  const code = DTYPES.indexOf(dtype);
  checkShape(path, code, shape, data.byteLength);
  const head = 10 + 4 * shape.length;
  const padding = -(writer.length + head) & 7;
  writer.byte(0xc9);
  writer.u32(head - 6 + padding + data.byteLength);
  for (const byte of [ARRAY_EXTENSION, code, shape.length, padding, 0]) writer.byte(byte);
  for (const size of shape) writer.u32(size, true);
  writer.raw(new Uint8Array(padding));
  writer.raw(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function isArray(value: unknown): value is NdArray {
  if (typeof value !== "object" || value === null || Object.keys(value).length !== 3) return false;
  const { dtype, shape, data } = value as Partial<NdArray>;
  const type = TYPED[DTYPES.indexOf(dtype as (typeof DTYPES)[number])];
  return type !== undefined && data instanceof type && Array.isArray(shape) && shape.every(isSize);
}

function isSize(size: unknown): boolean {
  return Number.isInteger(size) && (size as number) >= 0 && (size as number) < 2 ** 32;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function nameOf(value: unknown): string {
  return (typeof value === "object" && value?.constructor?.name) || typeof value;
}

/** Bytes that grow; all numbers big-endian, as msgpack has them, unless said otherwise. */
class Writer {
  #bytes = new Uint8Array(64);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  bytes(): Uint8Array {
    if (this.length > limits.MAX_VALUE_BYTES) {
      fault([], `the value takes ${this.length} bytes, more than ${limits.MAX_VALUE_BYTES}`);
    }
    return this.#bytes.slice(0, this.length);
  }

  header(form: { fix: number; limit: number; long: number }, count: number): void {
    if (count < form.limit) this.byte(form.fix | count);
    else if (count < 0x10000) this.#put(3, (view, at) => view.setUint16(at, count), form.long);
    else this.#put(5, (view, at) => view.setUint32(at, count), form.long + 1);
  }

  /** A length with the shortest of three heads, of 8, 16 and 32 bits. */
  sized(heads: [number, number, number], size: number): void {
    if (size < 0x100) this.#put(2, (view, at) => view.setUint8(at, size), heads[0]);
    else if (size < 0x10000) this.#put(3, (view, at) => view.setUint16(at, size), heads[1]);
    else this.#put(5, (view, at) => view.setUint32(at, size), heads[2]);
  }

  /** An integer of at most 32 bits. */
  int(value: number): void {
    if (value >= -32 && value < 0x80) this.byte(value & 0xff);
    else if (value >= 0) this.sized([0xcc, 0xcd, 0xce], value);
    else if (value >= -0x80) this.#put(2, (view, at) => view.setInt8(at, value), 0xd0);
    else if (value >= -0x8000) this.#put(3, (view, at) => view.setInt16(at, value), 0xd1);
    else this.#put(5, (view, at) => view.setInt32(at, value), 0xd2);
  }

  long(value: bigint): void {
    if (value < 0n) this.#put(9, (view, at) => view.setBigInt64(at, value), 0xd3);
    else this.#put(9, (view, at) => view.setBigUint64(at, value), 0xcf);
  }

  float(value: number): void {
    this.#put(9, (view, at) => view.setFloat64(at, value), 0xcb);
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.length++] = value;
  }

  u32(value: number, littleEndian = false): void {
    this.#reserve(4);
    this.#view.setUint32(this.length, value, littleEndian);
    this.length += 4;
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** A head and what follows it, `size` bytes in all. */
  #put(size: number, set: (view: DataView, at: number) => void, head: number): void {
    this.#reserve(size);
    this.#bytes[this.length] = head;
    set(this.#view, this.length + 1);
    this.length += size;
  }

  #reserve(size: number): void {
    if (this.length + size <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.length + size));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
