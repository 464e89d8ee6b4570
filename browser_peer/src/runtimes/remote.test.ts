import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Remote, type Reply } from "./remote";

/** A worker whose replies the test gives. */
class FakeWorker {
  onmessage: (event: { data: unknown }) => void = () => {};
  onerror: (event: { message: string; preventDefault(): void }) => void = () => {};
  posted: { id: number }[] = [];
  terminated = false;

  postMessage(message: { id: number }): void {
    this.posted.push(message);
  }
  terminate(): void {
    this.terminated = true;
  }
  reply(reply: Reply): void {
    this.onmessage({ data: reply });
  }
}

let worker: FakeWorker;
let remote: Remote;

beforeEach(() => {
  vi.useFakeTimers();
  worker = new FakeWorker();
  remote = new Remote(worker as unknown as Worker);
});
afterEach(() => vi.useRealTimers());

test("answers and errors find their calls", async () => {
  const first = remote.call({ op: "a" }, 1);
  const second = remote.call({ op: "b" }, 1);
  worker.reply({ id: worker.posted[1]!.id, error: "no", kind: "raised" });
  worker.reply({ id: worker.posted[0]!.id, answer: 42 });
  await expect(first).resolves.toBe(42);
  await expect(second).rejects.toMatchObject({ message: "no", kind: "raised" });
});

test("a call that computes too long ends the worker and all other calls", async () => {
  const slow = remote.call({}, 1);
  const other = remote.call({}, 1);
  const ends = Promise.allSettled([slow, other]);
  vi.advanceTimersByTime(1000);
  expect(worker.terminated).toBe(true);
  await expect(slow).rejects.toMatchObject({ kind: "timeout" });
  await expect(other).rejects.toBe(remote.ended);
  await expect(remote.call({}, 1)).rejects.toBe(remote.ended);
  await ends;
});

test("the time of a call that waits for its turn does not count", async () => {
  const first = remote.call({}, 1);
  const second = remote.call({}, 1);
  vi.advanceTimersByTime(900);
  worker.reply({ id: 0, answer: null });
  vi.advanceTimersByTime(900);
  worker.reply({ id: 1, answer: null });
  await Promise.all([first, second]);
  expect(worker.terminated).toBe(false);
});

test("a suspended call lets the next one begin, and keeps its own limit", async () => {
  const waiting = remote.call({}, 5);
  const computing = remote.call({}, 1);
  const ends = Promise.allSettled([waiting, computing]);
  worker.reply({ id: 0, suspended: true });
  vi.advanceTimersByTime(1000);
  await expect(computing).rejects.toMatchObject({ kind: "timeout" });
  await ends;
});

test("a worker that fails ends its calls", async () => {
  const call = remote.call({}, 1);
  worker.onerror({ message: "out of memory", preventDefault: () => {} });
  await expect(call).rejects.toMatchObject({ kind: "crashed", message: "its worker failed: out of memory" });
  expect(worker.terminated).toBe(true);
});
