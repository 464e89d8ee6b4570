/**
 * A run that this peer drives: plan, start everywhere, feed, gather, receipt; as in mesh/peer/driving/run.py.
 *
 * The loss of a worker begins a new epoch: a new plan without it, everything set up anew, and what was not finished again.
 */

import { Changes } from "../../deferred";
import { toHex } from "../../protocol/grants";
import { type RunMessage as Message, readStats, type WorkerStats } from "../../protocol/messages";
import { Driver } from "../../run/driver";
import { BEGINNING, type Resumption } from "../../run/events";
import { type Graph, type Plan, sameGraph } from "../../run/graph";
import { type Counts, type DriverInstruction, type Failure, NO_COUNTS } from "../../run/outcome";
import type { RunKey, Site } from "../site";
import {
  type ItemFailure,
  type MoveRecord,
  type Receipt,
  type Result,
  RunError,
  type RunHandle,
  type RunOptions,
  type RunProgress,
} from "../types";
import { Absence, type Absent } from "./absence";
import { Epoch, type Home as EpochHome, type Owner } from "./epoch";
import { Hearing, type Listener } from "./hearing";
import { type Movable, Moves, type Home as MovesHome } from "./moves";
import { type Account, progressOf, receiptOf, reportOf } from "./receipt";
import { type Planned, planAnew, type Trouble } from "./replanning";
import { Stats } from "./stats";

/** Between two questions for the workers' times. */
const STATS_MS = 1000;
const PROGRESS_MS = 250;

export type Items = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** What a run needs of its peer. */
export interface Home extends EpochHome, MovesHome {
  /** Rejects with ManifestFaults, PlanRefused or SignalingError. */
  plan(manifest: string, pins: Record<string, string>, absent?: Absent): Promise<Planned>;
  report(run: object): void;
  ended(run: Run): void;
}

export class Run implements RunHandle, Account, Trouble, Movable, Listener, Owner {
  readonly id: string;
  readonly key: RunKey;
  readonly planned: Promise<Planned>;
  readonly receipt: Promise<Receipt>;
  private readonly started = performance.now();
  readonly failures: ItemFailure[] = [];
  state: RunProgress["state"] = "planning";
  detail = "asking for a plan";
  error: Error | undefined;
  name = "";
  graph: Graph | undefined;
  driver: Driver | undefined;
  readonly epochs: Epoch[] = [];
  private readonly stats: Stats;
  /** The present epoch is set up; until then nothing of the run moves. */
  private stands = false;
  private result: Result | undefined;
  private readonly changes = new Changes();
  readonly moves: Moves;
  private readonly hearing = new Hearing(this);
  readonly absence: Absence;
  private closed = false;

  constructor(
    private readonly home: Home,
    private readonly manifest: string,
    private readonly items: Items,
    private readonly options: RunOptions = {},
  ) {
    this.id = toHex(crypto.getRandomValues(new Uint8Array(6)));
    this.key = { driver: home.id, run: this.id };
    this.stats = new Stats(this.key, (peer, message) => home.post(peer, message));
    this.moves = new Moves(home, this);
    this.absence = new Absence(
      () => this.changes.happen(),
      (peer) => home.probe(peer),
    );
    this.planned = home.plan(manifest, options.pins ?? {});
    this.planned.catch(() => {}); // whoever iterates gets the error as well
    options.signal?.addEventListener("abort", () => this.cancel(), { once: true });
    if (options.signal?.aborted) this.cancel();
    this.receipt = this.course();
  }

  // For the application

  /** Results in (seq, part) order; leaving the loop early cancels the run. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Result> {
    try {
      while (true) {
        while (this.result === undefined && !this.closed) await this.changes.happened;
        if (this.result === undefined) break;
        const result = this.result;
        this.result = undefined;
        if (!this.over) this.carryOut(this.driver!.taken());
        yield result;
      }
      if (this.error !== undefined) throw this.error;
    } finally {
      this.cancel();
    }
  }

  /**
   * Gives an item up: what waits for it anywhere is dropped, what computes for it is interrupted where its runtime can, and
   * results of it that were not taken do not come. A stateful node may have seen it. Throws a RangeError if it was not taken
   * in.
   */
  cancelItem(seq: number): void {
    if (this.driver === undefined) throw new RangeError("no item was taken in");
    this.carryOut(this.driver.cancel(seq));
  }

  /** Ends the run everywhere; what is queued for it is dropped. Nothing happens where it is over. */
  cancel(): void {
    this.end("cancelled", new RunError("the run was cancelled"));
  }

  // The course of the run

  private async course(): Promise<Receipt> {
    const ticking = setInterval(() => this.tell(), PROGRESS_MS);
    const asking = setInterval(() => this.state === "running" && this.stats.ask(this.epoch!.workers), STATS_MS);
    let watching = () => {};
    try {
      await this.prepare();
      this.enter("running", "");
      if (!this.over) void this.feed();
      void this.moves.watch();
      watching = this.absence.watch();
      while (!this.over) await (this.reason() ? this.recover() : this.changes.happened);
    } catch (error) {
      this.end("failed", asError(error));
    }
    watching();
    clearInterval(ticking);
    clearInterval(asking);
    return this.close();
  }

