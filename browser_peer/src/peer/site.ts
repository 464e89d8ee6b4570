/** A run on this peer: its fragment, its place in the plan, and the way of every frame and credit in and out. */

import limits from "../generated/limits.json";
import type { Message } from "../protocol/messages";
import { BEGINNING, type Frame, type Instruction, type Resumption } from "../run/events";
import type { Graph } from "../run/graph";
import type { Placement, Seat, Step } from "../run/placement";
import { Host, type Runtimes } from "./host";

/** A run is named by its driver and its id together, so that two drivers cannot collide. */
export interface RunKey {
  driver: string;
  run: string;
}

export type Credit = Extract<Instruction, { do: "credit" }>;

/** What the driver's own peer adds to a site: the items' and the results' end of the graph. */
export interface Ends {
  frame(frame: Frame): void;
  credit(edge: number, seq: number, bytes: number): void;
}

/** What a site needs of the rest of the mesh. */
export interface Outside {
  /** Sends in order, without waiting. */
  post(to: string, message: Message): void;
  itemFailed(site: Site, error: Extract<Instruction, { do: "error" }>): void;
  stateSaved(site: Site, saved: Extract<Instruction, { do: "checkpoint" }>): void;
  handedOver(site: Site, state: Extract<Instruction, { do: "handOver" }>): void;
  /** All below the last cut is over on this peer. */
  through(site: Site): void;
  runFailed(site: Site, reason: string): void;
}

export interface SiteOptions {
  key: RunKey;
  epoch: number;
  graph: Graph;
  placement: Placement;
  me: string;
  runtimes: Runtimes;
  outside: Outside;
  ends?: Ends;
  /** Where the epoch begins; without it, at the first item. */
  resumption?: Resumption;
  /** The run's part here in the epoch before; what it counted is counted on. */
  before?: Site | undefined;
}

/** Frames of this peer's nodes are handed over without a copy; the others go out through `outside`. */
export class Site {
  readonly key: RunKey;
  readonly epoch: number;
  readonly graph: Graph;
  readonly placement: Placement;
  readonly host: Host;
  /** The epoch from which on is counted. */
  readonly since: number;
  /** Payload bytes sent to each other peer. */
  readonly sent: Map<string, number>;
  private readonly deliveries: (() => void)[] = [];
  private delivering = false;
  /** Credit for other peers, by strand. */
  private readonly owed = new Map<string, Credit>();
  private paying: ReturnType<typeof setTimeout> | undefined;
  /** To come. */
  private step: Step = new Map();

  constructor(private readonly options: SiteOptions) {
    this.key = options.key;
    this.epoch = options.epoch;
    this.graph = options.graph;
    this.placement = options.placement;
    const { graph, placement, me, runtimes, before } = options;
    this.since = before?.since ?? options.epoch;
    this.sent = before?.sent ?? new Map();
    this.host = new Host(graph, placement, me, runtimes, {
      resumption: options.resumption ?? BEGINNING,
      execute: (wanted) => this.execute(wanted),
      times: before?.host.times ?? new Map(),
    });
  }

  /** Carries out what an engine wants done outside itself. */
  execute(instructions: Instruction[]): void {
    for (const instruction of instructions) {
      switch (instruction.do) {
        case "emit":
          this.routeFrame(instruction.frame);
          break;
        case "credit":
          this.routeCredit(instruction);
          break;
        case "error":
          this.options.outside.itemFailed(this, instruction);
          break;
        case "checkpoint":
          this.options.outside.stateSaved(this, instruction);
          break;
        case "handOver":
          this.options.outside.handedOver(this, instruction);
          break;
        case "through":
          this.options.outside.through(this);
          break;
        case "fail":
          this.options.outside.runFailed(this, instruction.reason);
          break;
        default:
          throw new Error(`a ${instruction.do} is the host's to do`);
      }
    }
    this.deliver();
  }

  private routeFrame(frame: Frame): void {
    const to = this.placement.target(frame.edge, frame.seq).peer;
    if (to === this.options.me) {
      this.deliveries.push(() => this.takeFrame(frame));
    } else {
      this.sent.set(to, (this.sent.get(to) ?? 0) + (frame.payload?.length ?? 0));
      this.options.outside.post(to, { type: "PART", ...this.key, epoch: this.epoch, ...frame });
    }
  }

