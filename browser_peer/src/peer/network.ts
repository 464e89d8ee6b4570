/** The room as a peer sees it: the registry and the relays of the signaling server, and a proven link to whom it needs. */

import { LinkError, SignalingError } from "../errors";
import limits from "../generated/limits.json";
import { type Lane, Lane as Lanes } from "../protocol/codec";
import { type Invite, type PeerKey, verifyGrant } from "../protocol/grants";
import { decodeMessage, encodeMessage, type Message, type RunMessage } from "../protocol/messages";
import type { Gone, PlanAnswer } from "../protocol/signaling";
import type { Link } from "../transport/link";
import { Links } from "../transport/links";
import type { Relayed } from "../transport/negotiation";
import { type PlanWishes, SignalingClient } from "../transport/signaling";
import { every } from "../transport/ticker";
import { Plans } from "./neighbours/planning";
import { OPENINGS, Relays } from "./neighbours/relaying";
import type { LinkStats, PeerRecord } from "./types";

const MEASURE_MS = 1000;
/** Why the server says that a peer left: its socket closed, as it does when its process ends. */
const SOCKET_CLOSED = "closed";

/** What a network tells its peer. */
export interface Receiver {
  /** A message came; throwing closes the link. */
  received(link: Link, message: RunMessage): void;
  /** A link lost its connection: its peer is linked again before long, or lost. `died`: as for `lost`. */
  suspected(peer: string, reason: string, died: boolean): void;
  /** A link has a connection: a new link, or one that goes on. */
  linked(peer: string): void;
  /**
   * A peer cannot be reached any more: its link is gone, or it left the room without one. `died`: its process is gone too, as
   * far as can be known.
   */
  lost(peer: string, reason: string, died: boolean): void;
  /** A peer is in the room, perhaps again. */
  joined(peer: string): void;
  peersChanged(): void;
  linksChanged(): void;
  signalingChanged(state: "connected" | "away"): void;
}

export interface NetworkOptions {
  invite: Invite;
  key: PeerKey;
  name: string;
  /** What the registry is told of this peer (docs/wire.md, 6). */
  announce: object;
  /** Beside those that signaling hands out. */
  iceServers: RTCIceServer[];
  receiver: Receiver;
  /** The busy share of this tab, 0 … 1; asked at each heartbeat. */
  load(): number;
}

/** Membership of one room. */
export class Network {
  readonly signaling: SignalingClient;
  /** The links as they were measured last. */
  readonly measured = new Map<string, LinkStats>();
  private readonly links: Links;
  private readonly relays: Relays;
  private readonly plans = new Plans((peer, message) => this.post(peer, message));
  /** Lost, and neither linked nor heard of in the registry since. */
  private readonly unreachable = new Set<string>();
  /** Whose signaling socket closed, while a link to them stood. */
  private readonly left = new Set<string>();
  /** Who spoke through the server before the registry had them. */
  private readonly fresh = new Set<string>();
  private measuredAt = 0;
  private stopMeasuring = () => {};
  private readonly leaving = () => this.leave();
  private readonly hiding = () => this.signaling.beat();

