import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { LinkError } from "../../errors";
import limits from "../../generated/limits.json";
import type { Receipt, RunProgress } from "../types";
import type { Run } from "./run";
import { bytes, Mesh, type Peer, type Work } from "./testing";

const ITEMS = Array.from({ length: 100 }, (_, index) => index);
const BOTH = ITEMS.map((item) => item * 2 + 1);
const plus1: Work = (byte) => byte + 1;
const double: Work = (byte) => byte * 2;

let mesh: Mesh;
let me: Peer;
let ada: Peer;
let bea: Peer;
beforeEach(() => {
  mesh = new Mesh();
  [me, ada, bea] = [mesh.add("me", {}), mesh.add("ada", { double, plus1 }), mesh.add("bea", { double, plus1 })];
});
afterEach(() => void vi.useRealTimers());

/** The results; `then` happens when that many are there. */
async function after(count: number, run: Run, then: () => void): Promise<number[]> {
  const found: number[] = [];
  for await (const result of run) {
    found.push(result.payload[0]!);
    if (found.length === count) then();
  }
  return found;
}

function addsUp({ items_in, results_out, seqs, dropped }: Receipt): void {
  expect(items_in).toBe(seqs.done + seqs.filtered + seqs.failed + dropped);
  expect(results_out).toBe(seqs.done);
}

it("a lost worker's nodes move, and nothing is lost, doubled or out of order", async () => {
  const plans: number[] = [];
  const onPlan: Parameters<typeof me.start>[2] = { onPlan: ({ plan }) => plans.push(plan.epoch) };
  const run = me.start({ double: ["ada", "bea"], plus1: ["bea"] }, ITEMS, onPlan);
  expect(await after(20, run, () => mesh.kill("ada"))).toEqual(BOTH);
  const receipt = await run.receipt;
  expect(receipt).toMatchObject({
    status: "done",
    items_in: 100,
    seqs: { done: 100, filtered: 0, failed: 0 },
    epochs: [
      { epoch: 1, reason: "start", placement: { double: ["ada"], plus1: ["bea"] } },
      { epoch: 2, reason: "ada was lost: it is silent", placement: { double: ["bea"], plus1: ["bea"] } },
    ],
  });
  addsUp(receipt);
  expect(plans).toEqual([1, 2]);
  expect(receipt.replayed).toBeGreaterThan(0);
  await mesh.lag;
  expect([bea.runtime.alive, bea.hosting.sites.length]).toEqual([0, 0]);
});

it("who stays counts on, who leaves tells what it counted, and the lost one's numbers are missing", async () => {
  mesh.add("cleo", { plus1 });
  const run = me.start({ double: ["ada"], plus1: ["bea", "cleo"] }, ITEMS);
  expect(await after(20, run, () => mesh.kill("bea"))).toEqual(BOTH);
  const { link_bytes, node_ms, items_in, replayed } = await run.receipt;
  expect(Object.keys(link_bytes).sort()).toEqual(["ada->bea", "ada->cleo", "cleo->driver", "driver->ada"]);
  expect(link_bytes["driver->ada"]).toBe(items_in + replayed);
  expect(link_bytes["ada->bea"]! + link_bytes["ada->cleo"]!).toBe(node_ms.double!.count);
  expect(link_bytes["cleo->driver"]).toBe(node_ms.plus1!.count);
  await mesh.lag;
  expect([ada.runtime.alive, ada.hosting.sites.length]).toEqual([0, 0]);
});

it.each(["lost", "suspected"] as const)("two workers of which one is %s to the other are parted", async (how) => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  mesh.add("cleo", { plus1: () => new Promise(() => {}) });
  const run = me.start({ double: ["ada"], plus1: ["cleo"] }, ITEMS);
  const found = bytes(run);
  await vi.waitFor(() => expect(ada.hosting.sites.length).toBe(1));
  me.places.plus1 = ["bea"];
  ada.hosting[how]("cleo");
  await vi.advanceTimersByTimeAsync(limits.PARTING_S * 1e3);
  expect(await found).toEqual(BOTH);
  expect((await run.receipt).epochs[1]!.reason).toBe("ada and cleo cannot reach each other");
  await mesh.lag;
  expect(mesh.peers.get("cleo")!.hosting.sites.length).toBe(0);
  expect((await run.receipt).link_bytes).toHaveProperty("ada->cleo");
});

it("two workers that do not hear each other are parted where another plan is to be had", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  mesh.add("cleo", { plus1: (byte) => (byte === 60 ? new Promise(() => {}) : byte + 1) });
  const run = me.start({ double: ["ada"], plus1: ["cleo"] }, ITEMS);
  const part = () => {
    me.places.plus1 = ["bea"];
    ada.hosting.suspected("cleo");
  };
  const found = after(20, run, part);
  await vi.waitFor(() => expect(run.counts.results_out).toBe(30));
  await vi.advanceTimersByTimeAsync(limits.PARTING_S * 1e3);
  expect(await found).toEqual(BOTH);
  expect((await run.receipt).epochs[1]!.reason).toBe("ada and cleo cannot reach each other");
});

it("where nobody fits it waits, says for whom, and goes on with whoever comes", async () => {
  const told: RunProgress[] = [];
  const onProgress = (progress: RunProgress) => told.push(progress);
  const run = me.start({ double: ["ada", "cleo"] }, ITEMS, { onProgress });
  mesh.kill("bea");
  const lose = () => {
    mesh.kill("ada");
    setTimeout(() => mesh.add("cleo", { double }), 50);
  };
  expect(await after(20, run, lose)).toEqual(ITEMS.map((item) => item * 2));
  const waiting = told.find((each) => each.trouble !== null);
  expect(waiting?.trouble).toEqual({ reason: "ada was lost: it is silent", nodes: ["double"] });
  expect(told.at(-1)).toMatchObject({ state: "done", trouble: null, epochs: [{ epoch: 1 }, { epoch: 2 }] });
});

