/**
 * The node world of node.wit, lifted and lowered by the canonical ABI, as in mesh/runtimes/canonical.py.
 *
 * The guest is hostile until proven otherwise: each pointer that it hands out is checked, each answer copied. Whatever
 * breaks the ABI is a NodeError of kind `trapped`; the caller drops the instance then.
 */

import limits from "../../generated/limits.json";
import { NodeError } from "../base";

export const WORLD = ["describe", "init", "process", "next", "finish", "snapshot", "restore"] as const;
export type WorldFunction = (typeof WORLD)[number];

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const MAX_ERROR_BYTES = 4 * limits.MAX_CAUSE_CHARS;

type Exported = (...parameters: number[]) => unknown;

/** The seven functions of the world. A node's own errors have the kind `raised`. */
export class World {
  private readonly memory: WebAssembly.Memory;
  private readonly functions = new Map<string, Exported>();

  /** Instantiates the module, which runs its start function, then `_initialize`. */
  constructor(module: WebAssembly.Module) {
    const instance = trapping(() => new WebAssembly.Instance(module));
    this.memory = instance.exports.memory as WebAssembly.Memory;
    for (const [name, value] of Object.entries(instance.exports)) {
      if (typeof value === "function") this.functions.set(name, value as Exported);
    }
    if (this.functions.has("_initialize")) this.run("_initialize");
  }

  /** The JSON that lists the module's node types. */
  describe(): string {
    const result = this.call("describe");
    const view = this.view(result, 8);
    const text = this.text(view.getUint32(0, true), view.getUint32(4, true), limits.MAX_DESCRIBE_BYTES);
    this.post("describe", result);
    return text;
  }

  /** Makes the instance a node of that type. Once, and only `describe` may come before. */
  init(nodeType: string, params: Uint8Array): void {
    this.unit("init", ...this.lower(utf8.encode(nodeType)), ...this.lower(params));
  }

  /** One input: the first part, or none. */
  process(value: Uint8Array): Uint8Array | null {
    return this.part("process", ...this.lower(value));
  }

  /** The next part of the same input. */
  next(): Uint8Array | null {
    return this.part("next");
  }

  /** The end of the stream: the first part of what comes then. */
  finish(): Uint8Array | null {
    return this.part("finish");
  }

  /** The state, an encoded value. */
  snapshot(): Uint8Array {
    const result = this.call("snapshot");
    const view = this.view(result, 12);
    this.raiseError("snapshot", result, view);
    const state = this.list(view.getUint32(4, true), view.getUint32(8, true), limits.MAX_SNAPSHOT_BYTES);
    this.post("snapshot", result);
    return state;
  }

  /** Back to a state. */
  restore(state: Uint8Array): void {
    this.unit("restore", ...this.lower(state));
  }

  /** Calls a function of `result<option<list<u8>>, string>`: 16 bytes. */
  private part(name: WorldFunction, ...parameters: number[]): Uint8Array | null {
    const result = this.call(name, ...parameters);
    const view = this.view(result, 16);
    this.raiseError(name, result, view);
    const some = view.getUint8(4);
    if (some > 1) throw broken(`${name} answered an option with tag ${some}`);
    const part = some ? this.list(view.getUint32(8, true), view.getUint32(12, true), limits.MAX_VALUE_BYTES) : null;
    this.post(name, result);
    return part;
  }

  /** Calls a function of `result<_, string>`: 12 bytes. */
  private unit(name: WorldFunction, ...parameters: number[]): void {
    const result = this.call(name, ...parameters);
    this.raiseError(name, result, this.view(result, 12));
    this.post(name, result);
  }

  /** The error of a result whose tag says so. */
  private raiseError(name: WorldFunction, result: number, view: DataView): void {
    const tag = view.getUint8(0);
    if (tag > 1) throw broken(`${name} answered a result with tag ${tag}`);
    if (tag === 0) return;
    const text = this.text(view.getUint32(4, true), view.getUint32(8, true), MAX_ERROR_BYTES);
    this.post(name, result);
    throw new NodeError(text.slice(0, limits.MAX_CAUSE_CHARS) || `${name} failed without a word`);
  }

  /** Lets the guest free an answer that was read. */
  private post(name: WorldFunction, result: number): void {
    if (this.functions.has(`cabi_post_${name}`)) this.run(`cabi_post_${name}`, result);
  }

  /** Copies a `list<u8>` or a string to where the guest wants it. */
  private lower(data: Uint8Array): [number, number] {
    const address = this.call("cabi_realloc", 0, 0, 1, data.length);
    this.bytes(address, data.length).set(data);
    return [address, data.length];
  }

  /** Calls a function that answers an i32. */
  private call(name: string, ...parameters: number[]): number {
    const answer = this.run(name, ...parameters);
    // the types of exports cannot be asked for in JavaScript
    if (typeof answer !== "number" || !Number.isInteger(answer)) throw broken(`${name} does not answer an i32`);
    return answer >>> 0;
  }

  private run(name: string, ...parameters: number[]): unknown {
    return trapping(() => this.functions.get(name)!(...parameters));
  }

  /** The fixed part of an answer. */
  private view(address: number, size: number): DataView {
    if (address % 4 !== 0) throw broken(`the address 0x${address.toString(16)} of an answer is not aligned to 4 bytes`);
    this.bytes(address, size);
    return new DataView(this.memory.buffer, address, size);
  }

  private list(address: number, size: number, limit: number): Uint8Array<ArrayBuffer> {
    if (size > limit) throw broken(`an answer of ${size} bytes is more than ${limit}`);
    return this.bytes(address, size).slice();
  }

  private text(address: number, size: number, limit: number): string {
    const bytes = this.list(address, size, limit);
    try {
      return strictUtf8.decode(bytes);
    } catch {
      throw broken("a text is no UTF-8");
    }
  }

  /** The guest's memory there; its buffer is another one after each growth. */
  private bytes(address: number, size: number): Uint8Array<ArrayBuffer> {
    const { buffer } = this.memory;
    if (address + size > buffer.byteLength) {
      throw broken(`${size} bytes at 0x${address.toString(16)} are outside of the memory's ${buffer.byteLength}`);
    }
    return new Uint8Array(buffer, address, size);
  }
}

/** The error of a module that breaks the ABI, or that trapped. */
export function broken(what: string): NodeError {
  return new NodeError(what.slice(0, limits.MAX_CAUSE_CHARS), "trapped");
}

/** Runs guest code; whatever it throws (a trap, a stack overflow) is the guest's. */
function trapping<T>(guest: () => T): T {
  try {
    return guest();
  } catch (error) {
    throw broken(`it trapped: ${String(error)}`);
  }
}
