/** A run that this peer drives: plan, start everywhere, feed, gather, receipt. */

import { Deferred } from "../deferred";
import limits from "../generated/limits.json";
import type { Message } from "../protocol/messages";
import { Driver, type DriverInstruction, type Failure } from "../run/driver";
import type { Frame, Instruction } from "../run/events";
import type { Graph, Plan } from "../run/graph";
import { type Runtimes, summaries } from "./host";
import { Placement } from "./placement";
import { type Account, progressOf, readError, readStats, receiptOf, reportOf, type WorkerStats } from "./receipt";
import { type Ends, type Outside, type RunKey, Site } from "./site";
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

const DRIVER = "driver";
const STATS_TIMEOUT_MS = 2000;
const PROGRESS_MS = 250;
const SETUP_TIMEOUT_MS = limits.SETUP_TIMEOUT_S * 1000;

export type Items = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A plan: what is run, and where; `name` is the pipeline's. */
export interface Planned {
  graph: Graph;
  plan: Plan;
  name: string;
}

/** What a run needs of its peer. */
export interface Home {
  readonly id: string;
  readonly runtimes: Runtimes;
  plan(manifest: string, pins: Record<string, string>): Promise<Planned>;
  linkTo(peer: string): Promise<void>;
  post(peer: string, message: Message): void;
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
  private readonly workers = new Map<string, Deferred<void>>();
  private readonly stats = new Map<string, WorkerStats>();
  private state: RunProgress["state"] = "planning";
  private detail = "asking for a plan";
  private error: Error | undefined;
  private made: Planned | undefined;
  private driver: Driver | undefined;
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
    try {
      await this.prepare();
      if (!this.over) this.enter("running", "");
      await this.feed();
      while (!this.over) await this.changed.promise;
    } catch (error) {
      this.end("failed", error instanceof Error ? error : new Error(String(error)));
    }
    clearInterval(ticking);
    return this.close();
  }

  /** Plans, and sets up the fragments of all peers at once. */
  private async prepare(): Promise<void> {
    this.made = await this.unlessOver(this.planned);
    if (this.made === undefined) return;
    const { graph, plan } = this.made;
    const placement = Placement.fromPlan(graph, this.home.id, plan);
    for (const peer of placement.peers()) {
      if (peer !== this.home.id) this.workers.set(peer, new Deferred<void>());
    }
    this.driver = new Driver(graph, { onError: this.options.onError ?? "stop" });
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
    this.enter("connecting", [...this.workers.keys()].map((peer) => this.home.nameOf(peer)).join(", "));
    await this.unlessOver(Promise.all([this.setUpHere(), ...[...this.workers].map((worker) => this.start(...worker))]));
  }

  private async setUpHere(): Promise<void> {
    if (this.workers.size === 0) this.enter("loading", "setting up the nodes");
    await this.site!.host.setup();
  }

  /** START, and the worker's READY; rejects where it refuses, is lost or takes too long. */
  private async start(worker: string, ready: Deferred<void>): Promise<void> {
    ready.promise.catch(() => {}); // it may be refused before anybody waits
    await this.home.linkTo(worker);
    if (this.over) return;
    const { graph, plan } = this.made!;
    const body = {
      graph,
      plan: { epoch: plan.epoch, steps: plan.steps },
      names: Object.fromEntries([...this.workers.keys(), this.home.id].map((peer) => [peer, this.nameOf(peer)])),
      on_error: this.options.onError ?? "stop",
    };
    this.enter("loading", `waiting for ${this.nameOf(worker)}`);
    this.home.post(worker, { type: "START", ...this.address(), body });
    const late = setTimeout(() => {
      const limit = `${limits.SETUP_TIMEOUT_S} s`;
      ready.reject(new RunError(`${this.nameOf(worker)} did not set up its nodes within ${limit}`));
    }, SETUP_TIMEOUT_MS);
    await ready.promise.finally(() => clearTimeout(late));
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
    if (this.over) void source.return?.();
    else this.carryOut(this.driver!.finishInput());
  }

  /** Frees the run everywhere and writes the receipt. */
  private async close(): Promise<Receipt> {
    if (this.state === "done") await this.gatherStats();
    for (const peer of this.workers.keys()) {
      this.home.post(peer, { type: "STOP", ...this.address(), text: this.state });
    }
    this.site?.close();
    if (this.site) this.home.learn(this.site.host.costs());
    this.closed = true;
    this.home.ended(this);
    this.tell();
    this.notify();
    return receiptOf(this.account());
  }

  private async gatherStats(): Promise<void> {
    const { driver, run } = this.key;
    for (const peer of this.workers.keys()) this.home.post(peer, { type: "STATS", driver, run });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.notify();
    }, STATS_TIMEOUT_MS);
    while (!late && this.stats.size < this.workers.size) await this.changed.promise;
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

  credit(edge: number, bytes: number): void {
    this.carryOut(this.driver!.credit(edge, bytes));
  }

  sendFrame(_: Site, to: string, frame: Frame): void {
    this.home.post(to, { type: "PART", ...this.address(), ...frame });
  }

  sendCredit(_: Site, to: string, edge: number, amount: number): void {
    this.home.post(to, { type: "CREDIT", ...this.address(), edge, amount });
  }

  itemFailed(_: Site, { node, seq, kind, cause }: Extract<Instruction, { do: "error" }>): void {
    this.carryOut(this.driver!.error(node, seq, kind, cause, DRIVER));
  }

  runFailed(_: Site, reason: string): void {
    this.carryOut(this.driver!.fail(reason));
  }

  // What the workers say

  /** A message of one of the run's workers; throws where it is none of theirs to send. */
  receive(sender: string, message: Message): void {
    const ready = this.workers.get(sender);
    if (ready === undefined) throw new Error(`${sender} has no part in run ${this.id}`);
    if (this.over && message.type !== "STATS_REPLY") return;
    switch (message.type) {
      case "READY":
        ready.resolve();
        break;
      case "REFUSED":
        ready.reject(new RunError(`${this.nameOf(sender)} refused: ${message.text}`));
        break;
      case "ERROR":
        this.carryOut(this.driver!.error(...readError(message.body), this.nameOf(sender)));
        break;
      case "FAILED":
        this.carryOut(this.driver!.fail(message.text));
        break;
      case "STATS_REPLY":
        this.stats.set(sender, readStats(message.body));
        this.notify();
        break;
      case "CREDIT":
        this.site!.receiveCredit(sender, message.edge, message.amount);
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
    if (this.workers.has(peer)) this.end("failed", new RunError(`peer ${this.nameOf(peer)} was lost: ${reason}`));
  }

  // What it says of itself

  private address(): { driver: string; run: string; epoch: number } {
    return { ...this.key, epoch: this.made!.plan.epoch };
  }

  private nameOf(peer: string): string {
    return peer === this.home.id ? DRIVER : this.home.nameOf(peer);
  }

  private placement(): Record<string, string[]> {
    const places = Object.entries(this.made?.plan.steps.at(-1)?.nodes ?? {});
    return Object.fromEntries(places.map(([node, { on }]) => [node, on.map((seat) => this.nameOf(seat.peer))]));
  }

  private nodeMs(): Record<string, NodeTimes> {
    const remote = [...this.stats.values()].map((stats) => stats.nodes);
    return Object.assign({}, this.site && summaries(this.site.host.times), ...remote);
  }

  private linkBytes(): Record<string, number> {
    const sent = [...(this.site?.sent ?? [])].map(([to, bytes]) => [`${DRIVER}->${this.nameOf(to)}`, bytes]);
    return Object.assign(Object.fromEntries(sent), ...[...this.stats.values()].map((stats) => stats.links));
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
