import { describe, expect, it } from "vitest";
import type { PeerRecord } from "../peer/types";
import type { RunState } from "../protocol/signaling";
import { severity } from "./mesh";
import { GONE_KEPT_MS, RoomView } from "./room";

function record(name: string, peer = name): PeerRecord {
  const caps = { cores: 2 };
  return {
    peer,
    name,
    can: ["work"],
    load: 0.5,
    hidden: false,
    kind: "server",
    runtimes: ["python"],
    types: [],
    caps,
    slots: 2,
  };
}

function run(fields: Partial<RunState> = {}): RunState {
  return {
    id: "r1",
    name: "speech",
    driver: "tab",
    state: "running",
    items_in: 1,
    results_out: 0,
    errors: 0,
    placement: { mic: ["driver"], stt: ["gpu"] },
    node_ms: {},
    started: 1,
    ...fields,
  };
}

function room(...names: string[]): RoomView {
  const view = new RoomView();
  view.presence({ joined: names.map((name) => record(name)), updated: [], left: [] }, 0);
  return view;
}

const leave = (name: string, reason = "closed") => ({ joined: [], updated: [], left: [{ peer: name, name, reason }] });

describe("RoomView", () => {
  it("keeps a peer's place when others come and go", () => {
    const view = room("tab", "ada", "gpu");
    view.presence(leave("ada"), 1);
    view.presence({ joined: [record("bea")], updated: [], left: [] }, GONE_KEPT_MS + 2);
    expect([...view.peers.values()].map((peer) => [peer.record.name, peer.seat])).toEqual([
      ["tab", 0],
      ["gpu", 2],
      ["bea", 1],
    ]);
  });

  it("shows one who left for a while, and gives a returner its place back", () => {
    const view = room("tab", "ada");
    view.presence(leave("ada"), 1);
    expect(view.peers.get("ada")?.gone?.reason).toBe("closed");
    view.presence({ joined: [record("ada", "new-id")], updated: [], left: [] }, 2);
    expect([...view.peers.values()].map(({ record, seat, gone }) => [record.peer, seat, gone])).toEqual([
      ["tab", 0, null],
      ["new-id", 1, null],
    ]);
  });

  it("notes what a lost peer held, and its links", () => {
    const view = room("tab", "gpu");
    const link = { a: "gpu", b: "tab", rtt_ms: 1, bytes_per_s: 1, path: "direct", engine: "wrtc" };
    view.hear({ type: "state", room: "studio", since_s: 1, links: [link], runs: [run()], events: [] }, 0);
    view.presence(leave("gpu"), 1);
    const gpu = view.peers.get("gpu")!;
    expect(gpu.gone?.held).toEqual([{ run: "speech", nodes: ["stt"] }]);
    expect(gpu.gone?.links).toEqual([link]);
    expect(view.links).toEqual([]);
    expect(severity(gpu)).toBe("lost");
  });

  it("calls one who held nothing and closed its connection gone, one who fell silent lost", () => {
    const view = room("ada", "bea");
    view.presence(leave("ada"), 1);
    view.presence(leave("bea", "silent"), 1);
    expect([...view.peers.values()].map(severity)).toEqual(["left", "lost"]);
  });

  it("lets one who served nobody go at once", () => {
    const view = room("ada");
    view.presence({ joined: [{ ...record("driver"), runtimes: [] }], updated: [], left: [] }, 1);
    view.presence(leave("driver"), 2);
    expect([...view.peers.keys()]).toEqual(["ada"]);
  });

  it("replaces a run by its newest report, the latest started first", () => {
    const view = room("tab");
    view.hear({ type: "runs", runs: [run(), run({ id: "r2", started: 2 })] }, 0);
    view.hear({ type: "runs", runs: [run({ state: "done", results_out: 9 })] }, 0);
    expect(view.runs.map(({ id, state }) => [id, state])).toEqual([
      ["r2", "running"],
      ["r1", "done"],
    ]);
  });

  it("counts the driver among the holders of a node", () => {
    const view = room("tab");
    view.hear({ type: "runs", runs: [run()] }, 0);
    expect(view.holds("tab")).toEqual([{ run: "speech", nodes: ["mic"] }]);
  });
});
