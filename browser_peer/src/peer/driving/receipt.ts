/** What a run says of itself: to the page while it goes on, to dashboards (docs/wire.md, 6), and in its receipt. */

import type { WorkerStats } from "../../protocol/messages";

import type { Graph } from "../../run/graph";
import type { Counts } from "../../run/outcome";
import { summaries } from "../host";
import type { EpochRecord, ItemFailure, MoveRecord, NodeTimes, Receipt, RunProgress } from "../types";
import type { Epoch } from "./epoch";

/** A run as it stands; `graph` is there once there is a plan. */
export interface Account {
  id: string;
  name: string;
  state: RunProgress["state"];
  detail: string;
  /** Why it does not go on as it is, and the nodes that need another place. */
  reason(): string;
  nodes(): string[];
  error: Error | undefined;
  graph: Graph | undefined;
  epochs: readonly Epoch[];
  counts: Readonly<Counts>;
  told: Iterable<WorkerStats>;
  moved: MoveRecord[];
  failures: ItemFailure[];
  elapsedMs: number;
}

/** For the page. */
export function progressOf(run: Account): RunProgress {
  const { items_in, results_out, done, filtered, failed, dropped, replayed, duplicates_dropped } = run.counts;
  const reason = run.reason();
  return {
    state: run.state,
    detail: run.detail,
    items_in,
    results_out,
    in_flight: items_in - done - filtered - failed - dropped - run.counts.cancelled,
    errors: run.failures.length,
    replayed,
    duplicates_dropped,
    epochs: run.epochs.map(recordOf),
    trouble: reason === "" ? null : { reason, nodes: run.nodes() },
    node_ms: nodeMs(run),
    elapsed_ms: run.elapsedMs,
  };
}

/** `run` of a report to the signaling server; `reason`: why it failed, or stands still. */
export function reportOf(run: Account): object {
  const { items_in, results_out } = run.counts;
  const reason = run.error?.message ?? run.reason();
  return {
    id: run.id,
    name: run.name,
    state: run.state,
    items_in,
    results_out,
    errors: run.failures.length,
    placement: run.epochs.at(-1)?.seats() ?? {},
    node_ms: nodeMs(run),
    ...(reason === "" ? {} : { reason }),
  };
}

/** The contract's form of a run that is over, and `dropped`, `cancelled`, `moves`, `errors` and perhaps `reason`. */
export function receiptOf(run: Account): Receipt {
  const { items_in, results_out, done, filtered, failed, dropped, replayed, duplicates_dropped } = run.counts;
  return {
    run_id: run.id,
    status: run.state as Receipt["status"],
    items_in,
    results_out,
    seqs: { done, filtered, failed },
    dropped,
    cancelled: run.counts.cancelled,
    replayed,
    duplicates_dropped,
    epochs: run.epochs.map(recordOf),
    moves: run.moved,
    execution_order: run.graph?.order ?? [],
    node_ms: nodeMs(run),
    link_bytes: linkBytes(run),
    errors: run.failures,
    ...(run.error === undefined ? {} : { reason: run.error.message }),
  };
}

function recordOf(epoch: Epoch): EpochRecord {
  return { epoch: epoch.number, reason: epoch.reason, placement: epoch.began };
}

/**
 * Times of each node's calls, here and on the workers that told theirs. Of a node that moved, the calls of all its places are
 * counted; the percentiles are those of the place with the most.
 */
function nodeMs({ epochs, told }: Account): Record<string, NodeTimes> {
  const here = epochs.at(-1)?.site.host.times;
  const merged: Record<string, NodeTimes & { most: number }> = Object.create(null);
  for (const nodes of [...Array.from(told, (each) => each.nodes), here === undefined ? {} : summaries(here)]) {
    for (const [node, times] of Object.entries(nodes)) {
      const { count, most } = merged[node] ?? { count: 0, most: 0 };
      const shown = times.count > most ? times : merged[node]!;
      merged[node] = { ...shown, count: count + times.count, most: Math.max(most, times.count) };
    }
  }
  return Object.fromEntries(Object.entries(merged).map(([node, { count, p50, p95 }]) => [node, { count, p50, p95 }]));
}

/** What the driver sent in all epochs, and what the workers told that they did. */
function linkBytes({ epochs, told }: Account): Record<string, number> {
  const names = new Map(epochs.flatMap((epoch) => [...epoch.names]));
  const links: Record<string, number> = { ...epochs.at(-1)?.site.linkBytes(names) };
  for (const each of told) {
    for (const [link, bytes] of Object.entries(each.links)) links[link] = (links[link] ?? 0) + bytes;
  }
  return links;
}
