/** What the workers of a run measured, asked of them while it goes on, when they leave it and at its end. */

import { Deferred, within } from "../../deferred";
import { ProtocolError } from "../../errors";
import limits from "../../generated/limits.json";
import type { RunMessage as Message, WorkerStats } from "../../protocol/messages";
import type { RunKey } from "../site";
import type { Epoch } from "./epoch";

/** A worker counts from the epoch in which it came into the run until it leaves it; one that comes back, anew. */
export class Stats {
  /** What each told last, by its id and the epoch since which it counts. */
  readonly told = new Map<string, WorkerStats>();
  /** Questions without an answer. Answers come in the order of the questions. */
  private readonly asked = new Map<string, number>();
  private answered = new Deferred<void>();

  constructor(
    private readonly key: RunKey,
    private readonly post: (peer: string, message: Message) => void,
  ) {}

  ask(workers: Iterable<string>): void {
    for (const worker of workers) {
      this.post(worker, { type: "STATS", ...this.key });
      this.asked.set(worker, (this.asked.get(worker) ?? 0) + 1);
    }
  }

  /** A worker's answer; throws ProtocolError where it had no part in the epoch that it names. */
  take(sender: string, stats: WorkerStats, epochs: readonly Epoch[]): void {
    if (!epochs.some((epoch) => epoch.number === stats.since && epoch.names.has(sender))) {
      throw new ProtocolError("bad-message", `${sender} had no part in epoch ${stats.since} of run ${this.key.run}`);
    }
    this.told.set(`${sender} ${stats.since}`, stats);
    const open = (this.asked.get(sender) ?? 0) - 1;
    if (open > 0) this.asked.set(sender, open);
    else this.forget(sender);
  }

  /** A worker of the last epoch is gone, and with it what it counted since it came into the run: a part would not add up. */
  lose(worker: string, epochs: readonly Epoch[]): void {
    const without = epochs.findLast((epoch) => !epoch.workers.has(worker));
    this.told.delete(`${worker} ${(without?.number ?? 0) + 1}`);
  }

  /** It has answered, or will not. */
  forget(worker: string): void {
    this.asked.delete(worker);
    if (this.asked.size === 0) this.answered.resolve();
  }

  /** For all answers, STATS_TIMEOUT_S at most. */
  async wait(): Promise<void> {
    this.answered = new Deferred();
    if (this.asked.size > 0) await within(limits.STATS_TIMEOUT_S, this.answered.promise);
  }
}
