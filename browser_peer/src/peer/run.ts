/** A run that this peer drives: plan, start everywhere, feed, gather, receipt. */

import { Deferred } from "../deferred";
import type { Message } from "../protocol/messages";
import { Driver, type DriverInstruction, type Failure } from "../run/driver";
import type { Frame, Instruction } from "../run/events";
import type { Graph, Plan } from "../run/graph";
import { Placement } from "../run/placement";
import { type Runtimes, summaries } from "./host";
import { type Account, progressOf, readCheckpoint, readError, receiptOf, reportOf } from "./receipt";
import { type Credit, type Ends, type Outside, type RunKey, Site } from "./site";
import {
  type ItemFailure,
  type NodeTimes,
  type Receipt,
  type Result,
  RunError,
  type RunHandle,
  type RunOptions,
  type RunProgress,
} from "./types";
import { Workers, type Home as WorkersHome } from "./workers";

const DRIVER = "driver";
/** Between two questions for the workers' times. */
const STATS_MS = 1000;
const STATS_TIMEOUT_MS = 2000;
const PROGRESS_MS = 250;

export type Items = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A plan: what is run, and where; `name` is the pipeline's. */
export interface Planned {
  graph: Graph;
  plan: Plan;
  name: string;
}

/** What a run needs of its peer. */
export interface Home extends WorkersHome {
  readonly id: string;
  readonly runtimes: Runtimes;
  plan(manifest: string, pins: Record<string, string>): Promise<Planned>;
  nameOf(peer: string): string;
  report(run: object): void;
  /** What calls took here (ms), by node type and runtime. */
  learn(costs: Record<string, Record<string, number>>): void;
  ended(run: Run): void;
}

export class Run implements RunHandle, Outside, Ends {
  readonly id: string;
  readonly key: RunKey;
  readonly planned: Promise<Planned>;
  readonly receipt: Promise<Receipt>;
  private readonly started = performance.now();
  private readonly failures: ItemFailure[] = [];
  private state: RunProgress["state"] = "planning";
  private detail = "asking for a plan";
  private error: Error | undefined;
  private made: Planned | undefined;
  private driver: Driver | undefined;
  private workers: Workers | undefined;
  /** This peer's own part of the run, once there is a plan. */
  site: Site | undefined;
  private result: Result | undefined;
  private changed = new Deferred<void>();
  private closed = false;

