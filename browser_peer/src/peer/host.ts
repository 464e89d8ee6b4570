/** The nodes of a run that live on this peer: the fragment engine's instructions, carried out by the runtimes. */

import type { Frame, Instruction, Resumption } from "../run/events";
import { Fragment } from "../run/fragment";
import type { Graph, GraphNode, RuntimeName } from "../run/graph";
import type { Placement, Seat } from "../run/placement";
import { type Instance, NodeError, type Runtime } from "../runtimes/base";
import type { NodeTimes } from "./types";

export type Runtimes = ReadonlyMap<RuntimeName, Runtime>;
type Call = Extract<Instruction, { do: "call" }>;

/** Calls that the percentiles look back on. */
const RECENT_CALLS = 2048;

/** Durations of one node's calls, in milliseconds, in a bounded space. */
export class Times {
  private count = 0;
  private readonly recent: number[] = [];

  add(ms: number): void {
    this.recent[this.count % RECENT_CALLS] = ms;
    this.count += 1;
  }

  /** Nearest rank over the last calls; null before the first. */
  summary(): NodeTimes | null {
    if (this.count === 0) return null;
    const ranked = [...this.recent].sort((a, b) => a - b);
    const rank = (share: number) => round(ranked[Math.min(ranked.length - 1, Math.floor(share * ranked.length))]!);
    return { count: this.count, p50: rank(0.5), p95: rank(0.95) };
  }
}

/** Milliseconds to four digits after the point. */
function round(ms: number): number {
  return Math.round(ms * 1e4) / 1e4;
}

export interface HostOptions {
  resumption: Resumption;
  /** What the host cannot do itself: frames, credit, errors. */
  execute(instructions: Instruction[]): void;
  /** Of the run's calls here so far, by node; they are added to. */
  times: Map<string, Times>;
}

/** Runs a fragment. */
export class Host {
  readonly times: Map<string, Times>;
  /** That ended, of each node. */
  private readonly calls = new Map<string, number>();
  private readonly nodes: ReadonlyMap<string, GraphNode>;
  private seats: readonly Seat[];
  /** Of a step that has not begun. */
  private prepared: readonly Seat[] = [];
  private readonly instances = new Map<Seat, Instance>();
  private readonly fragment: Fragment;
  private readonly underWay = new Map<Seat, Call>();
  private closed = false;

  constructor(
    graph: Graph,
    private readonly placement: Placement,
    private readonly me: string,
    private readonly runtimes: Runtimes,
    private readonly options: HostOptions,
  ) {
    const { resumption, times } = options;
    this.times = times;
    this.seats = placement.seats(me);
    this.nodes = new Map(graph.nodes.map((node) => [node.id, node]));
    this.fragment = new Fragment(graph, placement, me, resumption);
    for (const { node } of this.seats) if (!times.has(node)) times.set(node, new Times());
  }

  /** How many calls are under way. */
  get running(): number {
    return this.underWay.size;
  }

  /** Makes every instance, in its state; rejects with a NodeError that names the node where one cannot be made. */
  async setup(): Promise<void> {
    const { states } = this.options.resumption;
    await Promise.all(this.seats.map((seat) => this.create(seat)));
    await Promise.all(this.seats.map((seat) => this.restore(seat, states.get(seat.node))));
  }

  private async restore(seat: Seat, state: Uint8Array | undefined): Promise<void> {
    if (state === undefined) return;
    try {
      await this.instances.get(seat)?.restore(state);
    } catch (error) {
      const fault = asNodeError(error);
      throw new NodeError(`node '${seat.node}' could not be restored: ${fault.message}`, fault.kind);
    }
  }

  private async create(seat: Seat): Promise<void> {
    const runtime = this.runtimes.get(seat.runtime);
    if (runtime === undefined) throw new NodeError(`there is no runtime ${seat.runtime} here`);
    let instance: Instance;
    try {
      instance = await runtime.create(this.nodes.get(seat.node)!);
    } catch (error) {
      const fault = asNodeError(error);
      throw new NodeError(`node '${seat.node}' could not be set up: ${fault.message}`, fault.kind);
    }
    if (this.closed) instance.close();
    this.instances.set(seat, instance);
  }

  /** Of each node the calls that ended, the lowest seq that did not, and whether a call is under way. */
  progress(): Record<string, [ended: number, seq: number, busy: boolean]> {
    const nodes: Record<string, [number, number, boolean]> = {};
    for (const [{ node }, [seq, busy]] of this.fragment.progress()) {
      const [, lowest, anyBusy] = nodes[node] ?? [0, seq, false];
      nodes[node] = [this.calls.get(node) ?? 0, Math.min(seq, lowest), busy || anyBusy];
    }
    return nodes;
  }

  // A planned move

  /** Makes the instances of a step to come; rejects with a NodeError that names the node where one cannot be made. */
  async prepare(seats: readonly Seat[]): Promise<void> {
    this.prepared = seats;
    await Promise.all(seats.map((seat) => this.create(seat)));
  }

