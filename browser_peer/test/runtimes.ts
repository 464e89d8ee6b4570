/** What the browser tests call: instances by name, payloads in hex. */

import type { GraphNode } from "../src/run/graph";
import { type Answer, type Instance, NodeError, type Runtime } from "../src/runtimes/base";
import { type PyodideProgress, PyodideRuntime } from "../src/runtimes/pyodide";
import { WasmRuntime } from "../src/runtimes/wasm";

const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
const hex = (data: Uint8Array) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");

const progress: PyodideProgress[] = [];
const runtimes: Record<string, Runtime> = {
  wasm: new WasmRuntime(),
  pyodide: new PyodideRuntime((each) => progress.push({ ...each })),
};
const instances = new Map<string, Instance>();

/** An outcome that a test can read: what was answered, or the error. */
async function outcome<T>(act: () => Promise<T>): Promise<T | { kind: string; text: string }> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof NodeError) return { kind: error.kind, text: error.message };
    throw error;
  }
}

const tests = {
  progress,
  types: async (runtime: string) => (await runtimes[runtime]!.types()).map((spec) => spec.node_type),

  create: (name: string, runtime: string, fields: Partial<GraphNode> & { node_type: string }, params = "80") =>
    outcome(async () => {
      const node = {
        ...{ id: name, arity: "one", join: false, optional: [], stateful: false, deterministic: true },
        ...{ finishes: false, snapshots: false, timeout_s: 20, params: bytes(params) },
        ...fields,
      } as GraphNode;
      instances.set(name, await runtimes[runtime]!.create(node));
      return null;
    }),

  /** Every part that a call gives. */
  call: (name: string, op: "process" | "finish", payload = "") =>
    outcome(async () => {
      const instance = instances.get(name)!;
      let answer: Answer = op === "process" ? await instance.process(bytes(payload)) : await instance.finish();
      const parts = [...answer.parts];
      while (answer.more) {
        answer = await instance.next();
        parts.push(...answer.parts);
      }
      return parts.map(hex);
    }),

  snapshot: (name: string) => outcome(async () => hex(await instances.get(name)!.snapshot())),
  restore: (name: string, state: string) => outcome(() => instances.get(name)!.restore(bytes(state))),
  close: (name: string) => instances.get(name)!.close(),

  /** Microseconds of one call, one after the other, with a payload of `size` bytes. */
  time: async (name: string, size: number, count: number) => {
    const payload = new Uint8Array(size + 5);
    payload[0] = 0xc6;
    new DataView(payload.buffer).setUint32(1, size);
    const began = performance.now();
    for (let n = 0; n < count; n += 1) await instances.get(name)!.process(payload);
    return ((performance.now() - began) * 1000) / count;
  },
};

Object.assign(window, { tests });