  constructor(private readonly options: NetworkOptions) {
    const { invite, key, name, announce, receiver } = options;
    this.signaling = new SignalingClient(invite, {
      name,
      key,
      announce,
      onRelay: (from, data) => {
        this.relays.forget(from);
        if (!this.signaling.peers.has(from)) this.fresh.add(from);
        this.links.relay(from, data);
      },
      onPresence: (joined, updated, left) => this.presence(joined, updated, left),
      onState: (state) => receiver.signalingChanged(state),
      onRefused: (error) => console.error(`this peer is out of the room: ${error.message}`),
      heartbeat: () => this.heartbeat(),
    });
    const verify = (grant: string) =>
      verifyGrant(grant, { ownerKey: invite.ownerKey, room: invite.room, now: Date.now() / 1000 });
    this.links = new Links({
      me: { peer: key.id, name, roomKey: invite.roomKey, grant: invite.grant, verify },
      sendRelay: (peer, data) => this.relay(peer, data),
      iceServers: async () => [...options.iceServers, ...(await this.signaling.iceServers())],
      onMessage: (link, lane, data) => this.received(link, decodeMessage(lane, data)),
      onSuspect: (link, reason) => this.suspect(link, reason),
      onResumed: (link) => receiver.linked(link.peer),
      onLost: (link, reason) => this.lose(link, reason),
      onLink: (link) => {
        this.unreachable.delete(link.peer);
        this.measure();
        receiver.linked(link.peer);
      },
    });
    this.relays = new Relays({
      key,
      roomKey: invite.roomKey,
      neighbours: () => this.links.connected(),
      post: (peer, message) => this.post(peer, message),
      take: (sender, data) => this.links.relay(sender, data),
    });
  }

  /** Joins the room; rejects with SignalingError where it is refused or nobody answers. */
  async open(): Promise<void> {
    await this.signaling.connect();
    this.stopMeasuring = every(MEASURE_MS, () => this.measure());
    addEventListener("pagehide", this.leaving);
    document.addEventListener("visibilitychange", this.hiding);
  }

  async close(): Promise<void> {
    removeEventListener("pagehide", this.leaving);
    document.removeEventListener("visibilitychange", this.hiding);
    this.stopMeasuring();
    await this.links.close();
    this.signaling.close();
  }

  /** The server's answer; a neighbour's while the server, or the registry behind it, is not all there. */
  async plan(manifest: string, wishes: PlanWishes): Promise<PlanAnswer> {
    const linked = this.links.connected().map(({ peer }) => peer);
    const planners = linked.filter((peer) => this.signaling.peers.get(peer)?.kind === "server");
    if (this.signaling.settled || planners.length === 0) {
      try {
        const patience = planners.length > 0 ? limits.PLAN_PATIENCE_S : limits.PLAN_TIMEOUT_S;
        return await this.signaling.plan(manifest, wishes, patience);
      } catch (error) {
        const isAway = error instanceof SignalingError && error.code === "away";
        if (!isAway || planners.length === 0) throw error;
      }
    }
    const without = [...new Set([...(wishes.without ?? []), ...this.unreachable])];
    return this.plans.ask({ manifest, ...wishes, without, ...this.signaling.snapshot(), linked }, planners);
  }

  /** The page goes: others should know at once, not when they have heard nothing for long. */
  private leave(): void {
    this.links.leave("its page was closed");
    this.signaling.close();
  }

  /** Makes the link to a peer where there is none; rejects with LinkError, naming the peer and the step that failed. */
  async link(peer: string): Promise<void> {
    try {
      await this.links.get(peer);
    } catch (error) {
      throw error instanceof LinkError
        ? new LinkError(error.step, `no link to ${this.nameOf(peer)}: ${error.message}`)
        : error;
    }
  }

  /** Whether there is a link to a peer that is not silent. */
  hears(peer: string): boolean {
    return this.links.hears(peer);
  }

  /** Doubts the link to a peer: it is suspected unless it is heard soon. */
  probe(peer: string): void {
    this.links.probe(peer);
  }

  /** Sends in order, without waiting: credit bounds what can wait. A link that is gone takes nothing. */
  post(peer: string, message: Message): void {
    const lane: Lane = message.type === "PART" ? Lanes.DATA : Lanes.CONTROL;
    const sent = this.links.existing(peer)?.send(lane, encodeMessage(message));
    sent?.catch(() => undefined); // the loss itself is told by onLost
  }

  /** What people call a peer; its id where it is not in the room any more. */
  nameOf(peer: string): string {
    return this.signaling.peers.get(peer)?.name ?? this.links.existing(peer)?.name ?? peer;
  }

