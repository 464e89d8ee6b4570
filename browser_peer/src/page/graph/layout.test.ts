import { describe, expect, it } from "vitest";
import type { Graph, GraphNode, Plan } from "../../run/graph";
import { PLAIN } from "../../run/testing";
import { type Box, layout, type Wire } from "./layout";

function node(id: string): GraphNode {
  return { ...PLAIN, id };
}

/** `edges` as "a>b"; an empty end is the driver. */
function graph(ids: string[], edges: string[]): Graph {
  return {
    nodes: ids.map(node),
    edges: edges.map((edge) => {
      const [from, to] = edge.split(">");
      return { from: from || null, to: to || null, port: "", list: false, overflow: "block" };
    }),
    order: ids,
  };
}

function plan(placement: Record<string, string[]>): Plan {
  const seats = Object.entries(placement).map(([id, peers]) => [
    id,
    { on: peers.map((peer) => ({ peer, runtime: "python" as const })), share: "modulo" as const },
  ]);
  return { epoch: 1, steps: [{ from_seq: 0, nodes: Object.fromEntries(seats) }], latency_ms: 1, why: {} };
}

const chain = graph(["a", "b"], ["a>b", ">a", "b>"]);
const ROWS = { view: "rows", width: 1440, height: 400 } as const;

function overlaps(one: Box, other: Box): boolean {
  const apart =
    one.x + one.width <= other.x ||
    other.x + other.width <= one.x ||
    one.y + one.height <= other.y ||
    other.y + other.height <= one.y;
  return !apart;
}

describe("lanes as rows", () => {
  it("puts the row by the peer and the column by the depth", () => {
    const { boxes, lanes } = layout(chain, plan({ a: ["ada"], b: ["me"] }), ["me", "ada"], ROWS);
    const [source, a, b, sink] = boxes as [Box, Box, Box, Box];
    expect(boxes.map((box) => box.column)).toEqual([0, 1, 2, 3]);
    expect([source, b, sink].map((box) => box.y)).toEqual([source.y, source.y, source.y]);
    expect(a.y).toBeGreaterThan(lanes[1]!.start);
  });

  it("folds the lane of a peer without a node", () => {
    const { lanes } = layout(chain, plan({ a: ["me"], b: ["me"] }), ["me", "bea"], ROWS);
    expect(lanes.map(({ idle, size }) => [idle, size === 28])).toEqual([
      [false, false],
      [true, true],
    ]);
  });

  it("draws a replicated node in each of its lanes, wired with all neighbours", () => {
    const { boxes, wires } = layout(chain, plan({ a: ["me"], b: ["ada", "gpu"] }), ["me", "ada", "gpu"], ROWS);
    const replicas = boxes.filter((box) => box.node?.id === "b");
    expect(new Set(replicas.map((box) => box.peer))).toEqual(new Set(["ada", "gpu"]));
    expect(wires).toHaveLength(5);
  });

  it("keeps the key of a node that moves to another peer", () => {
    const keys = (peer: string) =>
      layout(chain, plan({ a: [peer], b: ["me"] }), ["me", "ada"], ROWS).boxes.map((box) => box.key);
    expect(keys("ada")).toEqual(keys("me"));
  });

  it("narrows the boxes before it lets the graph be wider than the window", () => {
    const ids = ["a", "b", "c", "d", "e", "f"];
    const edges = [">a", ...ids.slice(1).map((id, index) => `${ids[index]}>${id}`), "f>"];
    const all = Object.fromEntries(ids.map((id) => [id, ["me"]]));
    const { width, boxes } = layout(graph(ids, edges), plan(all), ["me"], ROWS);
    expect(width).toBe(1440);
    expect(boxes[0]!.width).toBeLessThan(148);
  });
});

describe("lanes as columns", () => {
  it("lets the flow go down, without two boxes in one place", () => {
    const fan = graph(["a", "b", "c"], [">a", "a>b", "a>c", "b>", "c>"]);
    const everywhere = plan({ a: ["me"], b: ["me"], c: ["me"] });
    const { boxes, width } = layout(fan, everywhere, ["me", "idle"], { view: "columns", width: 390, height: 0 });
    expect(width).toBe(390);
    for (const [index, box] of boxes.entries()) {
      expect(boxes.slice(index + 1).some((other) => overlaps(box, other))).toBe(false);
    }
  });
});

describe("wires", () => {
  const points = (wire: Wire) =>
    [...wire.path.matchAll(/-?[\d.]+ -?[\d.]+/g)].map(([pair]) => pair.split(" ").map(Number));

  it("are straight between neighbours of one lane", () => {
    const { wires } = layout(chain, plan({ a: ["me"], b: ["me"] }), ["me"], ROWS);
    expect(wires[0]!.path).toMatch(/^M[\d. ]+L[\d. ]+$/);
  });

  it("pass beside a box that stands in their way", () => {
    const skip = graph(["a", "b", "c"], [">a", "a>b", "b>c", "a>c", "c>"]);
    const { wires, boxes } = layout(skip, plan({ a: ["me"], b: ["me"], c: ["me"] }), ["me"], ROWS);
    const b = boxes.find((box) => box.node?.id === "b")!;
    const [, detour] = points(wires.find((wire) => wire.edge === 3)!).filter(([x]) => x! > b.x && x! < b.x + b.width);
    const crossing = points(wires.find((wire) => wire.edge === 3)!).some(
      ([x, y]) => x! > b.x && x! < b.x + b.width && y! > b.y && y! < b.y + b.height,
    );
    expect(crossing).toBe(false);
    expect(detour).toBeUndefined();
    expect(points(wires.find((wire) => wire.edge === 3)!).some(([, y]) => y! < b.y || y! > b.y + b.height)).toBe(true);
  });
});
