/** What a dashboard knows of its room, from what the signaling server tells (docs/wire.md, 6). No clock of its own. */

import type { PeerRecord } from "../peer/types";
import type { Delta, Gone as Left, LinkState, RoomEvent, RunState } from "../protocol/signaling";

/** One who left, and what went with it. */
export interface Gone {
  /** Milliseconds since 1970. */
  at: number;
  reason: string;
  /** What it held of runs that had not ended. */
  held: { run: string; nodes: string[] }[];
  links: LinkState[];
}

export interface RoomPeer {
  record: PeerRecord;
  /** Its place in the picture, kept while others come and go. */
  seat: number;
  gone: Gone | null;
  loads: { at: number; load: number }[];
}

export interface Presence {
  joined: PeerRecord[];
  updated: PeerRecord[];
  left: Left[];
}

/** How long one who is gone keeps its place. */
export const GONE_KEPT_MS = 60_000;
export const LOADS_KEPT_MS = 60_000;
const EVENTS_KEPT = 200;
const ENDED = new Set(["done", "failed", "cancelled"]);

export function hasEnded(run: RunState): boolean {
  return ENDED.has(run.state);
}

export class RoomView {
  readonly peers = new Map<string, RoomPeer>();
  links: LinkState[] = [];
  runs: RunState[] = [];
  events: RoomEvent[] = [];
  /** When the room was opened, in milliseconds since 1970. */
  since = 0;

  hear(delta: Delta, now: number): void {
    if (delta.type === "links") this.links = delta.links;
    else if (delta.type === "runs") this.#addRuns(delta.runs);
    else if (delta.type === "events") this.events = [...this.events, ...delta.events].slice(-EVENTS_KEPT);
    else {
      this.since = now - delta.since_s * 1000;
      this.links = delta.links;
      this.runs = [];
      this.#addRuns(delta.runs);
      this.events = delta.events.slice(-EVENTS_KEPT);
    }
  }

  presence({ joined, updated, left }: Presence, now: number): void {
    this.forget(now);
    for (const { peer, reason } of left) this.#lose(peer, reason, now);
    for (const record of [...joined, ...updated]) this.#see(record, now);
  }

  /** Lets go of those who were gone for long. */
  forget(now: number): void {
    for (const [id, peer] of this.peers) {
      if (peer.gone && now - peer.gone.at > GONE_KEPT_MS) this.peers.delete(id);
    }
  }

  /** What a peer holds of the runs that have not ended. */
  holds(name: string): { run: string; nodes: string[] }[] {
    return this.runs
      .filter((run) => !hasEnded(run))
      .map((run) => ({
        run: run.name,
        nodes: Object.keys(run.placement).filter((node) => holder(run, node).includes(name)),
      }))
      .filter(({ nodes }) => nodes.length > 0);
  }

  linksOf(peer: string): LinkState[] {
    return this.links.filter((link) => link.a === peer || link.b === peer);
  }

  #addRuns(runs: RunState[]): void {
    const key = (run: RunState) => `${run.driver} ${run.id}`;
    const fresh = new Map(runs.map((run) => [key(run), run]));
    const known = this.runs.filter((run) => !fresh.has(key(run)));
    this.runs = [...known, ...fresh.values()].sort((a, b) => b.started - a.started);
  }

  #lose(id: string, reason: string, now: number): void {
    const peer = this.peers.get(id);
    if (!peer || peer.gone) return;
    const held = this.holds(peer.record.name);
    if (peer.record.runtimes.length === 0 && held.length === 0) this.peers.delete(id); // it only drove
    peer.gone = { at: now, reason, held, links: this.linksOf(id) };
    this.links = this.links.filter((link) => link.a !== id && link.b !== id);
  }

  #see(record: PeerRecord, now: number): void {
    const known = this.peers.get(record.peer) ?? this.#namesake(record.name);
    if (known) this.peers.delete(known.record.peer);
    const peer = known ?? { record, seat: this.#freeSeat(), gone: null, loads: [] };
    peer.record = record;
    peer.gone = null;
    peer.loads = [...peer.loads.filter(({ at }) => now - at < LOADS_KEPT_MS), { at: now, load: record.load }];
    this.peers.set(record.peer, peer);
  }

  /** One who comes back under the same name takes its old place. */
  #namesake(name: string): RoomPeer | undefined {
    return [...this.peers.values()].find((peer) => peer.gone && peer.record.name === name);
  }

  #freeSeat(): number {
    const taken = new Set([...this.peers.values()].map((peer) => peer.seat));
    let seat = 0;
    while (taken.has(seat)) seat++;
    return seat;
  }
}

/** Names of the peers of a node; a placement may say `driver`. */
export function holder(run: RunState, node: string): string[] {
  return (run.placement[node] ?? []).map((name) => (name === "driver" ? run.driver : name));
}
