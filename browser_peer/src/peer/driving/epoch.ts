/** One epoch of a run, as its driver sees it: who runs what, this peer's own part, and the setting up of all parts. */

import { Deferred } from "../../deferred";
import { LinkError } from "../../errors";
import limits from "../../generated/limits.json";
import type { RunMessage as Message } from "../../protocol/messages";
import type { OnError } from "../../run/driver";
import type { Resumption } from "../../run/events";
import type { Graph, Plan, PlanStep } from "../../run/graph";
import { Placement } from "../../run/placement";
import type { Death } from "../../run/suspects";
import type { Runtimes } from "../host";
import { type Ends, type Outside, type RunKey, Site } from "../site";
import { RunError } from "../types";
import type { Absence } from "./absence";
import { Leases } from "./leases";
import { spares } from "./spares";

/** What people call the submitter in placements and links. */
export const DRIVER = "driver";

/** What an epoch needs of its peer. */
export interface Home {
  readonly id: string;
  readonly runtimes: Runtimes;
  linkTo(peer: string): Promise<void>;
  post(peer: string, message: Message): void;
  nameOf(peer: string): string;
  /** Doubts the link to a peer: it is suspected unless it is heard soon. */
  probe(peer: string): void;
  /** What calls took here (ms), by node type and runtime. */
  learn(costs: Record<string, Record<string, number>>): void;
}

/** The run. */
export interface Owner {
  /** All workers can be reached now. */
  linked(): void;
  readonly absence: Absence;
}

export interface EpochOptions {
  key: RunKey;
  graph: Graph;
  /** It has the number of the epoch. */
  plan: Plan;
  /** Why it begins. */
  reason: string;
  resumption: Resumption;
  onError: OnError;
  owner: Owner;
  /** Where goes what this peer's own part says. */
  ends: Ends & Outside;
  before: Epoch | undefined;
}

export class Epoch {
  readonly number: number;
  readonly reason: string;
  readonly placement: Placement;
  readonly workers: Set<string>;
  /** Every peer of the epoch by its id, as they were when it began: a peer that left has no name any more. */
  readonly names: Map<string, string>;
  readonly site: Site;
  leases: Leases;
  /** Where each node was at first, by name. */
  readonly began: Record<string, string[]>;
  private steps: PlanStep[];
  private readonly ready = new Map<string, Deferred<void>>();
  private closed = false;

  constructor(
    private readonly home: Home,
    private readonly options: EpochOptions,
  ) {
    const { key, graph, plan, resumption, ends, before } = options;
    this.number = plan.epoch;
    this.reason = options.reason;
    this.placement = Placement.fromPlan(graph, home.id, plan);
    this.workers = new Set([...this.placement.peers()].filter((peer) => peer !== home.id));
    this.names = new Map([
      ...Array.from(this.workers, (peer) => [peer, home.nameOf(peer)] as const),
      [home.id, DRIVER],
    ]);
    this.steps = plan.steps;
    this.site = new Site({
      key,
      epoch: this.number,
      graph,
      placement: this.placement,
      me: home.id,
      runtimes: home.runtimes,
      outside: ends,
      ends,
      resumption,
      before: before?.site,
    });
    this.began = this.seats();
    this.leases = this.beginLeases([]);
  }

  private beginLeases(workers: Iterable<string>): Leases {
    const nodes = Array.from(workers, (worker) => [worker, this.nodesOn([worker])] as const);
    return new Leases(this.options.graph, nodes, performance.now() / 1e3);
  }

  /** All parts at once; rejects where one of them cannot be set up. */
  async setUp(): Promise<void> {
    await Promise.all([this.site.host.setup(), this.startWorkers()]);
    this.leases = this.beginLeases(this.workers);
    if (!this.closed) void this.linkToSpares();
  }

  /** One after the other, not to disturb the run, and whoever cannot be linked to is no spare. */
  private async linkToSpares(): Promise<void> {
    const known = new Set([...this.workers, this.home.id]);
    for (const peer of spares(this.options.plan.why, known)) await this.home.linkTo(peer).catch(() => undefined);
  }

  /** Of all workers at once. */
  private async startWorkers(): Promise<void> {
    await Promise.all(Array.from(this.workers, (worker) => this.link(worker)));
    if (this.closed) return;
    this.options.owner.linked();
    await Promise.all(Array.from(this.workers, (worker) => this.start(worker)));
  }

  /** Who cannot be linked to is as good as lost. */
  private async link(worker: string): Promise<void> {
    try {
      await this.home.linkTo(worker);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      if (!this.closed) this.options.owner.absence.lost(worker, error.message);
    }
  }

