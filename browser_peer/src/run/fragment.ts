/**
 * The nodes of a run on one peer, sans-IO: events in, instructions out.
 *
 * The caller carries out every instruction, in order: it makes the calls on the instances of the nodes, sends frames,
 * credit and errors to the peers that the plan names, and reports what happens through the methods below, each of which
 * answers further instructions. Edges between two nodes of the fragment never leave it. To cancel, drop the object.
 *
 * Memory is bounded: an edge holds at most its credit (docs/wire.md, 4), a node one answer and one input, a join one seq,
 * a stateful node its snapshot and the inputs since.
 */

import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { BEGINNING, type Frame, type Instruction, type Resumption } from "./events";
import { NodeExecution, type State } from "./execution";
import type { Edge, Graph, GraphNode } from "./graph";
import { Gather, type Inbox, Port, Stream } from "./inbox";
import { Outbox } from "./outbox";

/**
 * `local` names the nodes of `graph` that run here, each in one instance, which the caller made beforehand; stateful ones
 * have the states of `resumption`, whose first seq is the first that comes in.
 */
export class Fragment {
  private readonly nodes = new Map<string, NodeExecution>();
  private readonly receivers = new Map<number, NodeExecution>();
  private readonly senders = new Map<number, { node: NodeExecution; box: Outbox }>();

  constructor(
    graph: Graph,
    local: Iterable<string>,
    { firstSeq, states }: Resumption = BEGINNING,
    creditBytes: number = limits.EDGE_CREDIT_BYTES,
  ) {
    const here = new Set(local);
    const inbound = new Map<string | null, Map<number, Edge>>(graph.nodes.map((node) => [node.id, new Map()]));
    const outbound = new Map<string | null, Map<number, Edge>>(graph.nodes.map((node) => [node.id, new Map()]));
    for (const [number, edge] of graph.edges.entries()) {
      inbound.get(edge.to)?.set(number, edge);
      outbound.get(edge.from)?.set(number, edge);
    }
    for (const node of graph.nodes.filter((each) => here.has(each.id))) {
      const inbox = makeInbox(node, inbound.get(node.id)!, firstSeq, creditBytes);
      const outboxes = makeOutboxes(outbound.get(node.id)!, creditBytes);
      this.nodes.set(node.id, new NodeExecution(node, inbox, outboxes, firstSeq, states.get(node.id) ?? null));
    }
    for (const node of this.nodes.values()) {
      for (const edge of node.inbox.ports.keys()) this.receivers.set(edge, node);
      for (const box of node.outboxes) this.senders.set(box.edge, { node, box });
    }
  }

  // From the network

  /** A frame came in. Throws ProtocolError("bad-message"), and changes nothing, where it is impossible. */
  frame(frame: Frame): Instruction[] {
    const node = this.receivers.get(frame.edge);
    if (node === undefined || this.senders.has(frame.edge)) {
      throw new ProtocolError("bad-message", `edge ${frame.edge} does not lead into this fragment`);
    }
    node.inbox.accept(frame);
    return this.settle(node, []);
  }

  /** Credit came back, in bytes. Throws ProtocolError("bad-message") for what cannot be. */
  credit(edge: number, amount: number): Instruction[] {
    const sender = this.senders.get(edge);
    if (sender === undefined || this.receivers.has(edge)) {
      throw new ProtocolError("bad-message", `edge ${edge} does not lead out of this fragment`);
    }
    sender.box.give(amount);
    return this.settle(sender.node, []);
  }

  // From the runtime

  /** A `process`, `next` or `finish` made `parts`; `more`: ask for further ones with `next`. */
  answered(node: string, parts: readonly Uint8Array[], more: boolean): Instruction[] {
    return this.event(node, (each) => each.answered(parts, more));
  }

  /** A `snapshot` was made. */
  snapshotted(node: string, snapshot: Uint8Array): Instruction[] {
    return this.event(node, (each) => each.snapshotted(snapshot));
  }

  /** A `restore` is done. */
  restored(node: string): Instruction[] {
    return this.event(node, (each) => each.restored());
  }

  /** A `recreate` is done. */
  recreated(node: string): Instruction[] {
    return this.event(node, (each) => each.recreated());
  }

  /** A call, or a `recreate`, failed. After `timeout`, `trapped` and `crashed` the instance is gone. */
  failed(node: string, kind: string, cause: string): Instruction[] {
    return this.event(node, (each) => each.failed(kind, cause));
  }

  // For people

  /** How many frames wait before each node. */
  queued(): Map<string, number> {
    return new Map([...this.nodes].map(([name, node]) => [name, node.inbox.queued]));
  }

  /** How many seqs each edge that drops has dropped. */
  dropped(): Map<number, number> {
    return new Map(
      [...this.senders].map(([edge, { box }]) => [edge, box.dropped] as const).filter(([, count]) => count),
    );
  }

  /** How many bytes are out on each edge that begins here: sent or waiting to be, and not yet consumed. */
  outstanding(): Map<number, number> {
    return new Map([...this.senders].map(([edge, { box }]) => [edge, box.outstanding]));
  }

  /** What each node is doing. */
  states(): Map<string, State> {
    return new Map([...this.nodes].map(([name, node]) => [name, node.state]));
  }

  // Inside

  private event(name: string, event: (node: NodeExecution) => Instruction[]): Instruction[] {
    const node = this.nodes.get(name)!;
    return this.settle(node, event(node));
  }

  /** Carries frames and credit between the nodes, and lets them act, until nothing moves. */
  private settle(first: NodeExecution, instructions: Instruction[]): Instruction[] {
    const todo = new Set([first]);
    for (const node of todo) {
      todo.delete(node); // a node that is added again while the set is walked is met again
      instructions.push(...node.advance());
      for (const neighbour of this.send(node, instructions)) todo.add(neighbour);
      for (const neighbour of this.giveBack(node, instructions)) todo.add(neighbour);
    }
    return instructions;
  }

  /** What the node made goes on; answers the nodes here that received some of it. */
  private send(node: NodeExecution, instructions: Instruction[]): NodeExecution[] {
    const receivers: NodeExecution[] = [];
    for (const box of node.outboxes) {
      for (const frame of box.take()) {
        const receiver = this.receivers.get(frame.edge);
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

  /** The credit for what the node consumed goes back; answers the nodes here that received some of it. */
  private giveBack(node: NodeExecution, instructions: Instruction[]): NodeExecution[] {
    const senders: NodeExecution[] = [];
    for (const [edge, port] of node.inbox.ports) {
      const bytes = port.due();
      if (bytes === 0) continue;
      const sender = this.senders.get(edge);
      if (sender === undefined) {
        instructions.push({ do: "credit", edge, bytes });
      } else {
        sender.box.give(bytes);
        senders.push(sender.node);
      }
    }
    return senders;
  }
}

function makeInbox(node: GraphNode, edges: ReadonlyMap<number, Edge>, firstSeq: number, creditBytes: number): Inbox {
  const ports = [...edges.keys()].map((number) => new Port(number, firstSeq, creditBytes));
  return node.join ? new Gather(edges, ports, new Set(node.optional), firstSeq) : new Stream(ports[0]!);
}

function makeOutboxes(edges: ReadonlyMap<number, Edge>, creditBytes: number): Outbox[] {
  return [...edges].map(([number, edge]) => new Outbox(number, edge.overflow === "drop_oldest", creditBytes));
}
