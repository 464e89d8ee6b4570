/** What a runtime is to the rest, as in mesh/runtimes/base.py. */

import type { GraphNode, RuntimeName } from "../run/graph";

/** Parts of one input, as encoded values; `more`: ask `next` for further ones. */
export interface Answer {
  parts: Uint8Array[];
  more: boolean;
}

/** The fault of a node. After `timeout`, `trapped` and `crashed` the instance is closed. */
export class NodeError extends Error {
  constructor(
    message: string,
    readonly kind: "raised" | "trapped" | "timeout" | "crashed" | "answer" = "raised",
  ) {
    super(message);
  }
}

/** One node, alive; one call at a time. Every method rejects with NodeError for the node's faults. */
export interface Instance {
  process(payload: Uint8Array): Promise<Answer>;
  next(): Promise<Answer>;
  finish(): Promise<Answer>;
  snapshot(): Promise<Uint8Array>;
  restore(state: Uint8Array): Promise<void>;
  close(): void;
}

export interface Runtime {
  readonly name: RuntimeName;
  /** Specs as JSON (docs/wire.md, 6), without `runtimes`. */
  types(): Promise<NodeSpec[]>;
  create(node: GraphNode): Promise<Instance>;
  close(): void;
}

export interface NodeSpec {
  node_type: string;
  doc: string;
  params: Record<string, { kind: string; default?: unknown; doc?: string; choices?: unknown[] }>;
  accepts: string;
  returns: string;
  arity: "one" | "maybe" | "many";
  join: boolean;
  optional?: string[];
  stateful: boolean;
  deterministic: boolean;
  finishes: boolean;
  snapshots: boolean;
  runtimes?: RuntimeName[];
}
