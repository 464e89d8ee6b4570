/** Whom a run does without, and what it makes of their coming back; as in tests/peer/test_peer_absence.py. */

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import limits from "../../generated/limits.json";
import { Absence } from "./absence";
import type { Epoch } from "./epoch";

/** What an epoch is to its absence; `linked`: its two workers exchange results. */
function present(linked = true): Epoch {
  const workers = new Set(["ada", "bea"]);
  const names = new Map([
    ["ada", "Ada"],
    ["bea", "Bea"],
  ]);
  return { workers, names, placement: { neighbours: () => (linked ? workers : new Set()) } } as unknown as Epoch;
}

let probed: string[];
let run: Absence;
beforeEach(() => {
  probed = [];
  run = new Absence(
    () => {},
    (peer) => probed.push(peer),
  );
  run.began(present());
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

/** For as long as two workers may be silent to each other. */
const wait = () => vi.advanceTimersByTimeAsync(limits.PARTING_S * 1e3);

it("two who are heard, but not by each other, are parted", async () => {
  vi.useFakeTimers();
  void run.unheard("bea", "ada");
  void run.unheard("ada", "bea");
  expect([new Set(probed), run.suspicion]).toEqual([new Set(["ada", "bea"]), ""]); // perhaps one of them is gone itself
  await wait();
  expect([run.peers, run.apart.length, run.loss]).toEqual([[], 1, ""]);
  expect(run.suspicion).toBe("Ada and Bea cannot reach each other");
  run.began(present(false));
  expect([run.apart.length, run.suspicion]).toEqual([1, ""]); // the new plan did without
});

it("two who hear each other again are together again", async () => {
  vi.useFakeTimers();
  void run.unheard("ada", "bea");
  run.heard("bea", "ada");
  await wait();
  expect([run.apart, run.suspicion]).toEqual([[], ""]);
  void run.unheard("ada", "bea");
  await wait();
  expect(run.suspicion).not.toBe("");
  run.heard("bea", "ada");
  expect([run.apart, run.suspicion, run.loss]).toEqual([[], "", ""]);
});

it("what was on a link that is gone is lost, unless its epoch is over", async () => {
  vi.useFakeTimers();
  void run.unlinked("ada", "bea");
  run.heard("ada", "bea"); // over another link
  await wait();
  expect([run.apart, run.loss]).toEqual([[], "Ada and Bea cannot reach each other"]);
  run.began(present());
  void run.unlinked("ada", "bea");
  run.began(present());
  await wait();
  expect(run.loss).toBe("");
});

it("who comes into the room may be reached by all, and who only has a link again may not", async () => {
  vi.useFakeTimers();
  void run.unheard("ada", "bea");
  await wait();
  run.linked("ada");
  expect(run.apart).toHaveLength(1);
  run.joined("bea");
  expect(run.apart).toEqual([]);
});
