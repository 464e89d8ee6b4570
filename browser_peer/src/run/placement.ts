/**
 * Who runs what: the part of a plan that peers act on (docs/wire.md, 5).
 *
 * A node may have several **seats**, each an instance of its own; its seqs go round them. What leads on one edge from one
 * seat to another is a **strand**: in order, with credit of its own. So a slow replica holds up only what is for it.
 */

import limits from "../generated/limits.json";
import { field } from "../protocol/messages";
import type { Graph, RuntimeName } from "./graph";

const RUNTIMES: readonly string[] = ["wasm", "python", "pyodide"] satisfies RuntimeName[];

/** An instance of a node, on a peer: it serves every `share`-th seq, those with the remainder `index`. */
export class Seat {
  /** The first seq that it does not serve any more. */
  until = Number.POSITIVE_INFINITY;

  /** The first that it serves. */
  since = 0;

  constructor(
    readonly node: string,
    readonly peer: string,
    readonly runtime: RuntimeName,
    readonly index = 0,
    readonly share = 1,
  ) {}

  /** The first seq from `seq` on that it serves; undefined where there is none. */
  first(seq: number): number | undefined {
    const from = Math.max(seq, this.since);
    const first = from + modulo(this.index - from, this.share);
    return first < this.until ? first : undefined;
  }

  /** Whether there may be a seq that both serve. */
  meets(other: Seat): boolean {
    const since = Math.max(this.since, other.since);
    const apart = modulo(this.index - other.index, greatestDivisor(this.share, other.share));
    return apart === 0 && since < Math.min(this.until, other.until);
  }
}

/** The first seq from `seq` on that both serve, of two seats that meet; at most `share` steps away. */
export function firstOfBoth(one: Seat, other: Seat, seq: number): number | undefined {
  for (let next = seq; ; ) {
    const first = one.first(next);
    const second = first === undefined ? undefined : other.first(first);
    if (second === undefined || first === second) return second;
    next = second;
  }
}

function modulo(number: number, by: number): number {
  return ((number % by) + by) % by;
}

function greatestDivisor(one: number, other: number): number {
  return other === 0 ? one : greatestDivisor(other, one % other);
}

/** The seats of nodes, from some seq on. */
export type Step = ReadonlyMap<string, readonly Seat[]>;

/** `seat(node, seq)`, and what follows from it for the edges of the graph. */
export class Placement {
  private readonly end: Seat;
  /** The seats of each node, one list for each time that it moved. */
  private readonly turns: ReadonlyMap<string, (readonly Seat[])[]>;

  private constructor(
    private readonly graph: Graph,
    readonly driver: string,
    steps: readonly (readonly [number, Step])[],
  ) {
    this.end = new Seat("", driver, "wasm");
    this.turns = new Map(graph.nodes.map((node) => [node.id, []]));
    for (const [since, step] of steps) this.add(since, step);
  }

  /** Reads a plan, which may come from outside; throws an Error that says what is wrong with it. */
  static fromPlan(graph: Graph, driver: string, plan: unknown): Placement {
    const steps = field(plan, "steps");
    if (!Array.isArray(steps) || steps.length === 0) throw new Error("not a plan: it has no steps");
    const starts = steps.map((step) => field(step, "from_seq"));
    starts.forEach((since, index) => {
      const ascends =
        Number.isSafeInteger(since) && (index === 0 ? since === 0 : Number(since) > Number(starts[index - 1]));
      if (!ascends) throw new Error("not a plan: its steps must begin at seq 0 and ascend");
    });
    const seats = steps.map((step) => checkedSeatsOf(graph, field(step, "nodes")));
    return new Placement(
      graph,
      driver,
      seats.map((step, index) => [Number(starts[index]), step]),
    );
  }

  /** Reads the places of a step to come, for `cut`; throws an Error that says what is wrong with them. */
  proposed(nodes: unknown): Step {
    const step = checkedSeatsOf(this.graph, nodes);
    const moved = [...step].filter(([node, seats]) => places(seats) !== places(this.turns.get(node)!.at(-1)!));
    const moves = new Map(moved);
    const mute = this.graph.nodes.find((node) => moves.has(node.id) && node.stateful && !node.snapshots);
    if (mute !== undefined) throw new Error(`node '${mute.id}' keeps state and makes no snapshots, so it stays`);
    return moves;
  }

