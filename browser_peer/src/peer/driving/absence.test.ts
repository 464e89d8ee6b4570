/** Whom a run does without, and what it makes of their coming back; as in tests/peer/test_peer_absence.py. */

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Absence } from "./absence";
import type { Epoch } from "./epoch";

/** What an epoch is to its absence. */
const EPOCH = {
  workers: new Set(["ada", "bea"]),
  names: new Map([
    ["ada", "Ada"],
    ["bea", "Bea"],
  ]),
} as unknown as Epoch;

let run: Absence;
beforeEach(() => {
  run = new Absence(() => {});
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

it("two that have no link are kept apart, until one of them comes into the room again", () => {
  vi.useFakeTimers();
  run.unlinked("ada", "bea");
  run.unlinked("bea", "ada");
  expect(run.loss).toBe("");
  vi.advanceTimersByTime(5000);
  expect([run.apart, run.loss, run.peers]).toEqual([[["ada", "bea"]], "Ada and Bea cannot reach each other", []]);
  run.linked("ada");
  expect(run.apart).toHaveLength(1);
  run.joined("ada");
  expect(run.apart).toEqual([]);
});

it("unless the epoch is over before", () => {
  vi.useFakeTimers();
  run.unlinked("ada", "bea");
  run.began({ ...EPOCH } as Epoch);
  vi.advanceTimersByTime(5000);
  expect([run.apart, run.loss]).toEqual([[], ""]);
});