  /** A connection is rebuilt unless the other process has left the room too: then it died. */
  private suspect(link: Link, reason: string): void {
    this.options.receiver.suspected(link.peer, reason, this.hasDied(link.peer));
    if (this.left.has(link.peer)) this.links.left(link.peer);
  }

  private lose(link: Link, reason: string): void {
    this.unreachable.add(link.peer);
    this.measure();
    const died = this.hasDied(link.peer);
    this.left.delete(link.peer);
    this.options.receiver.lost(link.peer, reason, died);
  }

  /** Of a peer without a connection: whether its process is gone; without the server there is no other sign. */
  private hasDied(peer: string): boolean {
    return this.left.has(peer) || !this.signaling.connected;
  }

  /**
   * A link outlives its signaling: where there is one, its own heartbeat decides. Who was dismissed, for its silence for
   * example, may come back; whose socket closed most likely died.
   */
  private presence(joined: readonly PeerRecord[], updated: readonly PeerRecord[], left: readonly Gone[]): void {
    this.options.receiver.peersChanged();
    for (const { peer } of [...joined, ...left]) this.fresh.delete(peer);
    for (const { peer, reason } of left) {
      const died = reason === SOCKET_CLOSED;
      if (this.links.existing(peer) === null) this.options.receiver.lost(peer, `it left the room (${reason})`, died);
      else if (died) {
        this.left.add(peer);
        this.links.left(peer);
      }
    }
    for (const { peer } of [...joined, ...updated]) {
      this.unreachable.delete(peer);
      this.left.delete(peer);
    }
    for (const { peer } of joined) this.options.receiver.joined(peer); // not where its load has changed, say: that makes no link
  }

  /**
   * Brings part of a negotiation to a peer: an answer the way that it was heard, an opening through the server. Whom the
   * server let speak it also reaches, even before the registry says so. Where it cannot, neighbours are tried. Rejects with SignalingError("away") where there are none either.
   */
  private async relay(to: string, data: Relayed): Promise<void> {
    const opens = OPENINGS.has(data.kind);
    const reached = this.signaling.reaches(to) || (this.signaling.connected && this.fresh.has(to));
    const throughServer = reached && (opens || !this.relays.heard(to));
    if (!throughServer && (await this.relays.send(to, data))) return;
    this.signaling.relay(to, data);
    if (opens) void this.openAnew(to, data);
  }

  /** Where the server is silent it may have swallowed an opening: whether it answers anything is asked at once. */
  private async openAnew(to: string, data: Relayed): Promise<void> {
    await this.signaling.iceServers();
    if (!this.signaling.connected) await this.relays.send(to, data);
  }

  private received(link: Link, message: Message): void {
    if (message.type === "RELAY") this.relays.received(link, message);
    else if (message.type === "PLAN") this.plans.refuse(link.peer, message);
    else if (message.type === "PLANNED") this.plans.answered(link.peer, message);
    else this.options.receiver.received(link, message);
  }

  private heartbeat(): object {
    const links = Array.from(this.measured.values(), ({ name: _, ...link }) => link);
    return { load: this.options.load(), hidden: document.hidden, links };
  }

  private measure(): void {
    const now = performance.now();
    const elapsed = (now - this.measuredAt) / 1000;
    const before = new Map(this.measured);
    this.measured.clear();
    for (const id of this.signaling.peers.keys()) {
      const link = this.links.existing(id);
      if (link === null) continue;
      const { sent, received, ...stats } = link.stats();
      const [out, in_] = [sum(sent), sum(received)];
      const last = before.get(link.peer);
      const moved = last === undefined ? 0 : out + in_ - last.sent - last.received;
      const rate = elapsed > 0 ? Math.max(0, moved / elapsed) : 0;
      const { peer, name } = link;
      this.measured.set(peer, { peer, name, sent: out, received: in_, bytes_per_s: rate, ...stats });
    }
    this.measuredAt = now;
    if (before.size + this.measured.size > 0) this.options.receiver.linksChanged();
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
