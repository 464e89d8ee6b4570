/** A mesh of peers within one process, for tests of runs: nodes that compute with single bytes, links without a network. */

import { LinkError } from "../../errors";
import type { RunMessage as Message } from "../../protocol/messages";
import type { Edge, Graph, GraphNode } from "../../run/graph";
import { type Answer, type Instance, NodeError, type NodeSpec, type Runtime } from "../../runtimes/base";
import { Hosting, type Sender, type Start } from "../hosting";
import type { RunKey } from "../site";
import { PlanRefused, type RunOptions } from "../types";
import type { Absent } from "./absence";
import type { Planned } from "./replanning";
import { type Items, Run } from "./run";

/** What a node does to the single byte of a payload. */
export type Work = (byte: number) => Promise<number> | number;

class Arithmetic implements Runtime {
  readonly name = "wasm";
  /** Instances that are not closed. */
  alive = 0;

  constructor(private readonly works: Record<string, Work>) {}

  async types(): Promise<NodeSpec[]> {
    return [];
  }

  async create(node: GraphNode): Promise<Instance> {
    const work = this.works[node.node_type];
    if (work === undefined) throw new NodeError(`no ${node.node_type} here`);
    this.alive += 1;
    const none = async (): Promise<Answer> => ({ parts: [], more: false });
    return {
      process: async (payload) => ({ parts: [Uint8Array.of(await work(payload[0]!))], more: false }),
      next: none,
      finish: none,
      snapshot: async () => new Uint8Array(),
      restore: async () => {},
      close: () => {
        this.alive -= 1;
      },
    };
  }

  close(): void {}
}

/** Peers of one process, whose links deliver in order and later. */
export class Mesh {
  readonly peers = new Map<string, Peer>();
  lag: Promise<unknown> = Promise.resolve();

  add(id: string, works: Record<string, Work>): Peer {
    const peer = new Peer(this, id, works);
    this.peers.set(id, peer);
    return peer;
  }

  /** A peer that dies, which everybody else notices at once. */
  kill(id: string): void {
    this.peers.delete(id);
    for (const peer of this.peers.values()) {
      peer.lost(id); // its link
      peer.lost(id); // its place in the room
    }
  }

  deliver(from: string, to: string, message: Message): void {
    this.lag = this.lag.then(() => {
      if (this.peers.has(from)) this.peers.get(to)?.receive(from, structuredClone(message));
    });
  }
}

export class Peer {
  readonly serves = true;
  readonly runtime: Arithmetic;
  readonly runtimes: Map<"wasm", Runtime>;
  readonly types: Map<string, NodeSpec>;
  readonly hosting = new Hosting(this);
  can = ["submit", "work"];
  /** For each node the peers that may run it, the best first. */
  places: Record<string, string[]> = {};
  run: Run | undefined;

  constructor(
    private readonly mesh: Mesh,
    readonly id: string,
    works: Record<string, Work>,
  ) {
    this.runtime = new Arithmetic(works);
    this.runtimes = new Map([["wasm", this.runtime]]);
    this.types = new Map(Object.keys(works).map((type) => [type, spec(type)]));
  }

  get name(): string {
    return this.id;
  }

  nameOf(peer: string): string {
    return peer;
  }

  /** What it says of the peers; when it changes, so may what is best. */
  room = new Map<string, string>();

  offers(): ReadonlyMap<string, string> {
    return this.room;
  }

  async plan(_manifest: string, pins: Record<string, string>, absent?: Absent): Promise<Planned> {
    const free = (peer: string) => this.mesh.peers.has(peer) && !absent?.without.includes(peer);
    const choices = (node: string, peers: string[]) => (pins[node] === undefined ? peers : [pins[node]]);
    const places = Object.entries(this.places).map(([node, peers]) => [node, choices(node, peers).find(free)] as const);
    const homeless = places.find(([, peer]) => peer === undefined);
    if (homeless) throw new PlanRefused(`nobody can run ${homeless[0]}`, []);
    const planned = chain(Object.fromEntries(places) as Record<string, string>);
    const ranks = places.map(([node, peer]) => this.places[node]!.indexOf(peer!));
    planned.plan.latency_ms = 1 + Math.max(...ranks); // the first of a list is the best
    return planned;
  }

