/** What the page and other users of the library see of a peer. The class `Peer` (peer/peer.ts) implements `PeerApi`. */

import type { NodeTimes } from "../protocol/messages";
import type { Graph, Plan } from "../run/graph";
import type { NodeSpec } from "../runtimes/base";
import type { Path } from "../transport/ice";

/** An entry of the registry, as the signaling server sends it (docs/wire.md, 6). */
export interface PeerRecord {
  peer: string;
  name: string;
  can: string[];
  load: number;
  hidden: boolean;
  kind: "browser" | "server";
  runtimes: string[];
  types: NodeSpec[];
  caps: {
    gpu?: { type?: string; memory_gb?: number };
    cores?: number;
    arch?: string;
    memory_gb?: number;
    labels?: Record<string, string>;
  };
  slots: number;
  pyodide?: "absent" | "loading" | "ready";
}

export interface LinkStats {
  peer: string;
  name: string;
  rtt_ms: number | null;
  sent: number;
  received: number;
  bytes_per_s: number;
  path: Path;
  engine: string;
}

/** One part of one seq. `payload` is the encoded value; `toJson` and `fromValue` of values.ts read it. */
export interface Result {
  seq: number;
  part: number;
  payload: Uint8Array;
}

export interface ItemFailure {
  seq: number;
  node: string;
  peer: string;
  cause: string;
}

export type { NodeTimes };

/** Why an epoch of a run began, and who ran what in it, by name. */
export interface EpochRecord {
  epoch: number;
  reason: string;
  placement: Record<string, string[]>;
}

/** Nodes that moved while their epoch went on: who runs what from that seq on, by name. */
export interface MoveRecord {
  epoch: number;
  from_seq: number;
  reason: string;
  placement: Record<string, string[]>;
}

/** A part of a run is absent: `nodes` need another peer that can run them. */
export interface Trouble {
  reason: string;
  nodes: string[];
}

/** A snapshot of a run in progress, sent at most four times a second and at its end. */
export interface RunProgress {
  state: "planning" | "connecting" | "loading" | "running" | "done" | "failed" | "cancelled";
  detail: string;
  items_in: number;
  results_out: number;
  in_flight: number;
  errors: number;
  replayed: number;
  duplicates_dropped: number;
  epochs: EpochRecord[];
  /** Until there is another plan, or who was only silent is back. */
  trouble: Trouble | null;
  node_ms: Record<string, NodeTimes>;
  elapsed_ms: number;
}

/** contract.md, "Command line": what --receipt writes. */
export interface Receipt {
  run_id: string;
  status: "done" | "failed" | "cancelled";
  items_in: number;
  results_out: number;
  seqs: { done: number; filtered: number; failed: number };
  dropped: number;
  cancelled: number;
  replayed: number;
  duplicates_dropped: number;
  epochs: EpochRecord[];
  moves: MoveRecord[];
  execution_order: string[];
  node_ms: Record<string, NodeTimes>;
  link_bytes: Record<string, number>;
  errors: ItemFailure[];
  reason?: string;
}

export interface RunOptions {
  onError?: "stop" | "continue";
  signal?: AbortSignal;
  pins?: Record<string, string>;
  onProgress?: (progress: RunProgress) => void;
  /** The run goes by this plan from now on: once at its start, and again after each loss and each move. */
  onPlan?: (planned: { graph: Graph; plan: Plan }) => void;
  onFailure?: (failure: ItemFailure) => void;
}

/** A run: iterate it for its results, in (seq, part) order. Iterating throws what ended the run badly. */
export interface RunHandle extends AsyncIterable<Result> {
  readonly id: string;
  /** Known once the plan is there; rejects with PlanRefused or ManifestFaults. */
  readonly planned: Promise<{ graph: Graph; plan: Plan }>;
  readonly receipt: Promise<Receipt>;
  cancel(): void;
}

export interface Fault {
  path: string;
  message: string;
}

/** The manifest is invalid: every fault at once. */
export class ManifestFaults extends Error {
  override readonly name = "ManifestFaults";

  constructor(readonly faults: readonly Fault[]) {
    super(faults.map(({ path, message }) => `${path}: ${message}`).join("\n"));
  }
}

/** Why one peer cannot run one node. */
export interface Refusal {
  node: string;
  peer: string;
  lacks: string[];
}

/** No peer fits at least one node; the text lists every peer and what it lacks. */
export class PlanRefused extends Error {
  override readonly name = "PlanRefused";

  constructor(
    message: string,
    readonly refusals: readonly Refusal[],
  ) {
    super(message);
  }
}

/** A run ended without finishing; `failure` is the item error where one ended it. */
export class RunError extends Error {
  override readonly name = "RunError";

  constructor(
    message: string,
    readonly failure?: ItemFailure,
  ) {
    super(message);
  }
}

/** Events of a peer, dispatched as CustomEvent on it: `peers`, `links`, `signaling` ("connected" | "away"), `pyodide` (progress). */
export interface PeerApi extends EventTarget {
  readonly id: string;
  readonly name: string;
  readonly room: string;
  readonly peers: ReadonlyMap<string, PeerRecord>;
  readonly links: ReadonlyMap<string, LinkStats>;
  plan(manifest: string, pins?: Record<string, string>): Promise<{ graph: Graph; plan: Plan }>;
  /** Items are encoded values (values.ts: encode, fromJson). */
  run(manifest: string, items: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, options?: RunOptions): RunHandle;
  close(): Promise<void>;
}
