/** The signaling server as a peer sees it, as in mesh/transport/signaling/ (docs/wire.md, 6). */

import { Deferred } from "../deferred";
import { SignalingError } from "../errors";
import limits from "../generated/limits.json";
import type { PeerRecord } from "../peer/types";
import { type Invite, type PeerKey, signJoin, toHex } from "../protocol/grants";
import {
  bad,
  type Catalog,
  type Delta,
  type Gone,
  type Joined,
  type PlanAnswer,
  POLICY_VIOLATION,
  readMessage,
  type ServerMessage,
  VERSION,
  type WireRecord,
} from "../protocol/signaling";
import { every } from "./ticker";

/** Every other end of a connection is a refusal, and final. */
const RETRIED = new Set(["slow", "silent", "away"]);
const TIMEOUT_MS = limits.SIGNALING_TIMEOUT_S * 1000;

/** The part of a browser's WebSocket that is used here. */
export type Socket = Pick<WebSocket, "send" | "close" | "onmessage" | "onclose">;

export interface SignalingOptions {
  name: string;
  key: PeerKey;
  /** What this peer offers (docs/wire.md, 6); null for a client that only watches. */
  announce: object | null;
  onRelay?: (from: string, data: Record<string, unknown>) => void;
  /** Every change of the registry, after it was made. */
  onPresence?: (joined: PeerRecord[], updated: PeerRecord[], left: Gone[]) => void;
  onState?: (state: "connected" | "away") => void;
  /** The server ended the membership for good. */
  onRefused?: (error: SignalingError) => void;
  /** The fields of a heartbeat: `load`, `hidden`, `links`. */
  heartbeat?: () => object;
  /** For tests. */
  open?: (url: string) => Socket;
}

export interface PlanWishes {
  /** Node → name of the peer that must run it. */
  pins?: Record<string, string>;
  /** Ids of peers that are left out. */
  without?: string[];
  /** Pairs of ids that are never neighbours. */
  apart?: [string, string][];
  /** What this peer offers to its own run. */
  announce?: object;
}

/** A place in a room. After `connect` it stays there, across restarts of the server, until `close` or a refusal. */
export class SignalingClient {
  /** The registry of the others, by id. */
  readonly peers = new Map<string, PeerRecord>();
  readonly id: string;
  name: string;
  can: ReadonlySet<string> = new Set();
  /** The connection that has joined; null while there is none. */
  private live: Socket | null = null;
  private opening: Socket | null = null;
  private closed = false;
  private heardAt = 0;
  private catalog: Catalog = {};
  private readonly digests = new Map<string, string>();
  /** Peers of before a restart that have not come back. */
  private unconfirmed = new Set<string>();
  private timers = new Set<ReturnType<typeof setTimeout>>();
  private stopBeating = () => {};
  private announcement: object | null;
  private onDelta: ((delta: Delta) => void) | null = null;
  /** It did not answer, and has said nothing since. */
  private isSilent = false;
  private lastIceServers: RTCIceServer[] = [];
  private readonly ice = new Set<Deferred<RTCIceServer[]>>();
  private readonly plans = new Map<number, Deferred<PlanAnswer>>();
  private nextPlan = 0;

  constructor(
    private readonly invite: Invite,
    private readonly options: SignalingOptions,
  ) {
    this.id = options.key.id;
    this.name = options.name;
    this.announcement = options.announce;
  }

  /** Whether the server is there, as far as we know: it may be silent, and the connection stand. */
  get connected(): boolean {
    return this.live !== null && !this.isSilent;
  }

  /** Whether the server is there and its registry whole: after a restart the others need a moment to come back. */
  get settled(): boolean {
    return this.connected && this.unconfirmed.size === 0;
  }

  /** Whether the server can relay to this peer, as far as we know. */
  reaches(peer: string): boolean {
    return this.connected && this.peers.has(peer) && !this.unconfirmed.has(peer);
  }

  /** The registry in the form in which it crosses the wire: node types by their digest in `catalog`. */
  snapshot(): { peers: object[]; catalog: object } {
    const peers = Array.from(this.peers.values(), (record) => ({ ...record, types: this.digests.get(record.peer) }));
    return { peers, catalog: this.catalog };
  }

  /** Joins the room; rejects with SignalingError: the server's code, or "away" where nobody answers. */
  async connect(): Promise<void> {
    await this.join();
  }

  /** Leaves the room and frees everything. */
  close(): void {
    this.closed = true;
    for (const timer of this.timers) clearTimeout(timer);
    this.opening?.close();
    this.live?.close();
    this.leave(new SignalingError("away", "this peer has left the room"));
    this.peers.clear();
  }

  /** Sends `data` to another peer through the server; throws SignalingError("away"). */
  relay(to: string, data: object): void {
    this.send({ type: "relay", to, data });
  }

