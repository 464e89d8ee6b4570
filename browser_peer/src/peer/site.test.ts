import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import limits from "../generated/limits.json";
import type { RunMessage } from "../protocol/messages";
import { Flag } from "../run/events";
import type { Edge, Graph } from "../run/graph";
import { Placement } from "../run/placement";
import { type Credit, Site } from "./site";

const edge = (from: string | null, to: string | null): Edge => ({
  from,
  to,
  port: to ?? from!,
  list: false,
  overflow: "block",
});
const flags = { join: false, stateful: false, deterministic: true, finishes: false, snapshots: false };
const node = (id: string) => ({
  id,
  node_type: id,
  params: Uint8Array.of(0x80),
  arity: "one" as const,
  optional: [],
  timeout_s: 30,
  ...flags,
});
const GRAPH: Graph = {
  nodes: [node("a"), node("b")],
  edges: [edge("a", "b"), edge(null, "a"), edge("b", null)],
  order: ["a", "b"],
};
const at = (peer: string) => ({ on: [{ peer, runtime: "wasm" }], share: "modulo" });
const PLAN = { epoch: 1, steps: [{ from_seq: 0, nodes: { a: at("ada"), b: at("me") } }] };

function site(post = (_to: string, _message: RunMessage): void => {}): Site {
  return new Site({
    key: { driver: "dora", run: "r" },
    epoch: 1,
    graph: GRAPH,
    placement: Placement.fromPlan(GRAPH, "dora", PLAN),
    me: "me",
    runtimes: new Map(),
    outside: {
      post,
      itemFailed: () => {},
      stateSaved: () => {},
      handedOver: () => {},
      through: () => {},
      runFailed: () => {},
    },
  });
}

const frame = (number: number) => ({ edge: number, seq: 0, part: 0, flags: Flag.END, payload: null });

describe("a site takes from each peer only what the plan lets it send", () => {
  it.each([
    ["an edge that the graph does not have", "ada", 9, "no edge 9"],
    ["a frame from a peer that is not at its source", "eve", 0, "does not lead from eve to here"],
    ["a frame of an edge that leads elsewhere", "dora", 1, "does not lead from dora to here"],
  ])("%s", (_, sender, number, message) => {
    expect(() => site().receiveFrame(sender, frame(number))).toThrow(message);
  });

  it("credit from a peer that is not at the edge's target", () => {
    expect(() => site().receiveCredit("ada", 2, 0, 64)).toThrow("not ada's to give");
    expect(() => site().receiveCredit("dora", 9, 0, 64)).toThrow("not dora's to give");
    expect(() => site().receiveCredit("dora", 2, 0, 64)).toThrow("credit of 64 bytes"); // none is outstanding
  });

  it("and nothing is wrong with what the plan says", () => {
    expect(() => site().receiveFrame("ada", frame(0))).not.toThrow();
  });
});

describe("credit for another peer waits for more, for a moment and up to a quarter of the window", () => {
  const paid = vi.fn();
  const credit = (bytes: number): Credit => ({ do: "credit", edge: 0, seq: 0, bytes });
  const message = (amount: number) => ({ type: "CREDIT", driver: "dora", run: "r", epoch: 1, edge: 0, seq: 0, amount });
  const pay = (to: Site, ...amounts: number[]) => to.execute(amounts.map(credit));

  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    paid.mockReset();
  });

  it("small amounts go together", () => {
    const to = site(paid);
    pay(to, 64, 100);
    expect(paid).not.toHaveBeenCalled();
    vi.advanceTimersByTime(limits.CREDIT_AFTER_S * 1e3);
    expect(paid.mock.calls).toEqual([["ada", message(164)]]);
    pay(to, 7);
    vi.advanceTimersByTime(limits.CREDIT_AFTER_S * 1e3);
    expect(paid).toHaveBeenLastCalledWith("ada", message(7));
  });

  it("a large amount goes at once, with what waited, and nothing twice", () => {
    const to = site(paid);
    pay(to, 64, limits.CREDIT_EVERY_BYTES);
    expect(paid.mock.calls).toEqual([["ada", message(limits.CREDIT_EVERY_BYTES + 64)]]);
    vi.runAllTimers();
    expect(paid).toHaveBeenCalledTimes(1);
  });

  it("none goes from a site that is closed", () => {
    const to = site(paid);
    pay(to, 64);
    to.close();
    vi.runAllTimers();
    expect(paid).not.toHaveBeenCalled();
  });
});
