/** What a module of nodes must look like before any of it runs, as in mesh/runtimes/guest.py. */

import limits from "../../generated/limits.json";
import { NodeError } from "../base";
import { WORLD } from "./canonical";

const PAGE_BYTES = 65_536;
const MEMORY_SECTION = 5;

/** Compiles a module that imports nothing and has a memory maximum; NodeError says what is wrong with another one. */
export function compile(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  if (bytes.length > limits.MAX_MODULE_BYTES) {
    throw refusal(`it has ${bytes.length} bytes, more than ${limits.MAX_MODULE_BYTES}`);
  }
  let module: WebAssembly.Module;
  try {
    module = new WebAssembly.Module(bytes);
  } catch (error) {
    throw refusal(`it is no valid WebAssembly: ${String(error)}`);
  }
  const imports = WebAssembly.Module.imports(module).map((each) => `${each.module}.${each.name}`);
  if (imports.length > 0)
    throw refusal(`it imports ${imports.slice(0, 5).join(", ")}; a module of nodes imports nothing`);
  const kinds = new Map(WebAssembly.Module.exports(module).map((each) => [each.name, each.kind]));
  for (const name of ["cabi_realloc", ...WORLD]) {
    if (kinds.get(name) !== "function") throw refusal(`it does not export the function ${name}`);
  }
  if (kinds.get("memory") !== "memory") throw refusal("it does not export a memory");
  checkMemory(bytes);
  return module;
}

/** JavaScript does not tell a memory's maximum, so it is read from the valid binary (WebAssembly 2.0, 5.5.8). */
function checkMemory(bytes: Uint8Array): void {
  const reader = new Reader(bytes.subarray(8));
  while (!reader.atEnd) {
    const id = reader.byte();
    const section = reader.take(reader.u32());
    if (id !== MEMORY_SECTION) continue;
    if (section.u32() !== 1) throw refusal("it has several memories");
    const flags = section.u32();
    if ((flags & 1) === 0) throw refusal("its memory has no maximum; link it with --max-memory");
    if (flags !== 1) throw refusal("its memory is shared, or not of 32 bits");
    section.u32();
    if (section.u32() * PAGE_BYTES > limits.MAX_WASM_MEMORY_BYTES) {
      throw refusal(`the maximum of its memory is above ${limits.MAX_WASM_MEMORY_BYTES} bytes`);
    }
    return;
  }
}

class Reader {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  get atEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    return this.bytes[this.at++] ?? 0;
  }

  /** LEB128. */
  u32(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  take(size: number): Reader {
    this.at += size;
    return new Reader(this.bytes.subarray(this.at - size, this.at));
  }
}

/** The error of a module that is not taken. */
export function refusal(why: string): NodeError {
  return new NodeError(why.slice(0, limits.MAX_CAUSE_CHARS), "answer");
}
