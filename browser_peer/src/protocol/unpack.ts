/** Reading msgpack of untrusted origin: decoders allocate what a header announces, so its shape is checked before. */

import { decode } from "@msgpack/msgpack";
import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";

/** Bytes of the formats without a length of their own. */
const FIXED: { [head: number]: number } = {
  192: 1, 194: 1, 195: 1, 202: 5, 203: 9, 204: 2, 205: 3, 206: 5, 207: 9, 208: 2, 209: 3, 210: 5, 211: 9,
  212: 3, 213: 4, 214: 6, 215: 10, 216: 18,
}; // biome-ignore format: a table
/** Bytes of the length that follows the head of bin, ext, str, array and map, and what is to be added to that length. */
const PREFIXED: { [head: number]: [width: 1 | 2 | 4, extra: number] } = {
  196: [1, 0],
  197: [2, 0],
  198: [4, 0],
  199: [1, 1],
  200: [2, 1],
  201: [4, 1],
  217: [1, 0],
  218: [2, 0],
  219: [4, 0],
  220: [2, 0],
  221: [4, 0],
  222: [2, 0],
  223: [4, 0],
};
const ARRAY16 = 220;
const MAP16 = 222;

/** One msgpack object whose maps have text keys; throws ProtocolError with `code`. Bytes are views into `body`. */
export function unpack(body: Uint8Array, code: string): unknown {
  try {
    checkShape(body);
    return decode(body, { mapKeyConverter: textKey });
  } catch (error) {
    throw new ProtocolError(code, `not one msgpack object: ${error instanceof Error ? error.message : error}`);
  }
}

function textKey(key: unknown): string {
  if (typeof key !== "string") throw new TypeError("the keys of a map are texts");
  return key;
}

function checkShape(body: Uint8Array): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const missing = [1]; // members still to come, on each level
  let at = 0;
  while (missing.length > 0) {
    const level = missing.length - 1;
    if (missing[level] === 0) {
      missing.pop();
      continue;
    }
    missing[level]! -= 1;
    const [bytes, members] = measure(view, at);
    at += bytes;
    if (at > body.length || members > body.length - at) throw new RangeError("it is cut short");
    if (members > 2 * limits.MAX_MESSAGE_MEMBERS) throw new RangeError("a list or map has too many members");
    if (members > 0 && missing.push(members) > limits.MAX_MESSAGE_LEVELS) throw new RangeError("it is nested too deep");
  }
}

/** The bytes of what begins at `at`, without its members, and how many members follow. */
function measure(view: DataView, at: number): [bytes: number, members: number] {
  const head = view.getUint8(at);
  if (head < 0x80 || head >= 0xe0) return [1, 0];
  if (head < 0x90) return [1, 2 * (head & 15)];
  if (head < 0xa0) return [1, head & 15];
  if (head < 0xc0) return [1 + (head & 31), 0];
  const fixed = FIXED[head];
  if (fixed !== undefined) return [fixed, 0];
  if (PREFIXED[head] === undefined) throw new RangeError(`nothing begins with byte ${head}`);
  const [width, extra] = PREFIXED[head];
  const length = width === 1 ? view.getUint8(at + 1) : width === 2 ? view.getUint16(at + 1) : view.getUint32(at + 1);
  if (head >= MAP16) return [1 + width, 2 * length];
  if (head >= ARRAY16) return [1 + width, length];
  return [1 + width + length + extra, 0];
}
