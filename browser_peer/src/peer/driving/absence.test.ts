/** Whom a run does without, and what it makes of their coming back; as in tests/peer/test_peer_absence.py. */

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import limits from "../../generated/limits.json";
import { Absence } from "./absence";
import type { Epoch } from "./epoch";

/** What an epoch is to its absence: here all its workers exchange results. */
const EPOCH = {
  workers: new Set(["ada", "bea"]),
  placement: { neighbours: () => new Set(["ada", "bea"]) },
  names: new Map([
    ["ada", "Ada"],
    ["bea", "Bea"],
  ]),
} as unknown as Epoch;

let run: Absence;
let probed: string[];
beforeEach(() => {
  probed = [];
  run = new Absence(
    () => {},
    (peer) => probed.push(peer),
  );
  run.began(EPOCH);
});
afterEach(() => void vi.useRealTimers());

it("who is silent and comes back was never away", () => {
  run.suspected("ada", "nothing was heard", false);
  expect([run.peers, run.suspicion, run.loss]).toEqual([["ada"], "Ada was suspected: nothing was heard", ""]);
  run.linked("ada");
  expect([run.peers, run.suspicion, run.loss]).toEqual([[], "", ""]);
});

it("whose process ended may have died of an item before its link is lost", () => {
  run.suspected("ada", "nothing was heard", true);
  run.suspected("bea", "nothing was heard", false);
  expect(run.dead).toEqual(new Set(["ada"]));
});

it("who was lost may come back, but the epoch does not", () => {
  run.suspected("ada", "nothing was heard", false);
  run.lost("ada", "no connection", true);
  expect([run.peers, run.dead, run.loss]).toEqual([["ada"], new Set(["ada"]), "Ada was lost: no connection"]);
  run.linked("ada");
  expect([run.peers, run.dead, run.loss]).toEqual([[], new Set(), "Ada was lost: no connection"]);
});

it("who is stuck stays out of the run", () => {
  run.stuck("ada", "node 'a' stands still");
  run.linked("ada");
  run.joined("ada");
  expect([run.peers, run.dead, run.loss]).toEqual([["ada"], new Set(["ada"]), "Ada is stuck: node 'a' stands still"]);
});

it("strangers do not matter unless they were linked", () => {
  run.lost("zoe", "it left the room", true);
  expect(run.peers).toEqual([]);
  run.suspected("zoe", "nothing was heard", false);
  run.lost("zoe", "no connection");
  expect([run.peers, run.loss]).toEqual([["zoe"], ""]);
});

const later = () => vi.advanceTimersByTimeAsync(limits.PARTING_S * 1e3);

it("two who are heard but not by each other are parted, until they hear each other", async () => {
  vi.useFakeTimers();
  void run.unheard("ada", "bea");
  expect([probed, run.suspicion]).toEqual([["ada", "bea"], ""]); // perhaps one of them is gone itself
  await later();
  expect([run.peers, run.apart, run.loss]).toEqual([[], [["ada", "bea"]], ""]);
  expect(run.suspicion).toBe("Ada and Bea cannot reach each other");
  run.heard("bea", "ada"); // the other way round it may be as it was
  expect(run.apart).toHaveLength(1);
  run.heard("ada", "bea");
  expect([run.apart, run.suspicion]).toEqual([[], ""]);
});

it("two who hear each other again at once were never apart", async () => {
  vi.useFakeTimers();
  void run.unheard("ada", "bea");
  run.heard("ada", "bea");
  await later();
  expect([run.apart, run.suspicion]).toEqual([[], ""]);
});

it("whom a worker did not hear is forgotten when it leaves the run", async () => {
  vi.useFakeTimers();
  void run.unheard("ada", "bea");
  run.began({ ...EPOCH, workers: new Set(["bea", "zoe"]) } as Epoch); // so it will not say when it hears it again
  void run.unheard("ada", "bea"); // said before it heard that it has left
  await later();
  expect([run.apart, run.suspicion]).toEqual([[], ""]);
});

it("two that have no link are kept apart, until one of them comes into the room again", async () => {
  vi.useFakeTimers();
  void run.unlinked("ada", "bea");
  void run.unlinked("bea", "ada");
  expect(run.loss).toBe("");
  await later();
  expect([run.apart, run.loss, run.peers]).toEqual([[["ada", "bea"]], "Ada and Bea cannot reach each other", []]);
  run.linked("ada");
  expect(run.apart).toHaveLength(1);
  run.joined("ada");
  expect(run.apart).toEqual([]);
});

it("what was on the link of an epoch that is over is of no interest", async () => {
  vi.useFakeTimers();
  void run.unlinked("ada", "bea");
  run.began({ ...EPOCH } as Epoch);
  await later();
  expect(run.loss).toBe("");
});
