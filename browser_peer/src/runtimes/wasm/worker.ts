/** The module worker of one WebAssembly node, or of one module that is asked what it holds. */

import type { Arity } from "../../run/graph";
import { NodeError, type NodeSpec } from "../base";
import { type Reply, transferables } from "../remote";
import { World } from "./canonical";
import { compile } from "./module";
import { WasmNode } from "./node";
import { readSpecs } from "./spec";

/** What the near end sends. */
export type Request =
  | { id: number; op: "describe"; bytes: Uint8Array<ArrayBuffer> }
  | { id: number; op: "init"; module: WebAssembly.Module; nodeType: string; params: Uint8Array; arity: Arity }
  | { id: number; op: "process" | "restore"; payload: Uint8Array }
  | { id: number; op: "next" | "finish" | "snapshot" };

export interface Described {
  module: WebAssembly.Module;
  specs: NodeSpec[];
}

let node: WasmNode;

function perform(request: Request): unknown {
  switch (request.op) {
    case "describe": {
      const module = compile(request.bytes);
      return { module, specs: readSpecs(new World(module).describe()) } satisfies Described;
    }
    case "init":
      node = new WasmNode(request.module, request.nodeType, request.params, request.arity);
      return null;
    case "process":
    case "restore":
      return node[request.op](request.payload) ?? null;
    default:
      return node[request.op]();
  }
}

self.onmessage = ({ data }: MessageEvent<Request>) => {
  let reply: Reply;
  try {
    reply = { id: data.id, answer: perform(data) };
  } catch (error) {
    const kind = error instanceof NodeError ? error.kind : "crashed";
    reply = { id: data.id, error: error instanceof Error ? error.message : String(error), kind };
  }
  self.postMessage(reply, "answer" in reply ? { transfer: transferables(reply.answer) } : {});
};