  /** The step that was prepared does not begin. */
  callOff(): void {
    for (const seat of this.prepared) this.discard(seat);
    this.prepared = [];
  }

  /** The placement has the step that was prepared, from `since` on. */
  cut(since: number): void {
    this.prepared = [];
    this.seats = this.placement.seats(this.me);
    for (const { node } of this.seats) if (!this.times.has(node)) this.times.set(node, new Times());
    this.carryOut(this.fragment.cut(since));
  }

  arrived(seat: Seat, state: Uint8Array): void {
    this.carryOut(this.fragment.arrived(seat, state));
  }

  private discard(seat: Seat): void {
    this.instances.get(seat)?.close();
    this.instances.delete(seat);
  }

  // Events

  frame(frame: Frame): void {
    this.carryOut(this.fragment.frame(frame));
  }

  credit(edge: number, seq: number, bytes: number): void {
    this.carryOut(this.fragment.credit(edge, seq, bytes));
  }

  cancel(seq: number): void {
    this.carryOut(this.fragment.cancel(seq));
  }

  /** Starts calls; passes everything else on, in order. */
  private carryOut(instructions: Instruction[]): void {
    if (this.closed) return;
    const others: Instruction[] = [];
    for (const instruction of instructions) {
      if (instruction.do === "call") this.watch(this.call(instruction));
      else if (instruction.do === "interrupt") this.interrupt(instruction.seat);
      else if (instruction.do === "recreate") this.watch(this.recreate(instruction.seat));
      else if (instruction.do === "retire") this.discard(instruction.seat);
      else others.push(instruction);
    }
    if (others.length > 0) this.options.execute(others);
  }

  /** A bug of ours must end the run, not hang it. */
  private watch(work: Promise<void>): void {
    work.catch((error: unknown) => this.options.execute([{ do: "fail", reason: `internal error: ${String(error)}` }]));
  }

  private async call(call: Call): Promise<void> {
    const started = performance.now();
    let report: () => Instruction[];
    this.underWay.set(call.seat, call);
    try {
      report = await this.perform(call);
    } catch (error) {
      const { kind, message } = asNodeError(error);
      report = () => this.fragment.failed(call.seat, kind, message);
    }
    if (this.underWay.get(call.seat) !== call) return; // it was given up
    this.underWay.delete(call.seat);
    this.calls.set(call.seat.node, (this.calls.get(call.seat.node) ?? 0) + 1);
    if (call.op !== "snapshot" && call.op !== "restore") {
      this.times.get(call.seat.node)!.add(performance.now() - started);
    }
    this.carryOut(report());
  }

  /** Makes the call; answers how to report it. The report and what it asks for must be one step, with nothing between. */
  private async perform({ seat, op, payload }: Call): Promise<() => Instruction[]> {
    const instance = this.instances.get(seat);
    if (instance === undefined) throw new NodeError("the node is gone", "crashed");
    if (op === "snapshot") {
      const state = await instance.snapshot();
      return () => this.fragment.snapshotted(seat, state);
    }
    if (op === "restore") {
      await instance.restore(payload!);
      return () => this.fragment.restored(seat);
    }
    const { parts, more } = op === "process" ? await instance.process(payload!) : await instance[op]();
    return () => this.fragment.answered(seat, parts, more);
  }

  /** What the call still answers is ignored. */
  private interrupt(seat: Seat): void {
    this.underWay.delete(seat);
    this.carryOut(this.fragment.failed(seat, "cancelled", ""));
  }

  private async recreate(seat: Seat): Promise<void> {
    this.discard(seat);
    let instructions: Instruction[];
    try {
      await this.create(seat);
      instructions = this.fragment.recreated(seat);
    } catch (error) {
      instructions = this.fragment.failed(seat, "crashed", asNodeError(error).message);
    }
    this.carryOut(instructions);
  }

  /** What one call took here: node type → runtime → median ms. */
  costs(): Record<string, Record<string, number>> {
    const costs: Record<string, Record<string, number>> = {};
    for (const { node, runtime } of this.seats) {
      const { node_type } = this.nodes.get(node)!;
      const times = this.times.get(node)!.summary();
      if (times !== null) costs[node_type] = { ...costs[node_type], [runtime]: times.p50 };
    }
    return costs;
  }

  /** Ends every instance; what its calls still answer is ignored. */
  close(): void {
    this.closed = true;
    for (const instance of this.instances.values()) instance.close();
    this.instances.clear();
  }
}

function asNodeError(error: unknown): NodeError {
  return error instanceof NodeError ? error : new NodeError(String(error), "crashed");
}

/** The times of every node that was called at all. */
export function summaries(times: ReadonlyMap<string, Times>): Record<string, NodeTimes> {
  const entries = [...times].map(([node, each]) => [node, each.summary()] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, NodeTimes] => entry[1] !== null));
}
