/**
 * The planned moves of a run: what they are made for, and which nodes go where; as in mesh/peer/driving/moves.py.
 *
 * A worker that leaves has its nodes moved away; where the room has changed so that items would take less time, by more than
 * MOVE_GAIN, nodes are moved for that. A node that keeps state and makes no snapshots stays where it is, one with several
 * places too (unless a worker of it leaves), and so do all where no other plan is to be had.
 */

import { Changes } from "../../deferred";
import limits from "../../generated/limits.json";
import { type RunMessage as Message, readState, readStep } from "../../protocol/messages";
import type { Driver } from "../../run/driver";
import type { DriverInstruction } from "../../run/outcome";
import type { MoveRecord } from "../types";
import { DRIVER, type Epoch } from "./epoch";
import { Move, type Home as MoveHome, type Nodes } from "./move";
import type { Planned } from "./replanning";

/** What moves need of their peer. */
export interface Home extends MoveHome {
  /** What matters of every peer of the room to where nodes should run. */
  offers(): ReadonlyMap<string, string>;
}

/** A run, as far as its moves need it. */
export interface Movable {
  readonly over: boolean;
  readonly driver: Driver | undefined;
  /** The present epoch, where it stands. */
  readonly standing: Epoch | undefined;
  carryOut(instructions: readonly DriverInstruction[]): void;
  /** Rejects where there is no such plan. */
  planWith(pins: Record<string, string>, without: Iterable<string>): Promise<Planned>;
  /** A step of the plan has begun. */
  stepped(): void;
  /** They have no part in the run any more. */
  leave(workers: string[], reason: string): void;
}

/** `watch` makes one after the other; `made` is for the receipt. */
export class Moves {
  readonly made: MoveRecord[] = [];
  /** Who wants to go, and why. */
  private readonly leaving = new Map<string, string>();
  /** What everybody offered at the last look. */
  private room: ReadonlyMap<string, string> = new Map();
  private move: Move | undefined;
  private count = 0;
  private wanted = false;
  private readonly changes = new Changes();

  constructor(
    private readonly home: Home,
    private readonly run: Movable,
  ) {}

  // What happens

  /** An epoch stands; it was planned for the room as it is. */
  began(): void {
    this.room = this.home.offers();
    this.reconsider();
  }

  /** An epoch, or the run, is over, and with it the move that is under way. */
  interrupted(): void {
    this.move?.abandon();
    this.changes.happen();
  }

  /** The room has changed, or somebody wants to leave. */
  reconsider(): void {
    this.wanted = true;
    this.changes.happen();
  }

  resultsCame(): void {
    this.move?.changed();
  }

  /** What a worker says of a move. */
  receive(sender: string, message: Extract<Message, { type: "STEP" | "STATE" | "LEAVING" }>): void {
    if (message.type === "STEP") this.move?.said(sender, readStep(message.body));
    else if (message.type === "STATE") this.handedOver(...readState(message.body));
    else {
      this.leaving.set(sender, message.text);
      this.reconsider();
    }
  }

  /** All below the cut is over on this peer. */
  through(): void {
    this.move?.said(this.home.id, { move: this.count, stage: "through", fault: "" });
  }

  /** The state of a node that moves. */
  handedOver(node: string, state: Uint8Array | null, fault: string): void {
    this.move?.handedOver(node, state, fault);
  }

  // What is done about it

  /** Until the run is over. */
  async watch(): Promise<void> {
    while (!this.run.over) {
      const epoch = this.run.standing;
      if (!this.wanted || epoch === undefined) {
        await this.changes.happened;
        continue;
      }
      this.wanted = false;
      await this.look(epoch).catch((error: Error) => console.info(`nothing was moved: ${error.message}`));
      this.move = undefined;
      const pause = new Promise<void>((resolve) => setTimeout(resolve, limits.MOVE_INTERVAL_S * 1e3));
      await this.changes.unless(() => this.run.over, pause);
    }
  }

  private async look(epoch: Epoch): Promise<void> {
    const leaving = [...this.leaving.keys()].filter((peer) => epoch.workers.has(peer));
    const [moved, reason] = leaving.length > 0 ? await this.awayFrom(epoch, leaving) : await this.better(epoch);
    if (Object.keys(moved).length > 0 && epoch === this.run.standing) {
      await this.make(epoch, { ...epoch.nodes, ...moved }, reason);
    }
  }