  async linkTo(peer: string): Promise<void> {
    if (!this.mesh.peers.has(peer)) throw new LinkError("ice", `no link to ${peer}`);
  }

  hears(peer: string): boolean {
    return this.mesh.peers.has(peer);
  }

  probe(): void {}

  post(to: string, message: Message): void {
    this.mesh.deliver(this.id, to, message);
  }

  report(): void {}
  learn(): void {}
  ended(): void {}

  /** Drives a chain of nodes, each at the first of its peers that is there. */
  start(places: Record<string, string | string[]>, items: readonly number[] | Items, options: RunOptions = {}): Run {
    this.places = Object.fromEntries(Object.entries(places).map(([node, peers]) => [node, [peers].flat()]));
    const bytes = Array.isArray(items) ? items.map((item: number) => Uint8Array.of(item)) : (items as Items);
    this.run = new Run(this, "manifest", bytes, options);
    return this.run;
  }

  lost(peer: string): void {
    this.run?.lost(peer, "it is silent", true);
    this.hosting.lost(peer);
  }

  receive(from: string, message: Message): void {
    const key = { driver: message.driver, run: message.run };
    const sender = { peer: from, name: from, can: new Set(this.mesh.peers.get(from)!.can) };
    if (message.driver === this.id) this.run!.receive(from, message);
    else this.serve(sender, key, message);
  }

  private serve(sender: Sender, key: RunKey, message: Message): void {
    const from = sender.peer;
    switch (message.type) {
      case "START":
        void this.hosting.start(sender, message as Start);
        break;
      case "STOP":
        this.hosting.stop(key);
        break;
      case "STATS":
        this.hosting.stats(key);
        break;
      case "PREPARE":
        void this.hosting.prepare(key, message.epoch, message.body);
        break;
      case "CUT":
        this.hosting.cut(key, message.epoch, message.body);
        break;
      case "STATE":
        this.hosting.state(key, message.epoch, message.body);
        break;
      case "CREDIT":
        this.hosting.site(key, message.epoch)?.receiveCredit(from, message.edge, message.seq, message.amount);
        break;
      case "PART":
        this.hosting.site(key, message.epoch)?.receiveFrame(from, message);
        break;
      default:
        throw new Error(`${message.type} at ${this.id}`);
    }
  }
}

function spec(node_type: string): NodeSpec {
  const flags = { join: false, stateful: false, deterministic: true, finishes: false, snapshots: false };
  return { node_type, doc: "", params: {}, accepts: "any", returns: "any", arity: "one", ...flags, runtimes: ["wasm"] };
}

/** A chain of nodes, each of a type of its own name, at the peers given. */
function chain(places: Record<string, string>) {
  const ids = Object.keys(places);
  const edge = (from: string | null, to: string | null): Edge => ({
    from,
    to,
    port: to ?? from!,
    list: false,
    overflow: "block",
  });
  const inner = ids.slice(1).map((id, index) => edge(ids[index]!, id));
  const nodes = ids.map((id) => ({ ...spec(id), id, params: Uint8Array.of(0x80), optional: [], timeout_s: 30 }));
  const graph: Graph = { nodes, edges: [...inner, edge(null, ids[0]!), edge(ids.at(-1)!, null)], order: ids };
  const seat = (peer: string) => ({ on: [{ peer, runtime: "wasm" as const }], share: "modulo" as const });
  const steps = [{ from_seq: 0, nodes: Object.fromEntries(ids.map((id) => [id, seat(places[id]!)])) }];
  return { graph, plan: { epoch: 1, steps, latency_ms: 1, why: {} }, name: "chain" };
}

export async function bytes(run: Run): Promise<number[]> {
  const found: number[] = [];
  for await (const result of run) found.push(result.payload[0]!);
  return found;
}