  /** The first plan, and the first epoch. */
  private async prepare(): Promise<void> {
    const planned = await this.unlessOver(this.planned);
    if (planned === undefined) return;
    this.name = planned.name;
    this.graph = planned.graph;
    const epoch = this.nextEpoch(planned.plan, "start", BEGINNING);
    this.driver = new Driver(planned.graph, epoch.placement, { onError: this.options.onError ?? "stop" });
    this.driver.interrupt(); // nothing goes out before the epoch stands
    this.enter("connecting", epoch.workerNames());
    await this.setUp(epoch);
  }

  /** Nothing moves from here on, until it is set up. */
  private nextEpoch(plan: Plan, reason: string, resumption: Resumption): Epoch {
    this.stands = false;
    this.moves.interrupted();
    const numbered = { ...plan, epoch: this.epochs.length + 1 };
    const epoch = new Epoch(this.home, {
      key: this.key,
      graph: this.graph!,
      plan: numbered,
      reason,
      resumption,
      onError: this.options.onError ?? "stop",
      owner: this,
      ends: this.hearing,
      before: this.epoch,
    });
    this.epochs.push(epoch);
    this.absence.began(epoch);
    this.options.onPlan?.({ graph: this.graph!, plan: numbered });
    return epoch;
  }

  /** Leaves it where a worker is absent meanwhile; rejects where a part cannot be set up. */
  private async setUp(epoch: Epoch): Promise<void> {
    try {
      await this.changes.unless(() => this.over || this.reason() !== "", epoch.setUp());
    } catch (error) {
      if (this.reason() === "") throw error;
    }
    if (this.over) return;
    if (this.reason()) {
      this.absence.lose(this.reason());
      return;
    }
    this.stands = true;
    this.moves.began();
    this.carryOut(this.driver!.resume(epoch.placement));
    this.tell();
  }

  linked(): void {
    if (this.state === "connecting") this.enter("loading", this.epoch!.workerNames());
  }

  // Who is absent

  /** Why the present epoch should not go on as it is; a run that could not begin another one waits for a loss. */
  reason(): string {
    if (this.over) return "";
    return this.absence.loss || (this.driver?.fault ? "" : this.absence.suspicion);
  }

  /** What absent peers run. */
  nodes(): string[] {
    return this.epoch!.nodesOn([...this.absence.peers, ...this.absence.apart.flat()]);
  }

  call(): void {
    const { dead, peers } = this.absence;
    for (const peer of peers) if (!dead.has(peer)) this.home.linkTo(peer).catch(() => undefined); // then it is as it was
  }

  /** A new epoch without who is absent. The present one goes on until there is a plan, as far as it can. */
  private async recover(): Promise<void> {
    const [driver, before] = [this.driver!, this.epoch!];
    if (driver.fault) throw new RunError(`${this.absence.loss}; ${driver.fault}, so the run cannot go on`);
    this.tell();
    const planned = await this.unlessOver(planAnew(() => this.planWith({}, []), this));
    const reason = this.reason();
    if (planned === undefined || reason === "") return;
    if (!sameGraph(planned.graph, this.graph!)) {
      throw new RunError(`${reason}; the room's node types are not any more what they were when the run began`);
    }
    const epoch = this.nextEpoch(planned.plan, reason, driver.interrupt(before.deaths(this.absence.dead)));
    const leaving = [...before.workers].filter((worker) => !epoch.workers.has(worker));
    this.stats.ask(leaving.filter((worker) => !this.absence.peers.includes(worker)));
    before.stop(leaving, reason);
    before.close();
    await this.setUp(epoch);
  }

  // What its moves need

  /** A plan without who is absent. */
  planWith(pins: Record<string, string>, without: Iterable<string>): Promise<Planned> {
    const absent = { without: [...this.absence.peers, ...without], apart: this.absence.apart };
    return this.home.plan(this.manifest, { ...pins, ...this.options.pins }, absent);
  }

  get standing(): Epoch | undefined {
    return this.stands && !this.over && this.reason() === "" ? this.epoch : undefined;
  }

  stepped(): void {
    this.options.onPlan?.({ graph: this.graph!, plan: this.epoch!.plan });
  }

  leave(workers: string[], reason: string): void {
    this.stats.ask(workers);
    this.epoch!.dismiss(workers, reason);
  }

  // Items

  /** Admits items until there are no more; what their source throws ends the run. */
  private async feed(): Promise<void> {
    const { items } = this;
    const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
    try {
      for (await this.room(); !this.over; await this.room()) {
        const next = await this.unlessOver(Promise.resolve(source.next()));
        if (next === undefined || next.done) break;
        await this.room(); // an item may have failed while the source was waited for
        if (!this.over) this.carryOut(this.driver!.admit(next.value));
      }
      if (this.over) await source.return?.();
      else this.carryOut(this.driver!.finishInput());
    } catch (error) {
      this.end("failed", asError(error));
    }
  }

