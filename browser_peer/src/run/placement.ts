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

/** An instance of a node, on a peer: it serves every `share`-th seq from `since` on, those with the remainder `index`. */
export class Seat {
  /** The first seq that it does not serve any more. */
  until = Number.POSITIVE_INFINITY;

  constructor(
    readonly node: string,
    readonly peer: string,
    readonly runtime: RuntimeName,
    readonly since = 0,
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

interface Step {
  since: number;
  seats: ReadonlyMap<string, readonly Seat[]>;
}

/** `seat(node, seq)`, and what follows from it for the edges of the graph. */
export class Placement {
  private readonly end: Seat;
  /** The seats of each node, one list for each time that it moved. */
  private readonly turns: ReadonlyMap<string, (readonly Seat[])[]>;

  private constructor(
    private readonly graph: Graph,
    readonly driver: string,
    steps: readonly Step[],
  ) {
    this.end = new Seat("", driver, "wasm");
    this.turns = new Map(graph.nodes.map((node) => [node.id, []]));
    for (const step of steps) this.add(step);
  }

  /** Reads a plan, which may come from outside; throws an Error that says what is wrong with it. */
  static fromPlan(graph: Graph, driver: string, plan: unknown): Placement {
    const steps = field(plan, "steps");
    if (!Array.isArray(steps) || steps.length === 0) throw new Error("not a plan: it has no steps");
    const checked = steps.map((step) => checkedStep(graph, step));
    checked.forEach((step, index) => {
      const earliest = index === 0 ? 0 : checked[index - 1]!.since + 1;
      if (step.since < earliest || (index === 0 && step.since > 0)) {
        throw new Error("not a plan: its steps must begin at seq 0 and ascend");
      }
    });
    return new Placement(graph, driver, checked);
  }

  /** A node that stays where it was keeps its instances. */
  private add({ since, seats }: Step): void {
    for (const [node, next] of seats) {
      const turns = this.turns.get(node)!;
      const before = turns.at(-1) ?? [];
      if (places(before) === places(next)) continue;
      for (const seat of before) seat.until = since;
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

function checkedStep(graph: Graph, step: unknown): Step {
  const since = field(step, "from_seq");
  const nodes = field(step, "nodes");
  if (!Number.isSafeInteger(since)) throw new Error("not a plan: from_seq must be a whole number");
  const seats = new Map(graph.nodes.map(({ id }) => [id, checkedSeats(id, Number(since), field(nodes, id))]));
  const shared = graph.nodes.find((node) => node.stateful && seats.get(node.id)!.length > 1);
  if (shared !== undefined) throw new Error(`not a plan: node '${shared.id}' keeps state and has several places`);
  return { since: Number(since), seats };
}

function checkedSeats(node: string, since: number, place: unknown): Seat[] {
  const on = field(place, "on");
  if (!Array.isArray(on) || on.length < 1 || on.length > limits.MAX_REPLICAS) {
    throw new Error(`not a plan: node '${node}' needs 1 to ${limits.MAX_REPLICAS} places`);
  }
  return on.map((each, index) => {
    const [peer, runtime] = [field(each, "peer"), field(each, "runtime")];
    if (typeof peer !== "string" || typeof runtime !== "string" || !RUNTIMES.includes(runtime)) {
      throw new Error(`not a plan: a place of node '${node}' is a peer and a runtime`);
    }
    return new Seat(node, peer, runtime as RuntimeName, since, index, on.length);
  });
}