  /** New places for what the leaving workers run; everything else stays. */
  private async awayFrom(epoch: Epoch, leaving: string[]): Promise<[Nodes, string]> {
    const there = Object.keys(epoch.nodes).filter((node) =>
      peersOf(epoch.nodes, node).some((p) => leaving.includes(p)),
    );
    const fixed = this.fixed(epoch);
    const moving = there.filter((node) => !fixed.has(node));
    if (moving.length === 0) return [{}, ""];
    const staying = Object.keys(epoch.nodes).filter((node) => !there.includes(node));
    const planned = await this.run.planWith(this.pins(epoch, staying), leaving);
    return [movedBy(epoch, planned, moving), leaving.map((peer) => this.leaving.get(peer)).join("; ")];
  }

  /** Places with which an item takes less time, by more than MOVE_GAIN. */
  private async better(epoch: Epoch): Promise<[Nodes, string]> {
    const before = this.room;
    this.room = this.home.offers();
    const news = [...this.room].some(([peer, offer]) => before.get(peer) !== offer);
    if (!news) return [{}, ""];
    const fixed = this.fixed(epoch);
    const nodes = Object.keys(epoch.nodes);
    const moving = nodes.filter((node) => !fixed.has(node) && epoch.nodes[node]!.on.length === 1);
    const staying = nodes.filter((node) => !moving.includes(node));
    const best = await this.run.planWith(this.pins(epoch, staying), []);
    const moved = movedBy(epoch, best, moving);
    if (Object.keys(moved).length === 0) return [{}, ""];
    const present = await this.run.planWith(this.pins(epoch, nodes), []);
    const [now, then] = [present.plan.latency_ms, best.plan.latency_ms];
    if (then >= now * (1 - limits.MOVE_GAIN)) return [{}, ""];
    return [moved, `an item takes ${then.toFixed(1)} ms instead of ${now.toFixed(1)} ms`];
  }

  /** What keeps state that could not be handed over. */
  private fixed(epoch: Epoch): Set<string> {
    const stateful = epoch.site.graph.nodes.filter((node) => node.stateful);
    return new Set(stateful.filter((node) => this.run.driver?.fault || !node.snapshots).map(({ id }) => id));
  }

  /** Nodes of one place as they are. */
  private pins(epoch: Epoch, nodes: readonly string[]): Record<string, string> {
    const single = nodes.filter((node) => epoch.nodes[node]!.on.length === 1);
    return Object.fromEntries(single.map((node) => [node, this.nameOf(epoch, peersOf(epoch.nodes, node)[0]!)]));
  }

  private nameOf(epoch: Epoch, peer: string): string {
    return peer === this.home.id ? DRIVER : epoch.names.get(peer)!;
  }

  private async make(epoch: Epoch, nodes: Nodes, reason: string): Promise<void> {
    this.count += 1;
    const carryOut = (instructions: readonly DriverInstruction[]) => this.run.carryOut(instructions);
    const move = new Move(this.home, { epoch, number: this.count, nodes, driver: this.run.driver!, carryOut });
    this.move = move;
    const since = await move.begin();
    epoch.stepped(nodes);
    this.made.push({ epoch: epoch.number, from_seq: since, reason, placement: epoch.seats() });
    this.run.stepped();
    await move.end();
    const needed = new Set(Object.keys(nodes).flatMap((node) => peersOf(nodes, node)));
    if (epoch === this.run.standing)
      this.run.leave(
        [...epoch.workers].filter((worker) => !needed.has(worker)),
        reason,
      );
  }
}

function peersOf(nodes: Nodes, node: string): string[] {
  return nodes[node]!.on.map(({ peer }) => peer);
}

/** The new places of those of `nodes` that have another one in a plan. */
function movedBy(epoch: Epoch, planned: Planned, nodes: readonly string[]): Nodes {
  const places = (step: Nodes, node: string) => JSON.stringify(step[node]!.on.map((seat) => [seat.peer, seat.runtime]));
  const step = planned.plan.steps.at(-1)!.nodes;
  const moved = nodes.filter((node) => places(step, node) !== places(epoch.nodes, node));
  return Object.fromEntries(moved.map((node) => [node, step[node]!]));
}
