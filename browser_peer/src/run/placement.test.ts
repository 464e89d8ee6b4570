import { describe, expect, it } from "vitest";
import type { Graph } from "./graph";
import { firstOfBoth, Placement } from "./placement";
import { PLAIN } from "./testing";

function node(id: string): Graph["nodes"][number] {
  return { ...PLAIN, id };
}

const edge = (from: string | null, to: string | null) => ({
  from,
  to,
  port: "",
  list: false,
  overflow: "block" as const,
});
const GRAPH: Graph = {
  nodes: ["a", "b", "c"].map(node),
  edges: [edge("a", "b"), edge("b", "c"), edge(null, "a"), edge("c", null)],
  order: ["a", "b", "c"],
};
const on = (peer: string, runtime = "wasm") => ({ on: [{ peer, runtime }], share: "modulo" });
const PLAN = { epoch: 1, steps: [{ from_seq: 0, nodes: { a: on("me"), b: on("ada", "python"), c: on("bea") } }] };

describe("a placement", () => {
  const placement = Placement.fromPlan(GRAPH, "me", PLAN);

  it("puts the driver at both ends of the graph", () => {
    expect([0, 1, 2, 3].map((each) => [placement.source(each, 0).peer, placement.target(each, 0).peer])).toEqual([
      ["me", "ada"],
      ["ada", "bea"],
      ["me", "me"],
      ["bea", "me"],
    ]);
  });

  it("knows each peer's fragment and the workers beside it", () => {
    expect(placement.seats("ada").map(({ node, runtime }) => [node, runtime])).toEqual([["b", "python"]]);
    expect(placement.peers()).toEqual(new Set(["me", "ada", "bea"]));
    expect(placement.neighbours("ada")).toEqual(new Set(["bea"]));
    expect(placement.neighbours("bea")).toEqual(new Set(["ada"]));
  });
});

describe("a node with several places", () => {
  const all = (...peers: string[]) => ({ on: peers.map((peer) => on(peer).on[0]), share: "modulo" });
  const steps = [
    { from_seq: 0, nodes: { a: all("ada", "bea"), b: all("ada", "ada", "cleo"), c: on("bea") } },
    { from_seq: 7, nodes: { a: all("bea"), b: all("ada", "ada", "cleo"), c: on("bea") } },
  ];
  const placement = Placement.fromPlan(GRAPH, "me", { steps });

  it("shares the seqs between its instances, which stay until it moves", () => {
    expect([5, 6, 7, 8].map((seq) => placement.seat("a", seq).peer)).toEqual(["bea", "ada", "bea", "bea"]);
    expect(placement.seat("b", 0)).toBe(placement.seat("b", 9));
    expect(placement.seat("b", 0)).not.toBe(placement.seat("b", 1));
    expect([4, 5, 6].map((seq) => placement.seat("a", 0).first(seq))).toEqual([4, 6, 6]);
    expect(placement.seat("a", 0).first(7)).toBeUndefined();
  });

  it("meets others at the seqs that both serve", () => {
    expect(firstOfBoth(placement.seat("a", 1), placement.seat("b", 0), 0)).toBe(3);
    expect(firstOfBoth(placement.seat("a", 1), placement.seat("b", 0), 4)).toBeUndefined();
    expect(placement.neighbours("cleo")).toEqual(new Set(["ada", "bea"]));
  });

  it("must not keep state", () => {
    const nodes = GRAPH.nodes.map((each) => ({ ...each, stateful: true }));
    expect(() => Placement.fromPlan({ ...GRAPH, nodes }, "me", { steps })).toThrow("'a' keeps state");
  });
});

describe("a plan from outside is refused", () => {
  const step = PLAN.steps[0]!;
  it.each([
    ["without steps", { steps: [] }],
    ["that is no map", "plan"],
    ["that leaves a node out", { steps: [{ from_seq: 0, nodes: { a: on("me"), b: on("ada") } }] }],
    ["with a node that has no place", { steps: [{ ...step, nodes: { ...step.nodes, a: { on: [] } } }] }],
    ["with an unknown runtime", { steps: [{ ...step, nodes: { ...step.nodes, a: on("me", "lua") } }] }],
    ["that begins later than at seq 0", { steps: [{ ...step, from_seq: 3 }] }],
    ["whose steps do not ascend", { steps: [step, step] }],
  ])("%s", (_, plan) => {
    expect(() => Placement.fromPlan(GRAPH, "me", plan)).toThrow(/^not a plan/);
  });
});
