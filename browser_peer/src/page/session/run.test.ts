import { describe, expect, it } from "vitest";
import { type PeerApi, PlanRefused, type Receipt, type Result, RunError, type RunOptions } from "../../peer/types";
import { Following } from "./run";
import { EMPTY, isRunning, ROWS_KEPT, type State, Store } from "./state";

type Course = (options: RunOptions, items: Iterable<Uint8Array>) => AsyncGenerator<Result>;

/** A peer whose every run takes this course. */
function peer(course: Course, receipt: Partial<Receipt>): PeerApi {
  const run = (_: string, items: Iterable<Uint8Array>, options: RunOptions) => ({
    id: "r1",
    planned: new Promise(() => {}),
    receipt: Promise.resolve(receipt),
    cancel: () => {},
    [Symbol.asyncIterator]: () => course(options, items),
  });
  return { run } as unknown as PeerApi;
}

async function followed(api: PeerApi, items: Uint8Array[] = []): Promise<State> {
  const store = new Store<State>(EMPTY);
  await new Following(api, items, store).end();
  return store.value;
}

const part = (seq: number): Result => ({ seq, part: 0, payload: new Uint8Array([seq & 127]) });

describe("Following", () => {
  it("gathers results with the time of their item, and failures in their place", async () => {
    const api = peer(
      async function* (options, items) {
        for (const [seq] of [...items].entries()) {
          if (seq === 1) options.onFailure?.({ seq, node: "a", peer: "ada", cause: "no" });
          else yield part(seq);
        }
        yield part(3); // of finish: no item was taken for it
      },
      { status: "done" },
    );
    const { run } = await followed(api, [new Uint8Array(), new Uint8Array(), new Uint8Array()]);
    expect(run?.rows.map((row) => (row.kind === "result" ? row.result.seq : `${row.failure.seq} failed`))).toEqual([
      0,
      "1 failed",
      2,
      3,
    ]);
    const times = run?.rows.flatMap((row) => (row.kind === "result" ? [row.tookMs === null] : []));
    expect(times).toEqual([false, false, true]);
    expect(run?.receipt?.status).toBe("done");
  });

  it("keeps the last rows and counts all", async () => {
    const api = peer(
      async function* () {
        for (let seq = 0; seq < 1000; seq++) yield part(seq);
      },
      { status: "done" },
    );
    const { run } = await followed(api);
    expect(run?.total).toBe(1000);
    expect(run?.rows.length).toBeLessThanOrEqual(2 * ROWS_KEPT);
    expect(run?.rows.at(-1)).toMatchObject({ result: { seq: 999 } });
  });

  const broken = (error: Error): Course =>
    async function* () {
      yield part(0);
      throw error;
    };

  it("says why a run broke off, and that it is over", async () => {
    const state = await followed(peer(broken(new RunError("peer ada was lost")), { status: "failed" }));
    expect(state.run?.error).toBe("peer ada was lost");
    expect(isRunning(state)).toBe(false);
  });

  it("takes a cancelled run for no error", async () => {
    const { run } = await followed(peer(broken(new RunError("cancelled")), { status: "cancelled" }));
    expect([run?.error, run?.receipt?.status]).toEqual([null, "cancelled"]);
  });

  it("makes an obstacle of a refused plan", async () => {
    const refused = new PlanRefused("no peer fits", [{ node: "a", peer: "ada", lacks: ["a GPU"] }]);
    const state = await followed(peer(broken(refused), { status: "failed" }));
    expect(state.run).toBeNull();
    expect(state.obstacle).toMatchObject({ kind: "refused", message: "no peer fits" });
  });
});