it("and ends after 30 s with the name of who was lost, though its source waits", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  async function* slow() {
    yield Uint8Array.of(1);
    await new Promise(() => {});
  }
  const run = me.start({ double: ["ada"] }, slow());
  const ended = expect(after(1, run, () => mesh.kill("ada"))).rejects.toThrow(
    "ada was lost: it is silent; no peer took over within 30 s what it ran (double): nobody can run double",
  );
  await vi.advanceTimersByTimeAsync((limits.REPLACEMENT_TIMEOUT_S + 2) * 1e3);
  await ended;
  expect((await run.receipt).status).toBe("failed");
});

it("who cannot be linked to at the start is as good as lost, and is called while nobody else fits", async () => {
  const linkTo = me.linkTo.bind(me);
  let calls = 0;
  me.linkTo = async (peer) => {
    calls += 1;
    if (peer === "ada") throw new LinkError("ice", "no path to it");
    return linkTo(peer);
  };
  const run = me.start({ double: ["ada", "bea"] }, ITEMS);
  expect(await bytes(run)).toEqual(ITEMS.map((item) => item * 2));
  expect((await run.receipt).epochs[1]).toMatchObject({ reason: "ada was lost: ice: no path to it" });
  calls = 0;
  const alone = me.start({ double: ["ada"] }, ITEMS);
  const found = bytes(alone);
  await vi.waitFor(() => expect(calls).toBeGreaterThan(1));
  me.linkTo = async (peer) => {
    await linkTo(peer);
    alone.absence.linked(peer);
  };
  expect(await found).toEqual(ITEMS.map((item) => item * 2));
});

it("a second loss while it is set up anew begins another epoch", async () => {
  mesh.add("cleo", { double });
  const run = me.start({ double: ["ada", "bea", "cleo"] }, ITEMS);
  const stranger = mesh.peers.get("bea")!;
  stranger.hosting.start = async () => mesh.kill("bea");
  expect(await after(20, run, () => mesh.kill("ada"))).toEqual(ITEMS.map((item) => item * 2));
  const { epochs } = await run.receipt;
  expect(epochs.map(({ placement }) => placement.double)).toEqual([["ada"], ["bea"], ["cleo"]]);
});

it("a silent worker's nodes move where somebody else fits, and its return is no event where nobody does", async () => {
  const run = me.start({ double: ["ada", "bea"] }, ITEMS);
  const silent = () => run.absence.suspected("ada", "nothing was heard", false);
  expect(await after(20, run, silent)).toEqual(ITEMS.map((item) => item * 2));
  expect((await run.receipt).epochs.map(({ reason }) => reason)).toEqual([
    "start",
    "ada was suspected: nothing was heard",
  ]);
  const other = me.start({ double: ["ada"] }, ITEMS);
  const comesBack = () => {
    other.absence.suspected("ada", "nothing was heard", false);
    setTimeout(() => other.absence.linked("ada"), 20);
  };
  expect(await after(20, other, comesBack)).toEqual(ITEMS.map((item) => item * 2));
  expect((await other.receipt).epochs.length).toBe(1);
});

it("a worker that beats but does not get on loses its lease, and its nodes move", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
  mesh.add("cleo", { double: (byte) => (byte === 30 ? new Promise(() => {}) : byte * 2) });
  const run = me.start({ double: ["cleo", "bea"] }, ITEMS);
  const found = bytes(run);
  await vi.advanceTimersByTimeAsync((30 + limits.LEASE_GRACE_S + 3) * 1e3); // its time limit is 30 s
  expect(await found).toEqual(ITEMS.map((item) => item * 2));
  const { epochs } = await run.receipt;
  expect(epochs.map(({ placement }) => placement.double)).toEqual([["cleo"], ["bea"]]);
  expect(epochs[1]!.reason).toMatch(
    /^cleo is stuck: node 'double' stands still there at seq 30: nothing was heard of its call for 3\d s$/,
  );
  await mesh.lag;
  expect(mesh.peers.get("cleo")!.hosting.sites.length).toBe(0);
});

it("an item that kills its workers fails, alone, and no other does", async () => {
  const names = ["w1", "w2", "w3", "w4", "w5"];
  for (const name of names) {
    const dies = (byte: number) => {
      if (byte !== 30) return byte * 2;
      setTimeout(() => mesh.kill(name));
      return new Promise<number>(() => {});
    };
    mesh.add(name, { double: dies });
  }
  const run = me.start({ double: names }, ITEMS, { onError: "continue" });
  expect(await bytes(run)).toEqual(ITEMS.filter((item) => item !== 30).map((item) => item * 2));
  const receipt = await run.receipt;
  expect(receipt.seqs).toEqual({ done: 99, filtered: 0, failed: 1 });
  const cause = "peers were lost while it was alone in double: w2, w3, w4";
  expect(receipt.errors).toEqual([{ seq: 30, node: "double", peer: "w4", cause }]);
});

it("it is cancelled while it waits", async () => {
  const run = me.start({ double: ["ada"] }, ITEMS);
  const lose = () => {
    mesh.kill("ada");
    setTimeout(() => run.cancel(), 50);
  };
  await expect(after(20, run, lose)).rejects.toThrow("the run was cancelled");
});
