/** One planned move, as the driver makes it: a step of the plan that begins while the run goes on (docs/wire.md, 4). */

import { Changes } from "../../deferred";
import limits from "../../generated/limits.json";
import type { RunMessage as Message, Stage, StepSaid } from "../../protocol/messages";
import type { Driver } from "../../run/driver";
import type { PlanStep } from "../../run/graph";
import type { DriverInstruction } from "../../run/outcome";
import { RunError } from "../types";
import type { Epoch } from "./epoch";

export type Nodes = PlanStep["nodes"];

/** What a move needs of its peer. */
export interface Home {
  readonly id: string;
  post(peer: string, message: Message): void;
}

export interface MoveOptions {
  epoch: Epoch;
  number: number;
  nodes: Nodes;
  driver: Driver;
  carryOut(instructions: readonly DriverInstruction[]): void;
}

/** `begin` and `end` are its two halves; where `begin` rejects, nothing has happened. */
export class Move {
  private readonly done: Record<Stage, Set<string>> = { prepared: new Set(), cut: new Set(), through: new Set() };
  private readonly changes = new Changes();
  private readonly newcomers: string[];
  private fault = "";
  private since = 0;
  /** With its epoch. */
  private over = false;

  constructor(
    private readonly home: Home,
    private readonly options: MoveOptions,
  ) {
    const { epoch, nodes } = options;
    const places = Object.values(nodes).flatMap(({ on }) => on.map(({ peer }) => peer));
    this.newcomers = [...new Set(places)].filter((peer) => peer !== home.id && !epoch.workers.has(peer));
  }

  /** Answers the seq at which it cut. Rejects where it was called off. */
  async begin(): Promise<number> {
    const { epoch, driver, carryOut } = this.options;
    const late = setTimeout(() => this.fail("a peer did not answer"), limits.SETUP_TIMEOUT_S * 1e3);
    try {
      await this.prepare();
      const since = driver.hold();
      if (since === undefined) throw new RunError("all items are on their way already");
      this.since = since;
    } catch (error) {
      if (!this.over) {
        this.cut(null);
        epoch.dismiss(this.newcomers, "the move was called off");
      }
      throw error;
    } finally {
      clearTimeout(late);
    }
    this.cut(this.since);
    await this.all("cut", epoch.workers);
    carryOut(driver.goOn());
    return this.since;
  }

  /** Until nothing of the old step is left anywhere. */
  async end(): Promise<void> {
    const { epoch, driver } = this.options;
    await this.all("through", new Set([this.home.id, ...epoch.workers]));
    while (driver.turn < this.since && !this.over) await this.changes.happened;
  }

  /** STEP. */
  said(worker: string, { move, stage, fault }: StepSaid): void {
    if (move !== this.options.number) return;
    this.done[stage].add(worker);
    this.fail(fault);
  }

  /** Results came out. */
  changed(): void {
    this.changes.happen();
  }

  /** Its epoch is over. */
  abandon(): void {
    this.over = true;
    this.changes.happen();
  }

  /** The state of a node that moves; without it, the run goes back to its last checkpoint. */
  handedOver(node: string, state: Uint8Array | null, fault: string): void {
    const { epoch } = this.options;
    const [seat] = epoch.placement.last(node);
    if (seat === undefined) return;
    if (state === null) epoch.lose(`node '${node}' could not be moved: ${fault}`);
    else if (seat.peer === this.home.id) epoch.site.takeState(node, state);
    else this.home.post(seat.peer, { type: "STATE", ...epoch.address(), body: { node, state, fault: "" } });
  }

  private async prepare(): Promise<void> {
    const { epoch, number, nodes } = this.options;
    await Promise.all(this.newcomers.map((worker) => epoch.admit(worker)));
    const body = { move: number, nodes, names: Object.fromEntries(epoch.names) };
    for (const worker of epoch.workers) this.home.post(worker, { type: "PREPARE", ...epoch.address(), body });
    await epoch.site.host.prepare(epoch.site.propose(nodes));
    await this.all("prepared", epoch.workers);
  }

  private cut(since: number | null): void {
    const { epoch, number } = this.options;
    const body = { move: number, from_seq: since };
    for (const worker of epoch.workers) this.home.post(worker, { type: "CUT", ...epoch.address(), body });
    if (since === null) epoch.site.callOff();
    else epoch.site.cut(since);
  }

  private fail(fault: string): void {
    this.fault ||= fault;
    this.changes.happen();
  }

  /** Until all are so far; rejects with what a worker has against it. */
  private async all(stage: Stage, who: ReadonlySet<string>): Promise<void> {
    const missing = () => [...who].some((peer) => !this.done[stage].has(peer));
    while (!this.over && this.fault === "" && missing()) await this.changes.happened;
    if (this.over) throw new RunError("its epoch is over");
    if (this.fault !== "") throw new RunError(this.fault);
  }
}
