import { describe, expect, it } from "vitest";
import { graphFromJson, graphFromValue } from "./graph";

const flags = { join: false, stateful: false, deterministic: true, finishes: false, snapshots: false };
const node = (id: string, more: object = {}) => ({
  id,
  node_type: "PassThrough",
  params: Uint8Array.of(0x80),
  arity: "one",
  optional: [],
  timeout_s: 30,
  ...flags,
  ...more,
});
const edge = (from: string | null, to: string | null, port = "") => ({
  from,
  to,
  port,
  list: false,
  overflow: "block",
});
const chain = () => ({
  nodes: [node("a"), node("b")],
  edges: [edge("a", "b"), edge(null, "a"), edge("b", null, "b")],
  order: ["a", "b"],
});

describe("a graph from outside", () => {
  it("is read as it is", () => {
    expect(graphFromValue(chain())).toEqual(chain());
  });

  it("has its bytes in base64 in a plan's JSON", () => {
    const nodes = chain().nodes.map((each) => ({ ...each, params: { $bytes: "gaZmYWN0b3ID" } }));
    const read = graphFromJson({ ...chain(), nodes });
    expect(read.nodes[0]!.params).toEqual(new Uint8Array(Buffer.from("gaZmYWN0b3ID", "base64")));
  });

  it.each<[string, unknown, string]>([
    ["no map", [], "not a map"],
    ["no nodes", { ...chain(), nodes: [], order: [] }, "there is at least one"],
    ["an id twice", { ...chain(), nodes: [node("a"), node("a")] }, "ids are unique"],
    ["an order without a node", { ...chain(), order: ["a", "a"] }, "every node comes once"],
    ["an order against an edge", { ...chain(), order: ["b", "a"] }, "comes after it"],
    ["an edge to nowhere", { ...chain(), edges: [...chain().edges, edge("a", "c")] }, "begins or ends at no node"],
    ["a node without input", { ...chain(), edges: chain().edges.slice(0, 1) }, "nothing goes into 'a'"],
    [
      "two edges into one port",
      { ...chain(), edges: [...chain().edges, edge(null, "b")] },
      "is no join and has 2 inputs",
    ],
    [
      "a result under another name",
      { ...chain(), edges: [...chain().edges.slice(0, 2), edge("b", null, "x")] },
      "its sink's id",
    ],
    ["params that are no bytes", { ...chain(), nodes: [node("a", { params: {} }), node("b")] }, "params"],
    ["an unknown arity", { ...chain(), nodes: [node("a", { arity: "two" }), node("b")] }, "two is none of"],
    ["a timeout of nothing", { ...chain(), nodes: [node("a", { timeout_s: 0 }), node("b")] }, "timeout_s"],
    ["an id that is too long", { ...chain(), nodes: [node("a".repeat(300)), node("b")] }, "at most 256"],
  ])("with %s is refused", (_, value, message) => {
    expect(() => graphFromValue(value)).toThrow(message);
  });
});
