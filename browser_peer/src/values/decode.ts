/** From payloads to whatever is built of them: values, JSON, or nothing but a check (docs/wire.md, 1). */

import limits from "../generated/limits.json";
import {
  ARRAY_EXTENSION,
  checkShape,
  DTYPES,
  descend,
  fault,
  type NdArray,
  type Step,
  TYPED,
  type Value,
} from "./types";

/** What a payload holds where no further payload is inside. Ints beyond 2^53-1 are BigInt. */
export type Leaf =
  | { is: "null" }
  | { is: "bool"; value: boolean }
  | { is: "int"; value: number | bigint }
  | { is: "float"; value: number }
  | { is: "text"; value: string }
  | { is: "bytes"; value: Uint8Array }
  | { is: "array"; dtype: number; shape: number[]; data: Uint8Array };

/** How a result is put together; `depth` is 0 for the outermost list or map. */
export interface Build<T> {
  leaf(leaf: Leaf): T;
  list(members: T[], depth: number): T;
  map(entries: [string, T][], depth: number): T;
}

/** The value of a payload; `extraLevels`: of the maps and lists that joins and sinks add. */
export function decode(payload: Uint8Array, extraLevels = 0): Value {
  return fold(payload, VALUES, extraLevels);
}

/** Throws ValueFault unless `payload` is one value. */
export function check(payload: Uint8Array, extraLevels = 0): void {
  fold(payload, NOTHING, extraLevels);
}

/** Reads a payload as a whole, and builds what `build` makes of it. */
export function fold<T>(payload: Uint8Array, build: Build<T>, extraLevels = 0): T {
  if (payload.length > limits.MAX_VALUE_BYTES) {
    fault([], `${payload.length} bytes are more than a value's ${limits.MAX_VALUE_BYTES}`);
  }
  const reader = new Reader(payload, extraLevels);
  const result = reader.read(build);
  if (reader.at < payload.length) fault([], "bytes follow the value");
  return result;
}

const VALUES: Build<Value> = {
  leaf(leaf) {
    if (leaf.is === "null") return null;
    if (leaf.is === "array") return ndArray(leaf);
    return leaf.is === "bytes" ? leaf.value.slice() : leaf.value;
  },
  list: (members) => members,
  map: (entries) => Object.fromEntries(entries),
};

const NOTHING: Build<undefined> = { leaf: () => undefined, list: () => undefined, map: () => undefined };

function ndArray(leaf: Leaf & { is: "array" }): NdArray {
  const data = new TYPED[leaf.dtype]!(leaf.data.slice().buffer);
  return { dtype: DTYPES[leaf.dtype]!, shape: leaf.shape, data };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #path: Step[] = [];
  readonly #extraLevels: number;

  constructor(bytes: Uint8Array, extraLevels: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#extraLevels = extraLevels;
  }

  read<T>(build: Build<T>): T {
    const head = this.#uint(1);
    if (head >= 0x80 && head < 0x90) return this.#map(head & 0x0f, build);
    if (head >= 0x90 && head < 0xa0) return this.#list(head & 0x0f, build);
    if (head === 0xde || head === 0xdf) return this.#map(this.#uint(head === 0xde ? 2 : 4), build);
    if (head === 0xdc || head === 0xdd) return this.#list(this.#uint(head === 0xdc ? 2 : 4), build);
    return build.leaf(this.#leaf(head));
  }

  #list<T>(count: number, build: Build<T>): T {
    descend(this.#path, this.#extraLevels);
    const members: T[] = [];
    for (let index = 0; index < count; index++) {
      this.#path.push(index);
      members.push(this.read(build));
      this.#path.pop();
    }
    return build.list(members, this.#path.length);
  }

  #map<T>(count: number, build: Build<T>): T {
    descend(this.#path, this.#extraLevels);
    const entries = new Map<string, T>();
    for (let index = 0; index < count; index++) {
      const key = this.#key();
      if (entries.has(key)) this.#fault(`the key ${JSON.stringify(key)} comes twice`);
      this.#path.push(key);
      entries.set(key, this.read(build));
      this.#path.pop();
    }
    return build.map([...entries], this.#path.length);
  }

  #key(): string {
    const head = this.#uint(1);
    const leaf = head >= 0x80 && head < 0xa0 ? undefined : this.#leaf(head);
    if (leaf?.is !== "text") this.#fault("map keys must be text");
    return leaf.value;
  }

  #leaf(head: number): Leaf {
    if (head < 0x80) return { is: "int", value: head };
    if (head >= 0xe0) return { is: "int", value: head - 0x100 };
    if (head >= 0xa0 && head < 0xc0) return this.#text(head & 0x1f);
    switch (head) {
      case 0xc0:
        return { is: "null" };
      case 0xc2:
      case 0xc3:
        return { is: "bool", value: head === 0xc3 };
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return { is: "bytes", value: this.#take(this.#uint(1 << (head - 0xc4))) };
      case 0xc7:
      case 0xc8:
      case 0xc9:
        return this.#extension(this.#uint(1 << (head - 0xc7)));
      case 0xca:
        return { is: "float", value: this.#view.getFloat32(this.#skip(4)) };
      case 0xcb:
        return { is: "float", value: this.#view.getFloat64(this.#skip(8)) };
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(1 << (head - 0xd9)));
    }
    if (head >= 0xcc && head <= 0xd3) return { is: "int", value: this.#int(head) };
    if (head >= 0xd4 && head <= 0xd8) return this.#extension(1 << (head - 0xd4));
    return this.#fault(`no value begins with the byte 0x${head.toString(16)}`);
  }

  #int(head: number): number | bigint {
    const size = 1 << ((head - 0xcc) & 3);
    const signed = head >= 0xd0;
    if (size < 8) {
      const value = this.#uint(size);
      return signed && value >= 2 ** (8 * size - 1) ? value - 2 ** (8 * size) : value;
    }
    const at = this.#skip(8);
    const value = signed ? this.#view.getBigInt64(at) : this.#view.getBigUint64(at);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  #text(size: number): Leaf {
    try {
      return { is: "text", value: utf8.decode(this.#take(size)) };
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      return this.#fault("the text is no UTF-8");
    }
  }

  #extension(size: number): Leaf {
    const type = this.#uint(1);
    const body = this.#take(size);
    if (type !== ARRAY_EXTENSION) this.#fault("the only extension type is 1, an array");
    if (body.length < 4) this.#fault("the array is cut short");
    const [dtype, dims, padding, zero] = body as unknown as [number, number, number, number];
    const start = 4 + 4 * dims + padding;
    if (dtype >= DTYPES.length || dims > limits.MAX_ARRAY_DIMS || padding > 7 || zero || body.length < start) {
      this.#fault("the array's header is wrong");
    }
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const shape = Array.from({ length: dims }, (_, index) => view.getUint32(4 + 4 * index, true));
    const data = body.subarray(start);
    checkShape(this.#path, dtype, shape, data.length);
    if (dtype === 0 && data.some((item) => item > 1)) this.#fault("the items of a bool array are 0 and 1");
    return { is: "array", dtype, shape, data };
  }

  #uint(size: number): number {
    const at = this.#skip(size);
    if (size === 1) return this.#bytes[at]!;
    return size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #take(size: number): Uint8Array {
    const at = this.#skip(size);
    return this.#bytes.subarray(at, at + size);
  }

  #skip(size: number): number {
    const at = this.at;
    if (at + size > this.#bytes.length) this.#fault("the payload is cut short");
    this.at += size;
    return at;
  }

  #fault(message: string): never {
    return fault(this.#path, message);
  }
}
