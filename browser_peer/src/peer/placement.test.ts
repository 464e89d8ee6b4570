import { describe, expect, it } from "vitest";
import type { Graph } from "../run/graph";
import { Placement } from "./placement";

function node(id: string): Graph["nodes"][number] {
  return {
    id,
    node_type: "PassThrough",
    params: new Uint8Array([0x80]),
    arity: "one",
    join: false,
    optional: [],
    stateful: false,
    deterministic: true,
    finishes: false,
    snapshots: false,
    timeout_s: 30,
  };
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
    expect([0, 1, 2, 3].map((each) => [placement.source(each), placement.target(each)])).toEqual([
      ["me", "ada"],
      ["ada", "bea"],
      ["me", "me"],
      ["bea", "me"],
    ]);
  });

  it("knows each peer's fragment and the workers beside it", () => {
    expect([...placement.runtimesOn("ada")]).toEqual([["b", "python"]]);
    expect(placement.peers()).toEqual(new Set(["me", "ada", "bea"]));
    expect(placement.neighbours("ada")).toEqual(new Set(["bea"]));
    expect(placement.neighbours("bea")).toEqual(new Set(["ada"]));
  });
});

describe("a plan from outside is refused", () => {
  const step = PLAN.steps[0]!;
  it.each([
    ["without steps", { steps: [] }],
    ["that is no map", "plan"],
    ["that leaves a node out", { steps: [{ from_seq: 0, nodes: { a: on("me"), b: on("ada") } }] }],
    [
      "with two places for a node",
      { steps: [{ ...step, nodes: { ...step.nodes, a: { on: [on("x").on[0], on("y").on[0]] } } }] },
    ],
    ["with an unknown runtime", { steps: [{ ...step, nodes: { ...step.nodes, a: on("me", "lua") } }] }],
    ["that begins later than at seq 0", { steps: [{ ...step, from_seq: 3 }] }],
    ["whose steps do not ascend", { steps: [step, step] }],
  ])("%s", (_, plan) => {
    expect(() => Placement.fromPlan(GRAPH, "me", plan)).toThrow(/^not a plan/);
  });
});
