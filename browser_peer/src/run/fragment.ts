/**
 * The nodes of a run on one peer, sans-IO: events in, instructions out.
 *
 * The caller carries out every instruction, in order: it makes the calls on the instances of the nodes, sends frames,
 * credit and errors to the peers that the plan names, and reports what happens through the methods below, each of which
 * answers further instructions. What goes between two nodes of the fragment never leaves it. To cancel, drop the object.
 *
 * Memory is bounded: a strand holds at most its credit (docs/wire.md, 4), an instance one answer and one input for each of
 * its strands, a join one seq, a stateful node its snapshot and the inputs since.
 */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { BEGINNING, type Frame, type Instruction, type Resumption } from "./events";
import { NodeExecution, type State } from "./execution";
import type { Graph, GraphNode } from "./graph";
import { Gather, type Inbox, Port, Stream } from "./inbox";
import { Outbox } from "./outbox";
import type { Placement, Seat } from "./placement";

/**
 * The instances that `placement` puts on the peer `me`; the caller made them beforehand. Stateful ones have the states of
 * `resumption`, whose first seq is the first that comes in.
 */
export class Fragment {
  private readonly nodes: ReadonlyMap<string, GraphNode>;
  private instances: ReadonlyMap<Seat, NodeExecution>;
  private readonly retired = new WeakSet<Seat>();
  private since: number | null = null; // of the last cut, until all here is through

  constructor(
    private readonly graph: Graph,
    private readonly placement: Placement,
    private readonly me: string,
    private readonly resumption: Resumption = BEGINNING,
    private readonly creditBytes: number = limits.EDGE_CREDIT_BYTES,
  ) {
    const { states } = resumption;
    this.nodes = new Map(graph.nodes.map((node) => [node.id, node]));
    this.instances = new Map(
      placement.seats(me).map((seat) => [seat, this.execution(seat, states.get(seat.node) ?? null, false)]),
    );
  }

  private execution(seat: Seat, state: Uint8Array | null, moved: boolean): NodeExecution {
    const node = this.nodes.get(seat.node)!;
    const { firstSeq } = this.resumption;
    const inbox = this.inbox(node, seat, firstSeq);
    return new NodeExecution(node, seat, inbox, this.outboxes(node), firstSeq, state, moved && node.stateful);
  }

  // A planned move

  /** The placement has a new step: new instances begin, and the old ones leave when they are through. */
  cut(since: number): Instruction[] {
    const before = this.instances;
    this.since = since;
    this.instances = new Map(
      this.placement.seats(this.me).map((seat) => [seat, before.get(seat) ?? this.execution(seat, null, true)]),
    );
    const instructions: Instruction[] = [];
    for (const execution of this.instances.values()) {
      execution.forget();
      this.settle(execution, instructions);
    }
    return this.perhapsThrough(instructions);
  }

  /** A stateful node goes on here, in this state. Throws ProtocolError("bad-message") where it has begun. */
  arrived(seat: Seat, state: Uint8Array): Instruction[] {
    const execution = this.instances.get(seat)!;
    if (execution.state !== "AWAITING") {
      throw new ProtocolError("bad-message", `node '${seat.node}' awaits no state here`);
    }
    return this.settle(execution, execution.arrived(state));
  }

  private inbox(node: GraphNode, seat: Seat, firstSeq: number): Inbox {
    const edges = new Map([...this.graph.edges.entries()].filter(([, edge]) => edge.to === node.id));
    const port = (edge: number) => new Port(this.placement, edge, seat, firstSeq, this.creditBytes);
    const ports = [...edges.keys()].map(port);
    return node.join ? new Gather(edges, ports, new Set(node.optional)) : new Stream(ports[0]!);
  }

  private outboxes(node: GraphNode): Map<number, Outbox> {
    const edges = [...this.graph.edges.entries()].filter(([, edge]) => edge.from === node.id);
    return new Map(
      edges.map(([number, edge]) => [
        number,
        new Outbox(this.placement, number, edge.overflow === "drop_oldest", this.creditBytes),
      ]),
    );
  }

  // From the network

  /** A frame came in. Throws ProtocolError("bad-message"), and changes nothing, where it is impossible. */
  frame(frame: Frame): Instruction[] {
    const [source, target] = this.ends(frame.edge, frame.seq);
    if (target === undefined || source !== undefined) {
      throw new ProtocolError("bad-message", `edge ${frame.edge} does not lead into this fragment`);
    }
    target.inbox.accept(frame);
    return this.settle(target, []);
  }

  /** Credit came back, in bytes. Throws ProtocolError("bad-message") for what cannot be. */
  credit(edge: number, seq: number, amount: number): Instruction[] {
    const [source, target] = this.ends(edge, seq);
    if (source === undefined || target !== undefined) {
      throw new ProtocolError("bad-message", `edge ${edge} does not lead out of this fragment`);
    }
    source.outboxes.get(edge)!.give(seq, amount);
    return this.settle(source, []);
  }

  /** Who sends a seq on an edge, and who receives it, as far as they are here. */
  private ends(edge: number, seq: number): [NodeExecution | undefined, NodeExecution | undefined] {
    if (this.graph.edges[edge] === undefined) return [undefined, undefined];
    return [this.instances.get(this.placement.source(edge, seq)), this.instances.get(this.placement.target(edge, seq))];
  }

