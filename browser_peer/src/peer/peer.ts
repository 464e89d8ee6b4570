/** A browser tab as a peer of a room: its runtimes, its links, the runs that it drives and the fragments that it hosts. */

import { type Invite, ownKey, type PeerKey, parseInvite, verifyGrant } from "../protocol/grants";
import type { Message, RunMessage } from "../protocol/messages";
import { graphFromJson, type Plan, type RuntimeName } from "../run/graph";
import type { NodeSpec, Runtime } from "../runtimes/base";
import { type PyodideProgress, PyodideRuntime } from "../runtimes/pyodide";
import { WasmRuntime } from "../runtimes/wasm";
import type { Link } from "../transport/link";
import type { Absent } from "./driving/absence";
import type { Planned } from "./driving/replanning";
import { type Home, type Items, Run } from "./driving/run";
import type { Runtimes } from "./host";
import { Hosting, type Home as HostingHome, type Sender, type Start } from "./hosting";
import { Network, type Receiver } from "./network";
import type { RunKey } from "./site";
import {
  type LinkStats,
  ManifestFaults,
  type PeerApi,
  type PeerRecord,
  PlanRefused,
  type RunHandle,
  type RunOptions,
} from "./types";

export interface JoinOptions {
  /** Its name in the room, 1 to 64 of `A-Za-z0-9._-`; made up by default. */
  name?: string;
  /** Whether it runs nodes for others; by default wherever its grant has `work`. */
  serve?: boolean;
  /** Where `nodes/` and `pyodide/` of the built page are; by default beside the page. */
  assets?: string;
  /** STUN and TURN servers beside those that signaling hands out. */
  iceServers?: RTCIceServer[];
}

/** `const peer = await Peer.join(invite); for await (const result of peer.run(manifest, items)) …` */
export class Peer extends EventTarget implements PeerApi, Home, HostingHome, Receiver {
  readonly id: string;
  readonly name: string;
  readonly room: string;
  readonly runtimes: Runtimes;
  /** The registry, this peer included. */
  readonly peers = new Map<string, PeerRecord>();
  types: ReadonlyMap<string, NodeSpec> = new Map();
  private readonly pyodide: PyodideRuntime;
  private readonly hosting = new Hosting(this);
  private readonly runs = new Map<string, Run>();
  private readonly costs: Record<string, Record<string, number>> = {};
  private network!: Network;

  private constructor(
    private readonly invite: Invite,
    private readonly key: PeerKey,
    private readonly can: ReadonlySet<string>,
    private readonly options: JoinOptions,
  ) {
    super();
    this.id = key.id;
    this.name = options.name ?? `tab-${key.id.slice(0, 4)}`;
    this.room = invite.room;
    const assets = options.assets ?? import.meta.env.BASE_URL;
    this.pyodide = new PyodideRuntime((progress) => this.pyodideChanged(progress), `${assets}pyodide/`);
    this.runtimes = new Map<RuntimeName, Runtime>([
      ["wasm", new WasmRuntime(`${assets}nodes/`)],
      ["pyodide", this.pyodide],
    ]);
  }

  /** Joins the room of an invite URL. Rejects with ValueFault or ProtocolError for the invite, SignalingError for the room. */
  static async join(inviteUrl: string, options: JoinOptions = {}): Promise<Peer> {
    const [invite, key] = await Promise.all([parseInvite(inviteUrl), ownKey(sessionStorage)]);
    const now = Date.now() / 1000;
    const grant = await verifyGrant(invite.grant, { ownerKey: invite.ownerKey, room: invite.room, now });
    const peer = new Peer(invite, key, grant.can, options);
    await peer.enter();
    return peer;
  }

  private async enter(): Promise<void> {
    const { invite, key, name } = this;
    this.types = await offeredTypes(this.runtimes);
    const iceServers = this.options.iceServers ?? [];
    const load = () => this.load();
    this.network = new Network({ invite, key, name, announce: this.offer(), iceServers, receiver: this, load });
    await this.network.open();
    this.peersChanged();
  }

  /** Whether it runs nodes for others. */
  get serves(): boolean {
    return this.options.serve ?? this.can.has("work");
  }