  /** Asks for a plan, which is to come within `patience` (s). Rejects with SignalingError. */
  async plan(manifest: string, wishes: PlanWishes = {}, patience = limits.PLAN_TIMEOUT_S): Promise<PlanAnswer> {
    const id = ++this.nextPlan;
    const answer = new Deferred<PlanAnswer>();
    this.send({ type: "plan", id, manifest, ...wishes });
    this.plans.set(id, answer);
    return this.within(answer, patience * 1000).finally(() => this.plans.delete(id));
  }

  /** STUN and TURN servers: fresh ones, or the last while the server is away. */
  async iceServers(): Promise<RTCIceServer[]> {
    if (this.live === null) return this.lastIceServers;
    const answer = new Deferred<RTCIceServer[]>();
    this.tell({ type: "ice" });
    this.ice.add(answer);
    const late = this.after(limits.SIGNALING_PATIENCE_S * 1000, () => {
      this.isSilent = true;
      answer.resolve(this.lastIceServers);
    });
    try {
      return await answer.promise;
    } catch {
      return this.lastIceServers; // it went away
    } finally {
      this.forgetTimer(late);
      this.ice.delete(answer);
    }
  }

  /** Replaces what was announced before. */
  announce(announcement: object): void {
    this.announcement = announcement;
    this.tell({ type: "announce", announce: announcement });
  }

  /** Tells dashboards how a run of this peer stands. */
  report(run: object): void {
    this.tell({ type: "report", run });
  }

  /** Tells the planner what was measured here: node type → runtime → ms of one call. */
  costs(nodes: Record<string, Record<string, number>>): void {
    this.tell({ type: "costs", nodes });
  }

  /** From now on `onDelta` hears of the room's links, runs and events, the whole state first. Needs `watch`. */
  watch(onDelta: (delta: Delta) => void): void {
    this.onDelta = onDelta;
    this.tell({ type: "watch" });
  }

  /** Sends what nobody waits for; it is lost while the server is away. */
  private tell(message: object): void {
    this.live?.send(JSON.stringify(message));
  }

  private send(message: object): void {
    if (this.live === null) throw new SignalingError("away", `the signaling server ${this.invite.server} is away`);
    this.live.send(JSON.stringify(message));
  }

  private within<T>(answer: Deferred<T>, ms: number): Promise<T> {
    const late = this.after(ms, () =>
      answer.reject(new SignalingError("away", "the signaling server does not answer")),
    );
    return answer.promise.finally(() => this.forgetTimer(late));
  }

