/** The compiled pipeline and its plan (docs/wire.md, 5): what the planner answers, and all that a peer runs. */

import limits from "../generated/limits.json";

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

export interface Place {
  peer: string;
  runtime: RuntimeName;
}

export interface PlanStep {
  from_seq: number;
  nodes: Record<string, { on: Place[]; share: "modulo" }>;
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
  /** What a person should know before it is run; absent where the planner is older. */
  warnings?: string[];
}

/** The graph of a value that came from outside; throws an Error that says what an engine could stumble over. */
export function graphFromValue(value: unknown): Graph {
  const fields = record(value, "the graph");
  const nodes = list(fields.nodes, "nodes", limits.MAX_NODES).map(readNode);
  const edges = list(fields.edges, "edges", limits.MAX_CONNECTIONS + 2 * limits.MAX_NODES).map(readEdge);
  const graph = { nodes, edges, order: list(fields.order, "order", limits.MAX_NODES).map((id) => text(id, "order")) };
  checkShape(graph);
  return graph;
}

/** The graph of a plan's JSON, where bytes are `{"$bytes": base64}`. */
export function graphFromJson(json: unknown): Graph {
  const fields = record(json, "the graph");
  const nodes = list(fields.nodes, "nodes", limits.MAX_NODES).map((each) => {
    const node = record(each, "nodes");
    const base64 = text(record(node.params, "params").$bytes, "params", limits.MAX_MANIFEST_BYTES * 2);
    return { ...node, params: Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)) };
  });
  return graphFromValue({ ...fields, nodes });
}

/** Whether two graphs are one pipeline, compiled alike. */
export function sameGraph(one: Graph, other: Graph): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function readNode(value: unknown): GraphNode {
  const fields = record(value, "nodes");
  if (!(fields.params instanceof Uint8Array)) throw new Error("nodes: params must be an encoded map");
  const timeout = fields.timeout_s;
  if (typeof timeout !== "number" || !(timeout > 0 && timeout <= limits.MAX_TIMEOUT_S)) {
    throw new Error("nodes: timeout_s is out of range");
  }
  return {
    id: text(fields.id, "id"),
    node_type: text(fields.node_type, "node_type"),
    params: fields.params,
    arity: oneOf(fields.arity, ["one", "maybe", "many"]),
    join: fields.join === true,
    optional: list(fields.optional, "optional", limits.MAX_PORTS).map((port) => text(port, "optional")),
    stateful: fields.stateful === true,
    deterministic: fields.deterministic === true,
    finishes: fields.finishes === true,
    snapshots: fields.snapshots === true,
    timeout_s: timeout,
  };
}

function readEdge(value: unknown): Edge {
  const fields = record(value, "edges");
  return {
    from: fields.from === null ? null : text(fields.from, "from"),
    to: fields.to === null ? null : text(fields.to, "to"),
    port: text(fields.port, "port"),
    list: fields.list === true,
    overflow: oneOf(fields.overflow, ["block", "drop_oldest"]),
  };
}

/** Ids, edges and order belong together; every node is fed and feeds, by as many edges as it may. */
function checkShape({ nodes, edges, order }: Graph): void {
  const ids = new Map(nodes.map((node) => [node.id, node]));
  const rank = new Map(order.map((id, index) => [id, index]));
  if (ids.size === 0 || ids.size !== nodes.length) throw new Error("nodes: ids are unique, and there is at least one");
  if (rank.size !== order.length || order.length !== nodes.length || order.some((id) => !ids.has(id))) {
    throw new Error("order: every node comes once");
  }
  for (const edge of edges) {
    const ends = [edge.from, edge.to].filter((id) => id !== null);
    if (ends.length === 0 || ends.some((id) => !ids.has(id))) throw new Error("edges: one begins or ends at no node");
    if (ends.length === 2 && rank.get(ends[0]!)! >= rank.get(ends[1]!)!) {
      throw new Error(`order: '${ends[0]}' feeds '${ends[1]}' and comes after it`);
    }
    if (edge.to === null && edge.port !== edge.from) throw new Error("edges: a result's port is its sink's id");
  }
  for (const { id, join } of nodes) {
    const inputs = edges.filter((edge) => edge.to === id);
    if (inputs.length === 0 || !edges.some((edge) => edge.from === id)) {
      throw new Error(`edges: nothing goes into '${id}', or nothing out of it`);
    }
    if (inputs.length > 1 && !join) throw new Error(`edges: '${id}' is no join and has ${inputs.length} inputs`);
    if (new Set(inputs.map((edge) => edge.port)).size < inputs.length)
      throw new Error(`edges: a port of '${id}' twice`);
  }
}

function record(value: unknown, place: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${place}: not a map`);
  return value as Record<string, unknown>;
}

function list(value: unknown, place: string, limit: number): unknown[] {
  if (!Array.isArray(value) || value.length > limit) throw new Error(`${place}: a list of at most ${limit}`);
  return value;
}

function text(value: unknown, place: string, limit = limits.MAX_ID_CHARS): string {
  if (typeof value !== "string" || value.length > limit) throw new Error(`${place}: a text of at most ${limit}`);
  return value;
}

function oneOf<Word extends string>(value: unknown, words: readonly Word[]): Word {
  const word = words.find((each) => each === value);
  if (word === undefined) throw new Error(`${String(value)} is none of ${words.join(", ")}`);
  return word;
}