  /** START, and its READY. */
  private async start(worker: string): Promise<void> {
    const ready = new Deferred<void>();
    this.ready.set(worker, ready);
    const { graph, onError, resumption } = this.options;
    const mine = new Set(this.nodesOn([worker]));
    const body = {
      graph,
      plan: { epoch: this.number, steps: this.steps },
      names: Object.fromEntries(this.names),
      on_error: onError,
      from_seq: resumption.firstSeq,
      states: Object.fromEntries([...resumption.states].filter(([node]) => mine.has(node))),
    };
    this.home.post(worker, { type: "START", ...this.address(), body });
    const refusal = `did not set up its nodes within ${limits.SETUP_TIMEOUT_S} s`;
    const late = setTimeout(() => this.fail(worker, refusal), limits.SETUP_TIMEOUT_S * 1e3);
    await ready.promise.finally(() => clearTimeout(late));
  }

  /** What a worker says of its part; throws where it is none of its to send. */
  receive(worker: string, message: Message): void {
    switch (message.type) {
      case "READY":
        this.ready.get(worker)?.resolve();
        break;
      case "REFUSED":
        this.fail(worker, `refused: ${message.text}`);
        break;
      case "CREDIT":
        this.site.receiveCredit(worker, message.edge, message.seq, message.amount);
        break;
      case "PART":
        this.site.receiveFrame(worker, message);
        break;
      default:
        throw new Error(`a ${message.type} is not a worker's to send`);
    }
  }

  /** Its nodes cannot be set up there; `why` follows its name. */
  private fail(worker: string, why: string): void {
    this.ready.get(worker)?.reject(new RunError(`${this.names.get(worker)} ${why}`));
  }

  // A planned move

  /** The places of the nodes now, as a step of a plan has them. */
  get nodes(): PlanStep["nodes"] {
    return this.steps.at(-1)!.nodes;
  }

  /** The plan as it is now. */
  get plan(): Plan {
    return { ...this.options.plan, steps: this.steps };
  }

  /** A new step has begun; for who comes later it is the only one. */
  stepped(nodes: PlanStep["nodes"]): void {
    this.steps = [{ from_seq: 0, nodes }];
  }

  /** A worker gets a part, without nodes as yet; rejects where that fails. */
  async admit(worker: string): Promise<void> {
    await this.home.linkTo(worker);
    this.workers.add(worker);
    this.names.set(worker, this.home.nameOf(worker));
    await this.start(worker);
  }

  /** They have no part any more. */
  dismiss(workers: readonly string[], text: string): void {
    this.stop(workers, text);
    for (const worker of workers) this.workers.delete(worker);
  }

  /** It cannot go on. */
  lose(reason: string): void {
    this.options.owner.absence.lose(reason);
  }

  /** Nobody wants a seq any more: all parts are told. */
  cancel(seq: number): void {
    for (const worker of this.workers) this.home.post(worker, { type: "CANCEL", ...this.address(), seq });
    this.site.host.cancel(seq);
  }

  // Its end

  /** Of those of its workers that are among the dead `peers`. */
  deaths(peers: ReadonlySet<string>): Death[] {
    const dead = [...this.workers].filter((worker) => peers.has(worker));
    return dead.map((peer) => ({ peer, name: this.names.get(peer)!, reached: this.leases.reached(peer) }));
  }

  /** Frees what these workers hold of the run. */
  stop(workers: Iterable<string>, text: string): void {
    for (const worker of workers) this.home.post(worker, { type: "STOP", ...this.address(), text });
  }

  /** Ends this peer's own part. */
  close(): void {
    this.closed = true;
    for (const ready of this.ready.values()) ready.resolve(); // nobody waits for them any more
    this.site.close();
    this.home.learn(this.site.host.costs());
  }

  /** How messages of this epoch begin. */
  address(): RunKey & { epoch: number } {
    return { ...this.options.key, epoch: this.number };
  }

  /** What these peers run. */
  nodesOn(peers: readonly string[]): string[] {
    return [...new Set(peers.flatMap((peer) => this.placement.seats(peer).map(({ node }) => node)))];
  }

  /** For people. */
  workerNames(): string {
    return Array.from(this.workers, (worker) => this.names.get(worker)).join(", ");
  }

  /** The names of the peers that run each node. */
  seats(): Record<string, string[]> {
    const places = Object.entries(this.nodes);
    return Object.fromEntries(places.map(([node, { on }]) => [node, on.map(({ peer }) => this.names.get(peer)!)]));
  }
}
