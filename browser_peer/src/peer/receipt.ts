/** What a run says of itself: to the page while it goes on, to the dashboard, and in its receipt. */

import { type Counts, NO_COUNTS } from "../run/driver";
import type { Graph, Plan } from "../run/graph";
import { field } from "../run/placement";
import type { ItemFailure, NodeTimes, Receipt, RunProgress } from "./types";

/** A run as it stands. `placement` and `linkBytes` name peers; `counts` is there once the plan is. */
export interface Account {
  id: string;
  name: string;
  state: RunProgress["state"];
  detail: string;
  error: Error | undefined;
  graph: Graph | undefined;
  plan: Plan | undefined;
  counts: Readonly<Counts> | undefined;
  failures: ItemFailure[];
  placement: Record<string, string[]>;
  nodeMs: Record<string, NodeTimes>;
  linkBytes: Record<string, number>;
  elapsedMs: number;
}

/** What a worker measured. */
export interface WorkerStats {
  nodes: Record<string, NodeTimes>;
  links: Record<string, number>;
}

/** For the page. */
export function progressOf(run: Account): RunProgress {
  const { items_in, results_out, done, filtered, failed, dropped } = run.counts ?? NO_COUNTS;
  return {
    state: run.state,
    detail: run.detail,
    items_in,
    results_out,
    in_flight: items_in - done - filtered - failed - dropped,
    errors: run.failures.length,
    node_ms: run.nodeMs,
    elapsed_ms: run.elapsedMs,
  };
}

/** `run` of a report to the signaling server (docs/wire.md, 6). */
export function reportOf(run: Account): object {
  const { items_in, results_out } = run.counts ?? NO_COUNTS;
  return {
    id: run.id,
    name: run.name,
    state: run.state,
    items_in,
    results_out,
    errors: run.failures.length,
    placement: run.placement,
    node_ms: run.nodeMs,
    ...reason(run),
  };
}

/** The contract's receipt of a run that is over. */
export function receiptOf(run: Account): Receipt {
  const { items_in, results_out, done, filtered, failed, replayed, duplicates_dropped } = run.counts ?? NO_COUNTS;
  return {
    run_id: run.id,
    status: run.state as Receipt["status"],
    items_in,
    results_out,
    seqs: { done, filtered, failed },
    replayed,
    duplicates_dropped,
    epochs: run.plan ? [{ epoch: run.plan.epoch, reason: "start", placement: run.placement }] : [],
    execution_order: run.graph?.order ?? [],
    node_ms: run.nodeMs,
    link_bytes: run.linkBytes,
    errors: run.failures,
    ...reason(run),
  };
}

function reason({ error }: Account): { reason?: string } {
  return error ? { reason: error.message } : {};
}

/** The body of an ERROR: `[node, seq, kind, cause]`; throws where it is none. */
export function readError(body: unknown): [string, number, string, string] {
  const [node, seq, kind, cause] = ["node", "seq", "kind", "cause"].map((name) => field(body, name));
  if (typeof node !== "string" || typeof seq !== "number" || typeof kind !== "string" || typeof cause !== "string") {
    throw new Error("an error needs node, seq, kind and cause");
  }
  return [node, seq, kind, cause];
}

/** Node, seq, state and fault of a CHECKPOINT. */
export function readCheckpoint(body: unknown): [string, number, Uint8Array | null, string] {
  const [node, seq, state, fault] = ["node", "seq", "state", "fault"].map((name) => field(body, name));
  if (
    typeof node !== "string" ||
    typeof seq !== "number" ||
    !(state === null || state instanceof Uint8Array) ||
    typeof fault !== "string"
  ) {
    throw new Error("a checkpoint needs node, seq, state and fault");
  }
  return [node, seq, state, fault];
}

/** The body of a STATS_REPLY; what is not of its form is left out. */
export function readStats(body: unknown): WorkerStats {
  const nodes = Object.entries(field(body, "nodes") ?? {}).map(([node, times]) => {
    const [count, p50, p95] = ["count", "p50", "p95"].map((name) => Number(field(times, name)));
    return [node, { count, p50, p95 }];
  });
  const links = Object.entries(field(body, "links") ?? {}).filter(([, bytes]) => typeof bytes === "number");
  return { nodes: Object.fromEntries(nodes), links: Object.fromEntries(links) };
}
