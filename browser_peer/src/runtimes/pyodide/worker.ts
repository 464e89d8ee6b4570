/** The module worker of Pyodide, which holds all Python nodes of the tab. */

import type { PyBufferView, PyProxy } from "pyodide/ffi";
import { info } from "pyodide/pyodide-lock.json";
import type { NodeError } from "../base";
import { type Reply, transferables } from "../remote";
import bridge from "./bridge.py?raw";

/** What the near end sends: `load` first and alone, then calls to nodes. */
export type Request =
  | { id: number; op: "load"; base: string }
  | { id: number; op: "init"; node: number; nodeType: string; payload: Uint8Array }
  | {
      id: number;
      op: "process" | "next" | "finish" | "snapshot" | "restore" | "close";
      node: number;
      payload?: Uint8Array;
    };

/** How much of Pyodide has arrived. */
export interface Loaded {
  bytes: number;
}

type Call = (id: number, node: number, op: string, ...parameters: (string | Uint8Array)[]) => void;

let call: Call;

function reply(message: Reply): void {
  self.postMessage(message, "answer" in message ? { transfer: transferables(message.answer) } : {});
}

/** What bridge.py answers through. The proxies of `parts` end with the call. */
const answers = {
  deliver: (id: number, more: boolean, ...parts: PyProxy[]) =>
    reply({ id, answer: { parts: parts.map((part) => copyOf(part as PyProxy & Buffered)), more } }),
  fail: (id: number, kind: NodeError["kind"], error: string) => reply({ id, error, kind }),
  suspend: (id: number) => reply({ id, suspended: true }),
};

interface Buffered {
  getBuffer(type: "u8"): PyBufferView;
}

function copyOf(bytes: Buffered): Uint8Array {
  const view = bytes.getBuffer("u8");
  try {
    return (view.data as Uint8Array).slice();
  } finally {
    view.release();
  }
}

/** Loads Pyodide and our modules from `base`, telling how many bytes have come. */
async function load(base: string): Promise<void> {
  const plainFetch = self.fetch;
  let bytes = 0;
  self.fetch = async (...request) => {
    const response = await plainFetch(...request);
    if (response.body === null) return response;
    const counter = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.length;
        self.postMessage({ bytes } satisfies Loaded);
        controller.enqueue(chunk);
      },
    });
    return new Response(response.body.pipeThrough(counter), response);
  };
  try {
    const ours = self.fetch(`${base}mesh.zip`).then((response) => response.arrayBuffer());
    const { loadPyodide, version } = (await import(
      /* @vite-ignore */ `${base}pyodide.mjs`
    )) as typeof import("pyodide");
    const python = await loadPyodide({
      indexURL: base,
      lockFileContents: { info: { ...info, arch: "wasm32", version }, packages: {} },
      packageBaseUrl: base,
    });
    python.unpackArchive(await ours, "wheel");
    python.registerJsModule("worker", answers);
    const scope = python.globals.get("dict")();
    python.runPython(bridge, { globals: scope, filename: "bridge.py" });
    call = scope.get("call");
  } finally {
    self.fetch = plainFetch;
  }
}

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  try {
    if (data.op === "load") {
      await load(data.base);
      reply({ id: data.id, answer: null });
    } else {
      const named = data.op === "init" ? [data.nodeType] : [];
      call(data.id, data.node, data.op, ...named, ...(data.payload === undefined ? [] : [data.payload]));
    }
  } catch (error) {
    reply({ id: data.id, error: String(error), kind: "crashed" });
  }
};
