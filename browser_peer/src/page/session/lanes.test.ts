import { describe, expect, it } from "vitest";
import type { PeerApi, PeerRecord } from "../../peer/types";
import { Lanes, seated } from "./lanes";
import type { Planned } from "./state";

function record(name: string, runtimes = ["python"]): PeerRecord {
  const caps = { cores: 2 };
  return {
    peer: `id-${name}`,
    name,
    can: [],
    load: 0,
    hidden: false,
    kind: "server",
    runtimes,
    types: [],
    caps,
    slots: 1,
  };
}

function lanesOf(...records: PeerRecord[]): { lanes: Lanes; peers: Map<string, PeerRecord> } {
  const peers = new Map(records.map((each) => [each.peer, each]));
  const api = { id: "me", name: "tab", peers } as unknown as PeerApi;
  return { lanes: new Lanes(api), peers };
}

const onAda = {
  graph: { nodes: [], edges: [], order: [] },
  plan: { steps: [{ from_seq: 0, nodes: { a: { on: [{ peer: "id-ada", runtime: "python" }], share: "modulo" } } }] },
} as unknown as Planned;

const words = (lanes: Lanes) => lanes.all.map(({ name, gone }) => (gone ? `${name} lost` : name));

describe("Lanes", () => {
  it("begin with the own, and leave out who serves nobody", () => {
    const { lanes } = lanesOf(record("ada"), record("driver", []), record("bea"));
    expect(lanes.update()).toBe(true);
    expect(words(lanes)).toEqual(["tab", "ada", "bea"]);
  });

  it("stay the same array while only the load changes", () => {
    const { lanes, peers } = lanesOf(record("ada"));
    lanes.update();
    const before = lanes.all;
    peers.set("id-ada", { ...record("ada"), load: 0.7 });
    expect(lanes.update()).toBe(false);
    expect(lanes.all).toBe(before);
  });

  it("keep the place of one who was lost from the run that is shown, and only of that one", () => {
    const { lanes, peers } = lanesOf(record("ada"), record("bea"));
    lanes.update(seated(onAda));
    peers.clear();
    lanes.update(seated(onAda));
    expect(words(lanes)).toEqual(["tab", "ada lost"]);
    lanes.update();
    expect(words(lanes)).toEqual(["tab"]);
  });

  it("say whether all peers of a plan are here", () => {
    const { lanes, peers } = lanesOf(record("ada"));
    lanes.update();
    expect(lanes.hold(onAda)).toBe(true);
    peers.clear();
    lanes.update();
    expect(lanes.hold(onAda)).toBe(false);
  });
});
