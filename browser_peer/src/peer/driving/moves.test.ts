import { beforeEach, expect, it, vi } from "vitest";
import { LinkError } from "../../errors";
import type { Run } from "./run";
import { bytes, Mesh, type Peer, type Work } from "./testing";

const ITEMS = Array.from({ length: 100 }, (_, index) => index);
const BOTH = ITEMS.map((item) => item * 2 + 1);
const double: Work = (byte) => byte * 2;
const plus1: Work = (byte) => byte + 1;

/** So that not all items are on their way before anything happens. */
async function* slowly(): AsyncGenerator<Uint8Array> {
  for (const item of ITEMS) {
    await new Promise((resolve) => setTimeout(resolve, 4));
    yield Uint8Array.of(item);
  }
}

vi.mock("../../generated/limits.json", async (original) => {
  const { default: limits } = await original<{ default: object }>();
  return { default: { ...limits, MOVE_INTERVAL_S: 0.02 } };
});

let mesh: Mesh;
let me: Peer;
let ada: Peer;
let bea: Peer;
beforeEach(() => {
  mesh = new Mesh();
  const works = { double, plus1 };
  [me, ada, bea] = [mesh.add("me", works), mesh.add("ada", works), mesh.add("bea", works)];
});

function leaves(peer: Peer, run: Run): void {
  peer.post("me", { type: "LEAVING", ...run.key, epoch: 1, text: `${peer.name} drains` });
}

it("a worker that leaves has its nodes moved, and nothing is replayed", async () => {
  const plans: string[] = [];
  const run = me.start({ double: ["ada", "bea"], plus1: ["ada", "me"] }, slowly(), {
    onPlan: ({ plan }) => plans.push(plan.steps.at(-1)!.nodes.double!.on[0]!.peer),
  });
  const found = bytes(run);
  await vi.waitFor(() => expect(run.standing).toBeDefined());
  leaves(ada, run);
  expect(await found).toEqual(BOTH);
  const { epochs, moves, replayed, duplicates_dropped, node_ms, link_bytes } = await run.receipt;
  expect(epochs).toEqual([{ epoch: 1, reason: "start", placement: { double: ["ada"], plus1: ["ada"] } }]);
  expect(moves).toEqual([
    { epoch: 1, from_seq: expect.any(Number), reason: "ada drains", placement: { double: ["bea"], plus1: ["driver"] } },
  ]);
  expect([replayed, duplicates_dropped]).toEqual([0, 0]);
  expect(node_ms).toMatchObject({ double: { count: 100 }, plus1: { count: 100 } });
  expect(link_bytes["driver->ada"]! + link_bytes["driver->bea"]!).toBe(100);
  expect(plans).toEqual(["ada", "bea"]);
  await mesh.lag;
  expect([ada.hosting.sites.length, ada.runtime.alive, me.runtime.alive]).toEqual([0, 0, 0]);
});

it("nodes move where items take less time, when the room has changed", async () => {
  const run = me.start({ double: ["ada"], plus1: ["ada"] }, slowly());
  const found = bytes(run);
  await vi.waitFor(() => expect(run.standing).toBeDefined());
  me.places.double = ["bea", "ada"];
  me.room = new Map([["bea", "it can double"]]);
  run.moves.reconsider();
  expect(await found).toEqual(BOTH);
  const { moves, replayed } = await run.receipt;
  expect(moves).toMatchObject([
    { reason: "an item takes 1.0 ms instead of 2.0 ms", placement: { double: ["bea"], plus1: ["ada"] } },
  ]);
  expect(replayed).toBe(0);
});

it("a move to somebody who cannot be reached is called off, and the run goes on as it was", async () => {
  const run = me.start({ double: ["ada", "bea"], plus1: ["ada", "bea"] }, slowly());
  const found = bytes(run);
  const linkTo = me.linkTo.bind(me);
  await vi.waitFor(() => expect(run.standing).toBeDefined());
  me.linkTo = (peer) => (peer === "bea" ? Promise.reject(new LinkError("ice", "no link to bea")) : linkTo(peer));
  leaves(ada, run);
  expect(await found).toEqual(BOTH);
  const { epochs, moves } = await run.receipt;
  expect([epochs.length, moves]).toEqual([1, []]);
  expect(bea.runtime.alive).toBe(0);
});

it("a loss while nodes move is an epoch like any other", async () => {
  const run = me.start({ double: ["ada", "bea"], plus1: ["ada", "me"] }, slowly());
  const found = bytes(run);
  await vi.waitFor(() => expect(run.standing).toBeDefined());
  bea.hosting.cut = () => mesh.kill("ada");
  leaves(ada, run);
  expect(await found).toEqual(BOTH);
  const { epochs, seqs } = await run.receipt;
  expect(epochs.at(-1)).toMatchObject({ epoch: 2, placement: { double: ["bea"], plus1: ["driver"] } });
  expect(seqs).toEqual({ done: 100, filtered: 0, failed: 0 });
});
