/** Who runs what: the part of a plan that peers act on (docs/wire.md, 5). */

import type { Graph, PlanStep, RuntimeName, Seat } from "../run/graph";

const RUNTIMES: readonly string[] = ["wasm", "python", "pyodide"] satisfies RuntimeName[];

/** `seat(node, seq)`; the driver sits at both ends of every graph. */
export class Placement {
  private constructor(
    private readonly graph: Graph,
    readonly driver: string,
    private readonly steps: readonly PlanStep[],
  ) {}

  /** Reads a plan, which may come from outside; throws an Error that says what is wrong with it. */
  static fromPlan(graph: Graph, driver: string, plan: unknown): Placement {
    const steps = field(plan, "steps");
    if (!Array.isArray(steps) || steps.length === 0) throw new Error("not a plan: it has no steps");
    const checked = steps.map((step) => checkedStep(graph, step));
    checked.forEach((step, index) => {
      const earliest = index === 0 ? 0 : checked[index - 1]!.from_seq + 1;
      if (step.from_seq < earliest || (index === 0 && step.from_seq > 0)) {
        throw new Error("not a plan: its steps must begin at seq 0 and ascend");
      }
    });
    return new Placement(graph, driver, checked);
  }

  seat(node: string, seq: number): Seat {
    const step = this.steps.findLast((each) => each.from_seq <= seq)!;
    const seats = step.nodes[node]!.on;
    return seats[seq % seats.length]!;
  }

  /** The peer that sends on an edge. */
  source(edge: number, seq = 0): string {
    const node = this.graph.edges[edge]!.from;
    return node === null ? this.driver : this.seat(node, seq).peer;
  }

  /** The peer that receives on an edge. */
  target(edge: number, seq = 0): string {
    const node = this.graph.edges[edge]!.to;
    return node === null ? this.driver : this.seat(node, seq).peer;
  }

  /** The nodes of a peer's fragment and where they run there. */
  runtimesOn(peer: string): Map<string, RuntimeName> {
    const found = new Map<string, RuntimeName>();
    for (const [node, seat] of this.seats()) if (seat.peer === peer) found.set(node, seat.runtime);
    return found;
  }

  /** Everyone with a node. */
  peers(): Set<string> {
    return new Set([...this.seats()].map(([, seat]) => seat.peer));
  }

  /** The other workers that `peer` exchanges results with. */
  neighbours(peer: string): Set<string> {
    const around = new Set<string>();
    for (const edge of this.graph.edges.keys()) {
      const [from, to] = [this.source(edge), this.target(edge)];
      if (from === peer) around.add(to);
      if (to === peer) around.add(from);
    }
    around.delete(peer);
    around.delete(this.driver);
    return around;
  }

  private *seats(): Generator<[string, Seat]> {
    for (const step of this.steps) {
      for (const [node, place] of Object.entries(step.nodes)) for (const seat of place.on) yield [node, seat];
    }
  }
}

function checkedStep(graph: Graph, step: unknown): PlanStep {
  const fromSeq = field(step, "from_seq");
  const places = field(step, "nodes");
  if (!Number.isSafeInteger(fromSeq)) throw new Error("not a plan: from_seq must be a whole number");
  const nodes: PlanStep["nodes"] = Object.create(null);
  for (const { id } of graph.nodes) nodes[id] = { on: [checkedSeat(id, field(places, id))], share: "modulo" };
  return { from_seq: fromSeq as number, nodes };
}

/** In this version of the protocol a node has one place. */
function checkedSeat(node: string, place: unknown): Seat {
  const on = field(place, "on");
  if (!Array.isArray(on) || on.length !== 1) throw new Error(`not a plan: node '${node}' needs one place`);
  const [peer, runtime] = [field(on[0], "peer"), field(on[0], "runtime")];
  if (typeof peer !== "string" || typeof runtime !== "string" || !RUNTIMES.includes(runtime)) {
    throw new Error(`not a plan: the place of node '${node}' is a peer and a runtime`);
  }
  return { peer, runtime: runtime as RuntimeName };
}

/** An own field of what should be a map; undefined where there is none. */
export function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