  private routeCredit(credit: Credit): void {
    if (this.placement.source(credit.edge, credit.seq).peer === this.options.me) {
      this.deliveries.push(() => this.takeCredit(credit));
      return;
    }
    const strand = this.placement.strand(credit.edge, credit.seq);
    const bytes = (this.owed.get(strand)?.bytes ?? 0) + credit.bytes;
    this.owed.set(strand, { ...credit, bytes });
    if (bytes >= limits.CREDIT_EVERY_BYTES) this.pay(strand);
    // a message for every small item would cost as much as the item
    else this.paying ??= setTimeout(() => this.payAll(), limits.CREDIT_AFTER_S * 1e3);
  }

  private payAll(): void {
    this.paying = undefined;
    for (const strand of this.owed.keys()) this.pay(strand);
  }

  private pay(strand: string): void {
    const { edge, seq, bytes } = this.owed.get(strand)!;
    this.owed.delete(strand);
    if (!this.placement.remembers(edge, seq)) return; // its sender has moved away since
    const to = this.placement.source(edge, seq).peer;
    this.options.outside.post(to, { type: "CREDIT", ...this.key, epoch: this.epoch, edge, seq, amount: bytes });
  }

  /** Local deliveries in a loop rather than by recursion: a long chain of nodes must not end in a deep stack. */
  private deliver(): void {
    if (this.delivering) return;
    this.delivering = true;
    try {
      for (let next = 0; next < this.deliveries.length; next += 1) this.deliveries[next]!();
    } finally {
      this.deliveries.length = 0;
      this.delivering = false;
    }
  }

  /** A frame from another peer; throws where the plan knows no such frame. */
  receiveFrame(sender: string, frame: Frame): void {
    const { graph, me } = this.options;
    if (graph.edges[frame.edge] === undefined) throw new Error(`there is no edge ${frame.edge} in this run`);
    const { source, target } = this.peers(frame.edge, frame.seq);
    if (source !== sender || target !== me) throw new Error(`edge ${frame.edge} does not lead from ${sender} to here`);
    this.takeFrame(frame);
    this.deliver();
  }

  /**
   * Credit from another peer; throws where it is not that peer's to give. What comes late for an end that moved since is
   * nobody's.
   */
  receiveCredit(sender: string, edge: number, seq: number, bytes: number): void {
    const known = this.options.graph.edges[edge] !== undefined;
    if (known && !this.placement.remembers(edge, seq)) return;
    const { source, target } = known ? this.peers(edge, seq) : {};
    if (source !== this.options.me || target !== sender) {
      throw new Error(`credit for edge ${edge} is not ${sender}'s to give`);
    }
    this.takeCredit({ do: "credit", edge, seq, bytes });
    this.deliver();
  }

  private peers(edge: number, seq: number): { source?: string; target?: string } {
    return { source: this.placement.source(edge, seq).peer, target: this.placement.target(edge, seq).peer };
  }

  private takeFrame(frame: Frame): void {
    if (this.options.graph.edges[frame.edge]!.to === null) this.options.ends?.frame(frame);
    else this.host.frame(frame);
  }

  private takeCredit({ edge, seq, bytes }: Credit): void {
    if (this.options.graph.edges[edge]!.from === null) this.options.ends?.credit(edge, seq, bytes);
    else this.host.credit(edge, seq, bytes);
  }

  // A planned move

  /** What a step to come puts here, which the host must prepare; throws an Error for what is no step. */
  propose(nodes: unknown): Seat[] {
    this.step = this.placement.proposed(nodes);
    return [...this.step.values()].flat().filter((seat) => seat.peer === this.options.me);
  }

  /** The step that was proposed does not begin. */
  callOff(): void {
    this.step = new Map();
    this.host.callOff();
  }

  /** The step that was prepared begins at `since`; `through` is told when all below is over here. */
  cut(since: number): void {
    this.placement.cut(since, this.step);
    this.step = new Map();
    this.host.cut(since);
  }

  /** A stateful node goes on here; throws where it awaits no state. */
  takeState(node: string, state: Uint8Array): void {
    const [seat] = this.placement.last(node);
    if (seat?.peer !== this.options.me) throw new Error(`node '${node}' is not here`);
    this.host.arrived(seat, state);
  }

  /** The bytes sent, as `from->to`; a peer that came back may have another id, and the name that it had. */
  linkBytes(names: ReadonlyMap<string, string>): Record<string, number> {
    const links: Record<string, number> = {};
    const called = (peer: string) => names.get(peer) ?? peer;
    for (const [to, bytes] of this.sent) {
      const link = `${called(this.options.me)}->${called(to)}`;
      links[link] = (links[link] ?? 0) + bytes;
    }
    return links;
  }

  close(): void {
    this.deliveries.length = 0;
    clearTimeout(this.paying);
    this.host.close();
  }
}