  private after(ms: number, work: () => void): ReturnType<typeof setTimeout> {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      work();
    }, ms);
    this.timers.add(timer);
    return timer;
  }

  private forgetTimer(timer: ReturnType<typeof setTimeout>): void {
    clearTimeout(timer);
    this.timers.delete(timer);
  }

  // The connection

  /** One connection, until it has joined. What ends it before that rejects; what ends it later goes to `lost`. */
  private join(): Promise<void> {
    const joined = new Deferred<void>();
    const socket = (this.options.open ?? ((url) => new WebSocket(url)))(this.invite.websocket);
    let end: SignalingError | null = null;
    const refuse = (error: unknown) => {
      if (!(error instanceof SignalingError)) throw error;
      end = error;
      socket.close();
    };
    const deadline = this.after(TIMEOUT_MS, () => socket.close());
    this.opening = socket;
    socket.onmessage = ({ data }) => {
      this.heardAt = performance.now();
      this.isSilent = false;
      try {
        const message = readMessage(data);
        if (this.live === socket) this.receive(message);
        else if (message.type === "challenge") this.answer(socket, message).catch(refuse);
        else {
          this.enter(socket, message);
          this.forgetTimer(deadline);
          joined.resolve();
        }
      } catch (error) {
        refuse(error);
      }
    };
    socket.onclose = (event) => {
      this.forgetTimer(deadline);
      const error = end ?? reasonOf(event, this.invite.server);
      joined.reject(error);
      if (this.live === socket) this.lost(error);
    };
    return joined.promise;
  }

  private async answer(socket: Socket, challenge: { version: number; nonce: string }): Promise<void> {
    if (challenge.version !== VERSION)
      throw new SignalingError("bad-version", `the server speaks version ${challenge.version}, this peer ${VERSION}`);
    const { room, ownerKey, grant } = this.invite;
    const join = {
      type: "join",
      version: VERSION,
      room,
      owner: toHex(ownerKey),
      grant,
      name: this.name,
      key: this.options.key.publicKey,
      signature: await signJoin(this.options.key, room, challenge.nonce),
      announce: this.announcement,
    };
    socket.send(JSON.stringify(join));
  }

  private enter(socket: Socket, message: ServerMessage): void {
    if (message.type === "error") throw new SignalingError(message.code, message.message);
    if (message.type !== "joined") bad(`the server said ${message.type} before this peer had joined`);
    this.opening = null;
    this.live = socket;
    this.can = new Set(message.can);
    this.lastIceServers = message.ice_servers;
    this.takeRegistry(message);
    this.stopBeating = every(limits.SIGNALING_HEARTBEAT_S * 1000, () => this.beat());
    this.beat();
    if (this.onDelta !== null) this.tell({ type: "watch" });
    this.options.onState?.("connected");
  }

  /** A heartbeat; where nothing has come for long, it asks for an answer, and at last gives the connection up. */
  beat(): void {
    const silence = performance.now() - this.heardAt;
    if (silence > TIMEOUT_MS) {
      this.live?.close();
      this.lost(new SignalingError("away", "the signaling server does not answer"));
    } else {
      this.tell({ type: "heartbeat", ...this.options.heartbeat?.() });
      if (silence > TIMEOUT_MS / 2) this.tell({ type: "ice" });
    }
  }

  private leave(error: SignalingError): void {
    this.live = null;
    this.stopBeating();
    for (const waiting of [...this.ice, ...this.plans.values()]) waiting.reject(error);
  }

  private lost(error: SignalingError): void {
    this.leave(error);
    if (this.closed) return;
    this.options.onState?.("away");
    this.comeBack(error);
  }

  private comeBack(error: SignalingError): void {
    if (this.closed) return;
    if (!RETRIED.has(error.code)) {
      this.close();
      this.options.onRefused?.(error);
      return;
    }
    // Measured: spreading every try over the same short time brings a whole room back sooner than backing off does.
    const spread = Math.max(1000, this.peers.size);
    this.after(Math.random() * spread, () => void this.join().catch((again) => this.comeBack(again)));
  }

  // What the server says

  private receive(message: ServerMessage): void {
    if (message.type === "challenge" || message.type === "joined") bad("the server greets twice");
    switch (message.type) {
      case "presence":
        this.catalog = { ...this.catalog, ...message.catalog };
        this.forget(message.left);
        this.merge([...message.joined, ...message.updated]);
        return;
      case "relay":
        this.options.onRelay?.(message.from, message.data);
        return;
      case "ice":
        this.lastIceServers = message.ice_servers;
        for (const waiting of this.ice) waiting.resolve(message.ice_servers);
        return;
      case "plan":
        this.plans.get(message.id)?.resolve(message);
        return;
      case "error":
        if (message.code === "unknown-peer") return; // a link is made anew to somebody who has left the room
        if (message.id === undefined) console.warn(`signaling: ${message.code}: ${message.message}`);
        else this.plans.get(message.id)?.reject(new SignalingError(message.code, message.message));
        return;
      default:
        this.onDelta?.(message);
    }
  }

  private takeRegistry(joined: Joined): void {
    this.catalog = joined.catalog;
    this.unconfirmed = new Set(this.peers.keys());
    this.merge(joined.peers);
    // After a restart of the server the others come back within a moment, as this peer did; then they are gone.
    if (this.unconfirmed.size > 0)
      this.after(limits.REJOIN_GRACE_S * 1000, () =>
        this.forget([...this.unconfirmed].map((peer) => ({ peer, name: this.nameOf(peer), reason: "not back" }))),
      );
  }

  private nameOf(peer: string): string {
    return this.peers.get(peer)?.name ?? peer;
  }

  private merge(records: WireRecord[]): void {
    const joined: PeerRecord[] = [];
    const updated: PeerRecord[] = [];
    for (const record of records) {
      const types = this.catalog[record.types];
      if (types === undefined) bad("the server lists a peer without its node types");
      this.digests.set(record.peer, record.types); // our own too: the server tells the types of a digest once
      if (record.peer === this.id) continue;
      const whole = { ...record, types } as unknown as PeerRecord; // the server has checked what its peer announced
      (this.peers.has(record.peer) ? updated : joined).push(whole);
      this.peers.set(record.peer, whole);
      this.unconfirmed.delete(record.peer);
    }
    const used = new Set(this.digests.values());
    this.catalog = Object.fromEntries(Object.entries(this.catalog).filter(([digest]) => used.has(digest)));
    if (joined.length + updated.length > 0) this.options.onPresence?.(joined, updated, []);
  }

  private forget(left: Gone[]): void {
    const known = left.filter(({ peer }) => this.peers.delete(peer));
    for (const { peer } of known) {
      this.digests.delete(peer);
      this.unconfirmed.delete(peer);
    }
    if (known.length > 0) this.options.onPresence?.([], [], known);
  }
}

/** Why a connection ended: `code: text`, as the server closes it, else "away". */
function reasonOf(event: CloseEvent, server: string): SignalingError {
  const refused = /^([a-z-]+): (.*)$/s.exec(event.reason);
  if (event.code === POLICY_VIOLATION && refused !== null) return new SignalingError(refused[1]!, refused[2]!);
  return new SignalingError("away", `the signaling server ${server} is away`);
}
