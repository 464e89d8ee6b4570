/** The compiled pipeline and its plan (docs/wire.md, 5): what the planner answers, and all that a peer runs. */

export type Arity = "one" | "maybe" | "many";
export type RuntimeName = "wasm" | "python" | "pyodide";

export interface GraphNode {
  id: string;
  node_type: string;
  /** An encoded map with the defaults applied. */
  params: Uint8Array;
  arity: Arity;
  join: boolean;
  optional: string[];
  stateful: boolean;
  deterministic: boolean;
  finishes: boolean;
  snapshots: boolean;
  timeout_s: number;
}

export interface Edge {
  from: string | null;
  to: string | null;
  port: string;
  list: boolean;
  overflow: "block" | "drop_oldest";
}

export interface Graph {
  nodes: GraphNode[];
  edges: Edge[];
  order: string[];
}

export interface Seat {
  peer: string;
  runtime: RuntimeName;
}

export interface PlanStep {
  from_seq: number;
  nodes: Record<string, { on: Seat[]; share: "modulo" }>;
}

/** One peer considered for one node. `ms` is what an item would take as a whole with the node there; `lacks` says why it cannot. */
export interface Candidate {
  peer: string;
  name: string;
  runtime: RuntimeName | null;
  chosen: boolean;
  ms: number | null;
  terms: Record<string, number>;
  lacks: string[];
  reason: string;
}

export interface Plan {
  epoch: number;
  steps: PlanStep[];
  latency_ms: number;
  why: Record<string, Candidate[]>;
}