  /**
   * From `since` on, which is above all that was sent, the nodes of `step` are where it says. All below the cut before this
   * one is over everywhere; where it was served is forgotten.
   */
  cut(since: number, step: Step): void {
    for (const turns of this.turns.values()) turns.splice(0, turns.length - 1);
    this.add(since, step);
  }

  /** Whether both ends of a seq on an edge are still known. */
  remembers(edge: number, seq: number): boolean {
    const { from, to } = this.graph.edges[edge]!;
    return [from, to].every((node) => node === null || this.turns.get(node)![0]![0]!.since <= seq);
  }

  /** Whether a seat is one of these. */
  knows(seat: Seat): boolean {
    return seat === this.end || this.turns.get(seat.node)!.some((seats) => seats.includes(seat));
  }

  /** Where a node is in the end. */
  last(node: string): readonly Seat[] {
    return this.turns.get(node)?.at(-1) ?? [];
  }

  /** A node that stays where it was keeps its instances. */
  private add(since: number, step: Step): void {
    for (const [node, next] of step) {
      const turns = this.turns.get(node)!;
      const before = turns.at(-1) ?? [];
      if (places(before) === places(next)) continue;
      for (const seat of before) seat.until = since;
      for (const seat of next) seat.since = since;
      turns.push(next);
    }
  }

  /** Where a seq is served; without a node, at the driver, who sits at both ends of every graph. */
  seat(node: string | null, seq: number): Seat {
    if (node === null) return this.end;
    const turns = this.turns.get(node)!;
    for (let index = turns.length - 1; index > 0; index -= 1) {
      if (turns[index]![0]!.since <= seq) return turns[index]![seq % turns[index]!.length]!;
    }
    return turns[0]![modulo(seq, turns[0]!.length)]!;
  }

  /** Who sends a seq on an edge. */
  source(edge: number, seq: number): Seat {
    return this.seat(this.graph.edges[edge]!.from, seq);
  }

  /** Who receives a seq on an edge. */
  target(edge: number, seq: number): Seat {
    return this.seat(this.graph.edges[edge]!.to, seq);
  }

  /** Names the way of a seq on an edge. */
  strand(edge: number, seq: number): string {
    const seats = [this.source(edge, seq), this.target(edge, seq)];
    return [edge, ...seats.flatMap((seat) => [seat.since, seat.index])].join(" ");
  }

  /** All instances, or those on a peer. */
  seats(peer?: string): Seat[] {
    const all = [...this.turns.values()].flat(2);
    return peer === undefined ? all : all.filter((seat) => seat.peer === peer);
  }

  /** Everyone with a node. */
  peers(): Set<string> {
    return new Set(this.seats().map((seat) => seat.peer));
  }

  /** The other workers that `peer` exchanges results with. */
  neighbours(peer: string): Set<string> {
    const around = new Set<string>();
    for (const { from, to } of this.graph.edges) {
      if (from === null || to === null) continue;
      for (const one of this.turns.get(from)!.flat()) {
        for (const other of this.turns.get(to)!.flat()) {
          if (!one.meets(other)) continue;
          if (one.peer === peer) around.add(other.peer);
          if (other.peer === peer) around.add(one.peer);
        }
      }
    }
    around.delete(peer);
    around.delete(this.driver);
    return around;
  }
}

function places(seats: readonly Seat[]): string {
  return JSON.stringify(seats.map(({ peer, runtime }) => [peer, runtime]));
}

function checkedSeatsOf(graph: Graph, nodes: unknown): Step {
  const seats = new Map(graph.nodes.map(({ id }) => [id, checkedSeats(id, field(nodes, id))]));
  const shared = graph.nodes.find((node) => node.stateful && seats.get(node.id)!.length > 1);
  if (shared !== undefined) throw new Error(`not a plan: node '${shared.id}' keeps state and has several places`);
  return seats;
}

function checkedSeats(node: string, place: unknown): Seat[] {
  const on = field(place, "on");
  if (!Array.isArray(on) || on.length < 1 || on.length > limits.MAX_REPLICAS) {
    throw new Error(`not a plan: node '${node}' needs 1 to ${limits.MAX_REPLICAS} places`);
  }
  return on.map((each, index) => {
    const [peer, runtime] = [field(each, "peer"), field(each, "runtime")];
    if (typeof peer !== "string" || typeof runtime !== "string" || !RUNTIMES.includes(runtime)) {
      throw new Error(`not a plan: a place of node '${node}' is a peer and a runtime`);
    }
    return new Seat(node, peer, runtime as RuntimeName, index, on.length);
  });
}