  /** For another item: as the window and the credit of the sources allow. */
  private async room(): Promise<void> {
    while (!this.over && !this.driver!.canAdmit()) await this.changes.happened;
  }

  /** Frees the run everywhere and writes the receipt. */
  private async close(): Promise<Receipt> {
    const { epoch } = this;
    if (epoch !== undefined) {
      if (this.state === "done" || (this.error instanceof RunError && this.error.failure)) {
        this.stats.ask(epoch.workers);
        await this.stats.wait();
      }
      epoch.stop(epoch.workers, this.state);
      epoch.close();
    }
    this.closed = true;
    this.home.ended(this);
    this.tell();
    this.changes.happen();
    return receiptOf(this);
  }

  // States and waiting

  /** The present one, or the last. */
  private get epoch(): Epoch | undefined {
    return this.epochs.at(-1);
  }

  /** This peer's own part of the run, once there is a plan. */
  get site(): Site | undefined {
    return this.epoch?.site;
  }

  get over(): boolean {
    return this.state === "done" || this.state === "failed" || this.state === "cancelled";
  }

  private enter(state: RunProgress["state"], detail: string): void {
    if (this.over) return;
    this.state = state;
    this.detail = detail;
    this.tell();
  }

  private end(state: "done" | "failed" | "cancelled", error?: Error): void {
    if (this.over) return;
    this.state = state;
    this.detail = error?.message ?? "";
    this.error = error;
    this.moves.interrupted();
    this.changes.happen();
  }

  /** What the promise gives, or undefined as soon as the run is over. */
  private unlessOver<Value>(promise: Promise<Value>): Promise<Value | undefined> {
    return this.changes.unless(() => this.over, promise);
  }

  // What the engines want done

  carryOut(instructions: readonly DriverInstruction[]): void {
    for (const instruction of instructions) {
      switch (instruction.do) {
        case "result":
          if (!this.over) this.result = instruction; // what the engine still has at a bad end stays there
          break;
        case "cancelSeq":
          this.epoch!.cancel(instruction.seq);
          break;
        case "seqFailed":
          this.itemError(instruction.error);
          break;
        case "finished": {
          const failure = instruction.error && this.itemError(instruction.error);
          this.end(instruction.status, failure ?? (instruction.reason ? new RunError(instruction.reason) : undefined));
          break;
        }
        default:
          this.epoch!.site.execute([instruction]);
      }
    }
    this.moves.resultsCame();
    this.changes.happen();
  }

  private itemError({ seq, node, peer, cause }: Failure): RunError {
    const failure = { seq, node, peer, cause };
    this.failures.push(failure);
    this.options.onFailure?.(failure);
    return new RunError(`seq ${seq}, node '${node}' on peer '${peer}': ${cause}`, failure);
  }

  /** An event of the present epoch, once that is set up. */
  proceed(event: (driver: Driver) => readonly DriverInstruction[]): void {
    if (this.stands) this.carryOut(event(this.driver!));
  }

  post(to: string, message: Message): void {
    this.home.post(to, message);
  }

  // What the workers say

  /** A message of one of the run's workers; throws where it is none of theirs to send. */
  receive(sender: string, message: Message): void {
    const { epoch } = this;
    if (epoch === undefined) throw new Error(`run ${this.id} has not begun`);
    if (message.type === "STATS_REPLY") {
      this.stats.take(sender, readStats(message.body), this.epochs);
      return;
    }
    if (message.type === "SILENCE") {
      this.silence(sender, message); // of a link, whatever the epoch
      return;
    }
    if (this.over || ("epoch" in message && message.epoch !== epoch.number)) return;
    if (!epoch.names.has(sender)) throw new Error(`${sender} has no part in run ${this.id}`);
    this.hearing.receive(epoch, sender, message);
  }

  private silence(sender: string, { peer, silent }: Extract<Message, { type: "SILENCE" }>): void {
    const known = (each: string) => this.epochs.some(({ names }) => names.has(each));
    if (!known(sender) || !known(peer)) throw new Error(`${sender} and ${peer} have no part in run ${this.id}`);
    if (silent) void this.absence.unheard(sender, peer);
    else this.absence.heard(sender, peer);
  }

  /** Its link is gone. */
  lost(peer: string, reason: string, died: boolean): void {
    if (this.epoch?.workers.has(peer)) this.stats.lose(peer, this.epochs);
    this.stats.forget(peer);
    this.absence.lost(peer, reason, died);
  }

  // What it says of itself

  get counts(): Readonly<Counts> {
    return this.driver?.counts ?? NO_COUNTS;
  }

  get moved(): MoveRecord[] {
    return this.moves.made;
  }

  get told(): Iterable<WorkerStats> {
    return this.stats.told.values();
  }

  get elapsedMs(): number {
    return performance.now() - this.started;
  }

  /** Shows the present state to the page and, through signaling, to the dashboard. */
  private tell(): void {
    this.options.onProgress?.(progressOf(this));
    this.home.report(reportOf(this));
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