  constructor(
    private readonly home: Home,
    manifest: string,
    private readonly items: Items,
    private readonly options: RunOptions = {},
  ) {
    this.id = hex(crypto.getRandomValues(new Uint8Array(6)));
    this.key = { driver: home.id, run: this.id };
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
        while (this.result === undefined && !this.closed) await this.changed.promise;
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

  /** Ends the run everywhere; what is queued for it is dropped. Nothing happens where it is over. */
  cancel(): void {
    this.end("cancelled", new RunError("the run was cancelled"));
  }

  // The course of the run

  private async course(): Promise<Receipt> {
    const ticking = setInterval(() => this.tell(), PROGRESS_MS);
    const asking = setInterval(() => this.state === "running" && this.workers?.ask(), STATS_MS);
    try {
      await this.prepare();
      if (!this.over) this.enter("running", "");
      await this.feed();
      while (!this.over) await this.changed.promise;
    } catch (error) {
      this.end("failed", error instanceof Error ? error : new Error(String(error)));
    }
    clearInterval(ticking);
    clearInterval(asking);
    return this.close();
  }

  /** Plans, and sets up the fragments of all peers at once. */
  private async prepare(): Promise<void> {
    this.made = await this.unlessOver(this.planned);
    if (this.made === undefined) return;
    const { graph, plan } = this.made;
    const placement = Placement.fromPlan(graph, this.home.id, plan);
    const names = Array.from(placement.peers(), (peer) => [peer, this.home.nameOf(peer)] as const);
    this.workers = new Workers(this.home, this.address(), new Map([...names, [this.home.id, DRIVER]]));
    this.driver = new Driver(graph, placement, { onError: this.options.onError ?? "stop" });
    this.site = new Site({
      key: this.key,
      epoch: plan.epoch,
      graph,
      placement,
      me: this.home.id,
      runtimes: this.home.runtimes,
      outside: this,
      ends: this,
    });
    await this.unlessOver(Promise.all([this.site.host.setup(), this.startWorkers()]));
  }

  private async startWorkers(): Promise<void> {
    const { graph, plan } = this.made!;
    const workers = this.workers!;
    this.enter("connecting", workers.list());
    await workers.connect();
    if (this.over) return;
    this.enter("loading", workers.list());
    const { epoch, steps } = plan;
    await workers.start({
      graph,
      plan: { epoch, steps },
      on_error: this.options.onError ?? "stop",
      from_seq: 0,
      states: {},
    });
  }

  /** Admits items as the window and the credit of the sources allow. */
  private async feed(): Promise<void> {
    const source =
      Symbol.asyncIterator in this.items ? this.items[Symbol.asyncIterator]() : this.items[Symbol.iterator]();
    const room = async () => {
      while (!this.over && !this.driver!.canAdmit()) await this.changed.promise;
    };
    for (await room(); !this.over; await room()) {
      const next = await this.unlessOver(Promise.resolve(source.next()));
      if (next === undefined || next.done) break;
      await room(); // an item may have failed while the source was waited for
      if (!this.over) this.carryOut(this.driver!.admit(next.value));
    }
    if (this.over) Promise.resolve(source.return?.()).catch(() => undefined);
    else this.carryOut(this.driver!.finishInput());
  }

  /** Frees the run everywhere and writes the receipt. */
  private async close(): Promise<Receipt> {
    if (this.state === "done") await this.gatherStats();
    this.workers?.stop(this.state);
    this.site?.close();
    if (this.site) this.home.learn(this.site.host.costs());
    this.closed = true;
    this.home.ended(this);
    this.tell();
    this.notify();
    return receiptOf(this.account());
  }

  /** The times of the workers, complete now. */
  private async gatherStats(): Promise<void> {
    this.workers!.ask();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.notify();
    }, STATS_TIMEOUT_MS);
    while (!late && this.workers!.unanswered > 0) await this.changed.promise;
    clearTimeout(timer);
  }

  // States and waiting

  private get over(): boolean {
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
    this.notify();
  }

  /** Wakes everybody who waits for something to change. */
  private notify(): void {
    const { resolve } = this.changed;
    this.changed = new Deferred();
    resolve();
  }

  /** What the promise gives, or undefined as soon as the run is over. */
  private async unlessOver<Value>(promise: Promise<Value>): Promise<Value | undefined> {
    let settled: { value: Value } | { error: unknown } | undefined;
    promise.then(
      (value) => {
        settled = { value };
        this.notify();
      },
      (error: unknown) => {
        settled = { error };
        this.notify();
      },
    );
    while (settled === undefined && !this.over) await this.changed.promise;
    if (settled === undefined) return undefined;
    if ("error" in settled) throw settled.error;
    return settled.value;
  }

  // What the engines want done

  private carryOut(instructions: readonly DriverInstruction[]): void {
    for (const instruction of instructions) {
      switch (instruction.do) {
        case "result":
          this.result = instruction;
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
          this.site!.execute([instruction]);
      }
    }
    this.notify();
  }

  private itemError({ seq, node, peer, cause }: Failure): RunError {
    const failure = { seq, node, peer, cause };
    this.failures.push(failure);
    this.options.onFailure?.(failure);
    return new RunError(`seq ${seq}, node '${node}' on peer '${peer}': ${cause}`, failure);
  }

  frame(frame: Frame): void {
    this.carryOut(this.driver!.frame(frame));
  }

  credit(edge: number, seq: number, bytes: number): void {
    this.carryOut(this.driver!.credit(edge, seq, bytes));
  }

  sendFrame(_: Site, to: string, frame: Frame): void {
    this.home.post(to, { type: "PART", ...this.address(), ...frame });
  }

  sendCredit(_: Site, to: string, { edge, seq, bytes }: Credit): void {
    this.home.post(to, { type: "CREDIT", ...this.address(), edge, seq, amount: bytes });
  }

  itemFailed(_: Site, { node, seq, kind, cause }: Extract<Instruction, { do: "error" }>): void {
    this.carryOut(this.driver!.error(node, seq, kind, cause, DRIVER));
  }

  stateSaved(_: Site, { node, seq, state, fault }: Extract<Instruction, { do: "checkpoint" }>): void {
    this.carryOut(this.driver!.checkpoint(node, seq, state, fault));
  }

  runFailed(_: Site, reason: string): void {
    this.carryOut(this.driver!.fail(reason));
  }

  // What the workers say

  /** A message of one of the run's workers; throws where it is none of theirs to send. */
  receive(sender: string, message: Message): void {
    const { workers } = this;
    if (!workers?.has(sender)) throw new Error(`${sender} has no part in run ${this.id}`);
    if (this.over && message.type !== "STATS_REPLY") return;
    if ("epoch" in message && message.epoch !== this.made!.plan.epoch) return;
    switch (message.type) {
      case "READY":
        workers.isReady(sender);
        break;
      case "REFUSED":
        workers.refused(sender, `refused: ${message.text}`);
        break;
      case "ERROR":
        this.carryOut(this.driver!.error(...readError(message.body), workers.nameOf(sender)));
        break;
      case "CHECKPOINT":
        this.carryOut(this.driver!.checkpoint(...readCheckpoint(message.body)));
        break;
      case "UNREACHABLE":
        this.lost(message.peer, `${workers.nameOf(sender)} has no link to it any more`);
        break;
      case "FAILED":
        this.carryOut(this.driver!.fail(message.text));
        break;
      case "STATS_REPLY":
        workers.answered(sender, message.body);
        this.notify();
        break;
      case "CREDIT":
        this.site!.receiveCredit(sender, message.edge, message.seq, message.amount);
        break;
      case "PART":
        this.site!.receiveFrame(sender, message);
        break;
      default:
        throw new Error(`a ${message.type} is not a worker's to send`);
    }
  }

  /** A peer is gone; if it has a part in the run, the run ends here. */
  lost(peer: string, reason: string): void {
    const { workers } = this;
    if (workers?.has(peer)) this.end("failed", new RunError(`peer ${workers.nameOf(peer)} was lost: ${reason}`));
  }

  // What it says of itself

  private address(): { driver: string; run: string; epoch: number } {
    return { ...this.key, epoch: this.made!.plan.epoch };
  }

  private placement(): Record<string, string[]> {
    const places = Object.entries(this.made?.plan.steps.at(-1)?.nodes ?? {});
    return Object.fromEntries(places.map(([node, { on }]) => [node, on.map(({ peer }) => this.workers!.nameOf(peer))]));
  }

  private nodeMs(): Record<string, NodeTimes> {
    const remote = Array.from(this.workers?.stats.values() ?? [], (stats) => stats.nodes);
    return Object.assign({}, this.site && summaries(this.site.host.times), ...remote);
  }

  private linkBytes(): Record<string, number> {
    const remote = Array.from(this.workers?.stats.values() ?? [], (stats) => stats.links);
    const sent = Array.from(this.site?.sent ?? [], ([to, bytes]) => [`${DRIVER}->${this.workers!.nameOf(to)}`, bytes]);
    return Object.assign(Object.fromEntries(sent), ...remote);
  }

  private account(): Account {
    return {
      id: this.id,
      name: this.made?.name ?? "",
      state: this.state,
      detail: this.detail,
      error: this.error,
      graph: this.made?.graph,
      plan: this.made?.plan,
      counts: this.driver?.counts,
      failures: this.failures,
      placement: this.placement(),
      nodeMs: this.nodeMs(),
      linkBytes: this.linkBytes(),
      elapsedMs: performance.now() - this.started,
    };
  }

  /** Shows the present state to the page and, through signaling, to the dashboard. */
  private tell(): void {
    const account = this.account();
    this.options.onProgress?.(progressOf(account));
    this.home.report(reportOf(account));
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