  get links(): ReadonlyMap<string, LinkStats> {
    return this.network.measured;
  }

  async plan(manifest: string, pins: Record<string, string> = {}, absent?: Absent): Promise<Planned> {
    const announce = this.announcement();
    const answer = await this.network.plan(manifest, { pins, ...absent, announce });
    const { name, graph, plan, faults, refused } = answer;
    if (faults) throw new ManifestFaults(faults);
    if (refused) throw new PlanRefused(refused.message, refused.refusals);
    return { name: name ?? "", graph: graphFromJson(graph), plan: plan as unknown as Plan };
  }

  run(manifest: string, items: Items, options: RunOptions = {}): RunHandle {
    const run = new Run(this, manifest, items, options);
    this.runs.set(run.id, run);
    return run;
  }

  async close(): Promise<void> {
    const receipts = Array.from(this.runs.values(), (run) => {
      run.cancel();
      return run.receipt;
    });
    await Promise.all(receipts);
    this.hosting.close();
    await this.network.close();
    for (const runtime of this.runtimes.values()) runtime.close();
  }

  // What it tells of itself

  private announcement(): Announcement {
    return announcement(this.runtimes, this.types, this.pyodide.progress.state);
  }

  /** What the registry is told: a peer that serves nobody offers nothing. */
  private offer(): Announcement {
    return this.serves ? this.announcement() : { ...this.announcement(), runtimes: [], types: [] };
  }

  /** Calls under way for each slot. */
  private load(): number {
    const sites = [...this.hosting.sites, ...Array.from(this.runs.values(), (run) => run.site)];
    const running = sites.reduce((sum, site) => sum + (site?.host.running ?? 0), 0);
    return Math.min(1, running / this.announcement().slots);
  }

  private pyodideChanged(progress: PyodideProgress): void {
    const changed = this.pyodide.progress.state !== this.peers.get(this.id)?.pyodide;
    this.dispatchEvent(new CustomEvent("pyodide", { detail: progress }));
    if (!changed) return;
    this.network.signaling.announce(this.offer());
    this.peersChanged();
  }

  // What runs and hosted fragments need

  linkTo(peer: string): Promise<void> {
    return this.network.link(peer);
  }

  hears(peer: string): boolean {
    return this.network.hears(peer);
  }

  probe(peer: string): void {
    this.network.probe(peer);
  }

  post(peer: string, message: Message): void {
    this.network.post(peer, message);
  }

  nameOf(peer: string): string {
    return peer === this.id ? this.name : this.network.nameOf(peer);
  }

  offers(): ReadonlyMap<string, string> {
    const serving = [...this.peers.values()].filter(({ peer, runtimes }) => runtimes.length > 0 || peer === this.id);
    const offer = ({ runtimes, types, pyodide, hidden, caps }: PeerRecord) =>
      JSON.stringify([runtimes, types.map(({ node_type }) => node_type), pyodide, hidden, caps]);
    return new Map(serving.map((record) => [record.peer, offer(record)]));
  }

  report(run: object): void {
    this.network.signaling.report(run);
  }

  learn(costs: Record<string, Record<string, number>>): void {
    if (Object.keys(costs).length === 0) return;
    for (const [type, times] of Object.entries(costs)) this.costs[type] = { ...this.costs[type], ...times };
    this.network.signaling.costs(this.costs);
  }

  ended(run: Run): void {
    this.runs.delete(run.id);
  }

  // What the network tells

  received(link: Link, message: RunMessage): void {
    const key = { driver: message.driver, run: message.run };
    if (message.driver !== this.id) this.serve(link, key, message);
    else this.runs.get(message.run)?.receive(link.peer, message);
  }

  /** A message of somebody else's run: its driver's, or a neighbour's in it. */
  private serve(link: Link, key: RunKey, message: RunMessage): void {
    const sender: Sender = { peer: link.peer, name: link.name, can: link.grant.can };
    switch (message.type) {
      case "PART":
        this.hosting.site(key, message.epoch)?.receiveFrame(link.peer, message);
        break;
      case "CREDIT":
        this.hosting.site(key, message.epoch)?.receiveCredit(link.peer, message.edge, message.seq, message.amount);
        break;
      case "START":
        void this.hosting.start(sender, message as Start);
        break;
      case "STOP":
      case "STATS":
      case "PREPARE":
      case "CUT":
      case "STATE":
      case "CANCEL":
        if (link.peer !== key.driver) throw new Error("only its driver moves or ends a run, or asks after it");
        this.obey(key, message);
        break;
      default:
        throw new Error(`a ${message.type} is for the driver of its run`);
    }
  }

