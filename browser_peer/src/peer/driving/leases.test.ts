/** Leases of workers: what extends them, and what does not; as in tests/peer/test_peer_leases.py. */

import { expect, it } from "vitest";
import limits from "../../generated/limits.json";
import { readProgress } from "../../protocol/messages";
import type { Graph } from "../../run/graph";
import { Leases } from "./leases";

const GRAPH = { nodes: [{ id: "a", timeout_s: 2 }], edges: [], order: ["a"] } as unknown as Graph;
type Told = [ended: number, seq: number, busy: boolean];

/** One report a second, the last of them for ever; who is stuck until long after. */
function heard(reports: Told[], silent: string[] = []): [string, string] | undefined {
  const leases = new Leases(GRAPH, [["ada", ["a"]]], 0);
  for (let second = 1; second < 60; second++) {
    const report = reports[Math.min(second, reports.length) - 1];
    if (report) leases.told("ada", readProgress({ a: report }), second);
    const expired = leases.expired(second * limits.HEARTBEAT_S, silent);
    if (expired === undefined) continue;
    expect(second).toBeGreaterThan(2 + limits.LEASE_GRACE_S);
    return expired;
  }
  return undefined;
}

it("a call that does not end ends the lease", () => {
  const [worker, reason] = heard([
    [4, 3, true],
    [5, 4, true],
  ])!;
  expect(worker).toBe("ada");
  expect(reason).toMatch(/^node 'a' stands still there at seq 4: nothing was heard of its call for \d+ s$/);
});

it("so does a worker that reports nothing", () => {
  expect(heard([])).toBeDefined();
});

it("calls that end extend it, and a node without a call needs none", () => {
  expect(heard(Array.from({ length: 60 }, (_, number) => [number, 0, true]))).toBeUndefined();
  expect(heard([[1, 1, false]])).toBeUndefined();
});

it("who is silent is suspected for that, and not stuck", () => {
  expect(heard([[1, 1, true]], ["ada"])).toBeUndefined();
});

it("nobody is stuck after this side stood still", () => {
  const leases = new Leases(GRAPH, [["ada", ["a"]]], 0);
  leases.told("ada", readProgress({ a: [1, 1, true] }), 1);
  expect(leases.expired(100, [])).toBeUndefined();
  expect(leases.expired(100 + limits.HEARTBEAT_S, [])).toBeUndefined();
});

it("how far each node was is known of who told", () => {
  const leases = new Leases(GRAPH, [["ada", ["a"]]], 0);
  expect(leases.reached("ada")).toEqual(new Map([["a", 0]]));
  leases.told("ada", readProgress({ a: [9, 7, true], unknown: [1, 1, true] }), 1);
  expect(leases.reached("ada")).toEqual(new Map([["a", 7]]));
  expect(leases.reached("bea")).toEqual(new Map());
});

it.each([[[1, 1]], [[1, 1, 1]], [[1.5, 1, true]], [["1", 1, true]], [null], [{}]])("%j is no progress", (told) => {
  expect(() => readProgress({ a: told })).toThrow("progress is");
});
