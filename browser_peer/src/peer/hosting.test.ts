/** A tab as a worker of a run whose driver moves a node that keeps state: away from it, and to it. */

import { describe, expect, it } from "vitest";
import type { Message } from "../protocol/messages";
import { Flag } from "../run/events";
import type { Instance, NodeSpec, Runtime } from "../runtimes/base";
import { Hosting, type Start } from "./hosting";

const FLAGS = { join: false, stateful: true, deterministic: true, finishes: false, snapshots: true };
const NODE = { id: "sum", node_type: "Sum", params: Uint8Array.of(0x80), arity: "one", optional: [], timeout_s: 30 };
const EDGE = { port: "sum", list: false, overflow: "block" };
const GRAPH = {
  nodes: [{ ...NODE, ...FLAGS }],
  edges: [
    { ...EDGE, from: null, to: "sum" },
    { ...EDGE, from: "sum", to: null },
  ],
  order: ["sum"],
};
const KEY = { driver: "dora", run: "r" };
const at = (peer: string) => ({ sum: { on: [{ peer, runtime: "wasm" }], share: "modulo" } });
const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

/** Its state is one byte: the sum of what came. */
class Sums implements Runtime {
  readonly name = "wasm";
  alive = 0;

  async types(): Promise<NodeSpec[]> {
    return [];
  }

  async create(): Promise<Instance> {
    let sum = 0;
    this.alive += 1;
    const none = async () => ({ parts: [], more: false });
    return {
      process: async (payload) => {
        sum += payload[0]!;
        return { parts: [Uint8Array.of(sum)], more: false };
      },
      next: none,
      finish: none,
      snapshot: async () => Uint8Array.of(sum),
      restore: async (state) => {
        sum = state[0]!;
      },
      close: () => {
        this.alive -= 1;
      },
    };
  }

  close(): void {}
}

class Tab {
  readonly id = "tab";
  readonly name = "tab";
  readonly serves = true;
  readonly sums = new Sums();
  readonly runtimes = new Map([["wasm" as const, this.sums]]);
  readonly types = new Map([["Sum", { ...NODE, ...FLAGS, runtimes: ["wasm"] } as unknown as NodeSpec]]);
  readonly hosting = new Hosting(this);
  readonly said: Message[] = [];

  async linkTo(): Promise<void> {}
  learn(): void {}

  hears(): boolean {
    return true;
  }

  post(_: string, message: Message): void {
    this.said.push(message);
  }

  /** What it said of one type since it was asked last, without what all messages have. */
  heard(type: Message["type"]): unknown[] {
    const heard = this.said.filter((message) => message.type === type);
    this.said.length = 0;
    return heard.map((message) =>
      "body" in message ? message.body : "payload" in message ? message.payload : message,
    );
  }

  async start(peer: string): Promise<void> {
    const plan = { epoch: 1, steps: [{ from_seq: 0, nodes: at(peer) }] };
    const body = { graph: GRAPH, plan, names: {}, on_error: "stop", from_seq: 0, states: {} };
    const sender = { peer: "dora", name: "dora", can: new Set(["submit"]) };
    await this.hosting.start(sender, { type: "START", ...KEY, epoch: 1, body } as Start);
  }

  async item(seq: number, value: number): Promise<void> {
    const frame = { edge: 0, seq, part: 0, flags: Flag.END, payload: Uint8Array.of(value) };
    this.hosting.site(KEY, 1)!.receiveFrame("dora", frame);
    await settled();
  }
}

describe("a tab obeys the moves of its driver", () => {
  it("hands over the state of a node that goes elsewhere, and frees it", async () => {
    const tab = new Tab();
    await tab.start("tab");
    await tab.item(0, 5);
    await tab.hosting.prepare(KEY, 1, { move: 1, nodes: at("bea"), names: {} });
    expect(tab.heard("STEP")).toEqual([{ move: 1, stage: "prepared", fault: "" }]);
    tab.hosting.cut(KEY, 1, { move: 1, from_seq: 2 });
    expect(tab.heard("STEP")).toEqual([{ move: 1, stage: "cut", fault: "" }]);
    await tab.item(1, 6);
    expect(tab.heard("STATE")).toEqual([{ node: "sum", state: Uint8Array.of(11), fault: "" }]);
    expect(tab.sums.alive).toBe(0);
    expect(() => tab.hosting.site(KEY, 1)!.receiveFrame("dora", frameOf(2))).toThrow("does not lead from dora to here");
  });

  it("goes on with the state of a node that comes", async () => {
    const tab = new Tab();
    await tab.start("bea");
    await tab.hosting.prepare(KEY, 1, { move: 1, nodes: at("tab"), names: {} });
    expect(tab.sums.alive).toBe(1);
    tab.hosting.cut(KEY, 1, { move: 1, from_seq: 2 });
    await tab.item(2, 1);
    expect(tab.heard("PART")).toEqual([]);
    tab.hosting.state(KEY, 1, { node: "sum", state: Uint8Array.of(11), fault: "" });
    await settled();
    expect(tab.heard("PART")).toEqual([Uint8Array.of(12)]);
  });

  it("forgets a move that is called off, and says why it cannot make one", async () => {
    const tab = new Tab();
    await tab.start("bea");
    await tab.hosting.prepare(KEY, 1, { move: 1, nodes: at("tab"), names: {} });
    tab.hosting.cut(KEY, 1, { move: 1, from_seq: null });
    expect(tab.sums.alive).toBe(0);
    tab.types.delete("Sum");
    tab.said.length = 0;
    await tab.hosting.prepare(KEY, 1, { move: 2, nodes: at("tab"), names: {} });
    expect(tab.heard("STEP")).toEqual([{ move: 2, stage: "prepared", fault: "tab: tab does not offer Sum in wasm" }]);
  });
});

function frameOf(seq: number) {
  return { edge: 0, seq, part: 0, flags: Flag.END, payload: null };
}