  /** Nobody wants a seq any more, which may be on its way to here still. Throws ProtocolError("bad-message"). */
  cancel(seq: number): Instruction[] {
    const instructions: Instruction[] = [];
    for (const [seat, execution] of this.instances) {
      if (seat.first(seq) !== seq) continue;
      instructions.push(...execution.cancel(seq));
      this.settle(execution, instructions);
    }
    return instructions;
  }

  // From the runtime

  /** A `process`, `next` or `finish` made `parts`; `more`: ask for further ones with `next`. */
  answered(seat: Seat, parts: readonly Uint8Array[], more: boolean): Instruction[] {
    return this.event(seat, (each) => each.answered(parts, more));
  }

  /** A `snapshot` was made. */
  snapshotted(seat: Seat, snapshot: Uint8Array): Instruction[] {
    return this.event(seat, (each) => each.snapshotted(snapshot));
  }

  /** A `restore` is done. */
  restored(seat: Seat): Instruction[] {
    return this.event(seat, (each) => each.restored());
  }

  /** A `recreate` is done. */
  recreated(seat: Seat): Instruction[] {
    return this.event(seat, (each) => each.recreated());
  }

  /** A call, or a `recreate`, failed. After `timeout`, `trapped` and `crashed` the instance is gone. */
  failed(seat: Seat, kind: string, cause: string): Instruction[] {
    return this.event(seat, (each) => each.failed(kind, cause));
  }

  // For people

  /** How many frames wait before each node. */
  queued(): Map<string, number> {
    return summed([...this.instances.values()].map(({ node, inbox }) => [node.id, inbox.queued]));
  }

  /** How many seqs each edge that drops has dropped. */
  dropped(): Map<number, number> {
    return new Map([...this.ofBoxes((box) => box.dropped)].filter(([, count]) => count > 0));
  }

  /** How many bytes are out on each edge that begins here: sent or waiting to be, and not yet consumed. */
  outstanding(): Map<number, number> {
    return this.ofBoxes((box) => box.outstanding);
  }

  private ofBoxes(count: (box: Outbox) => number): Map<number, number> {
    const boxes = [...this.instances.values()].flatMap((each) => [...each.outboxes]);
    return summed(boxes.map(([edge, box]) => [edge, count(box)]));
  }

  /** Of each instance the lowest seq that was not ended there, and whether a call is under way. */
  progress(): Map<Seat, [seq: number, busy: boolean]> {
    return new Map([...this.instances].map(([seat, each]) => [seat, each.progress]));
  }

  /** What each instance is doing. */
  states(): Map<Seat, State> {
    return new Map([...this.instances].map(([seat, each]) => [seat, each.state]));
  }

  // Inside

  private event(seat: Seat, event: (execution: NodeExecution) => Instruction[]): Instruction[] {
    const execution = this.instances.get(seat)!;
    return this.settle(execution, event(execution));
  }

  /** Carries frames and credit between the instances, and lets them act, until nothing moves. */
  private settle(first: NodeExecution, instructions: Instruction[]): Instruction[] {
    const todo = new Set([first]);
    for (const execution of todo) {
      todo.delete(execution); // what is added again while the set is walked is met again
      instructions.push(...execution.advance());
      for (const neighbour of this.send(execution, instructions)) todo.add(neighbour);
      for (const neighbour of this.giveBack(execution, instructions)) todo.add(neighbour);
      const { seat } = execution;
      if (execution.isOver && !this.retired.has(seat)) {
        this.retired.add(seat);
        instructions.push({ do: "retire", seat });
      }
    }
    return this.since === null ? instructions : this.perhapsThrough(instructions);
  }

  private perhapsThrough(instructions: Instruction[]): Instruction[] {
    const { since } = this;
    if (since !== null && [...this.instances.values()].every((execution) => execution.isThrough(since))) {
      this.since = null;
      instructions.push({ do: "through" });
    }
    return instructions;
  }

  /** What it made goes on; answers the instances here that received some of it. */
  private send(execution: NodeExecution, instructions: Instruction[]): NodeExecution[] {
    const receivers: NodeExecution[] = [];
    for (const box of execution.outboxes.values()) {
      for (const frame of box.take()) {
        const receiver = this.instances.get(this.placement.target(frame.edge, frame.seq));
        if (receiver === undefined) {
          instructions.push({ do: "emit", frame });
        } else {
          receiver.inbox.accept(frame);
          receivers.push(receiver);
        }
      }
    }
    return receivers;
  }

  /** The credit for what it consumed goes back; answers the instances here that received some of it. */
  private giveBack(execution: NodeExecution, instructions: Instruction[]): NodeExecution[] {
    const senders: NodeExecution[] = [];
    for (const [edge, port] of execution.inbox.ports) {
      for (const { seq, bytes } of port.due()) {
        const sender = this.instances.get(this.placement.source(edge, seq));
        if (sender === undefined) {
          instructions.push({ do: "credit", edge, seq, bytes });
        } else {
          sender.outboxes.get(edge)!.give(seq, bytes);
          senders.push(sender);
        }
      }
    }
    return senders;
  }
}

function summed<Key>(counts: readonly (readonly [Key, number])[]): Map<Key, number> {
  const sums = new Map<Key, number>();
  for (const [key, count] of counts) sums.set(key, (sums.get(key) ?? 0) + count);
  return sums;
}
