/** Plans asked of neighbours: the first that can plan is heard, and no one else. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import limits from "../../generated/limits.json";
import type { Plan, Planned } from "../../protocol/messages";
import { Plans } from "./planning";

const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const ANSWER = { name: "p", graph: {}, plan: {} };

let posted: [string, Plan | Planned][];
let plans: Plans;
beforeEach(() => {
  vi.useFakeTimers();
  posted = [];
  plans = new Plans((peer, message) => posted.push([peer, message]));
});
afterEach(() => vi.useRealTimers());

/** The peer that was asked last says something; `from` is somebody else in its place. */
async function answer(said: unknown, from?: string): Promise<void> {
  const [peer, { id }] = posted.at(-1)!;
  plans.answered(from ?? peer, {
    type: "PLANNED",
    id,
    answer: said instanceof Uint8Array ? (said as never) : text(said),
  });
  await vi.advanceTimersByTimeAsync(0);
}

test("the next one is asked where one is silent, cannot plan, or talks nonsense", async () => {
  const asked = plans.ask({ manifest: "m" }, ["ada", "bea", "cy", "dan"]);
  await vi.advanceTimersByTimeAsync(limits.PLAN_PATIENCE_S * 1e3);
  await answer({ error: "this peer does not plan" });
  await answer(new Uint8Array([0x7b]));
  await answer(ANSWER);
  expect(await asked).toEqual(ANSWER);
  expect(posted.map(([peer]) => peer)).toEqual(["ada", "bea", "cy", "dan"]);
  expect(posted.map(([, message]) => message)).toMatchObject(
    [1, 2, 3, 4].map((id) => ({ id, request: text({ manifest: "m" }) })),
  );
});

test("only the peer that was asked is heard, and only once", async () => {
  const asked = plans.ask({}, ["ada"]);
  await answer({ ...ANSWER, name: "forged" }, "eve");
  await answer(ANSWER);
  await answer({ ...ANSWER, name: "late" });
  expect(await asked).toEqual(ANSWER);
});

test("nobody plans: the last reason is told", async () => {
  const asked = plans.ask({}, ["ada"]).catch((error: Error) => error.message);
  await answer({ error: "the plan is too large for one message" });
  expect(await asked).toContain("too large");
  await expect(plans.ask({}, [])).rejects.toThrow("away");
});

test("a tab that is asked says that it does not plan", () => {
  plans.refuse("ada", { type: "PLAN", id: 7, request: text({}) });
  const [[peer, message]] = posted as [[string, Planned]];
  expect([peer, message.id, new TextDecoder().decode(message.answer)]).toEqual([
    "ada",
    7,
    expect.stringContaining("error"),
  ]);
});