  private obey(
    key: RunKey,
    message: Extract<RunMessage, { type: "STOP" | "STATS" | "PREPARE" | "CUT" | "STATE" | "CANCEL" }>,
  ): void {
    if (message.type === "STOP") this.hosting.stop(key);
    else if (message.type === "STATS") this.hosting.stats(key);
    else if (message.type === "PREPARE") void this.hosting.prepare(key, message.epoch, message.body);
    else if (message.type === "CANCEL") this.hosting.site(key, message.epoch)?.host.cancel(message.seq);
    else if (message.type === "CUT") this.hosting.cut(key, message.epoch, message.body);
    else this.hosting.state(key, message.epoch, message.body);
  }

  lost(peer: string, reason: string, died: boolean): void {
    for (const run of this.runs.values()) run.lost(peer, reason, died);
    this.hosting.lost(peer);
  }

  suspected(peer: string, reason: string, died: boolean): void {
    for (const run of this.runs.values()) run.absence.suspected(peer, reason, died);
    this.hosting.suspected(peer);
  }

  linked(peer: string): void {
    for (const run of this.runs.values()) run.absence.linked(peer);
    this.hosting.linked(peer);
  }

  joined(peer: string): void {
    for (const run of this.runs.values()) run.absence.joined(peer);
  }

  peersChanged(): void {
    const me = { peer: this.id, name: this.name, can: [...this.can], load: 0, hidden: document.hidden };
    this.peers.clear();
    this.peers.set(this.id, { ...me, ...this.offer() });
    for (const [id, record] of this.network.signaling.peers) this.peers.set(id, record);
    for (const run of this.runs.values()) run.moves.reconsider();
    this.dispatchEvent(new CustomEvent("peers"));
  }

  linksChanged(): void {
    this.dispatchEvent(new CustomEvent("links"));
  }

  signalingChanged(state: "connected" | "away"): void {
    this.dispatchEvent(new CustomEvent("signaling", { detail: state }));
  }
}

type Announcement = Pick<PeerRecord, "kind" | "runtimes" | "types" | "caps" | "slots" | "pyodide"> & {
  speed: Record<string, number>;
};

/** Every type that runs here, with the runtimes it has; the first runtime's words describe it. */
async function offeredTypes(runtimes: Runtimes): Promise<Map<string, NodeSpec>> {
  const types = new Map<string, NodeSpec & { runtimes: RuntimeName[] }>();
  for (const [name, runtime] of runtimes) {
    for (const spec of await readTypes(runtime)) {
      const known = types.get(spec.node_type) ?? { ...spec, runtimes: [] };
      types.set(spec.node_type, { ...known, runtimes: [...known.runtimes, name] });
    }
  }
  return types;
}

/** A runtime whose files cannot be had offers nothing, and the tab does without it. */
async function readTypes(runtime: Runtime): Promise<NodeSpec[]> {
  try {
    return await runtime.types();
  } catch (error) {
    console.warn(`no ${runtime.name} nodes here: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
}

/** The whole announcement of a tab. A tab cannot see the machine's memory beyond a coarse hint. */
function announcement(
  runtimes: Runtimes,
  types: ReadonlyMap<string, NodeSpec>,
  pyodide: NonNullable<PeerRecord["pyodide"]>,
): Announcement {
  const cores = navigator.hardwareConcurrency;
  const memory = (navigator as { deviceMemory?: number }).deviceMemory ?? 1;
  return {
    kind: "browser",
    runtimes: [...runtimes.keys()],
    types: [...types.values()],
    caps: { cores, arch: "wasm32", memory_gb: memory, labels: {} },
    slots: Math.max(1, cores - 1),
    speed: {},
    pyodide,
  };
}
