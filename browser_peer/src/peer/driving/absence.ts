/** Whom a run cannot count on now, and why its present epoch cannot go on as it is; as in mesh/peer/driving/absence.py. */

import type { Epoch } from "./epoch";

/** Left out of a plan, and pairs that cannot be neighbours in it; ids. */
export interface Absent {
  without: string[];
  apart: [string, string][];
}

/**
 * Of peers of the room, whether they have a part in the run or not. `changed` is called whenever a worker's absence may
 * matter to the present epoch, or its return.
 *
 * Who is silent may come back before anybody takes their place, and then nothing has happened. Who is gone lost what the
 * present epoch had there.
 */
export class Absence {
  /** Why the present epoch is lost. */
  loss = "";
  private epoch: Epoch | undefined;
  private readonly silent = new Map<string, string>();
  private readonly gone = new Set<string>();
  /** Of those who are gone, whose process is gone too. */
  private readonly died = new Set<string>();
  /** Pairs that have no link to one another. */
  apart: [string, string][] = [];

  constructor(private readonly changed: () => void) {}

  /** It is the present one from now on. */
  began(epoch: Epoch): void {
    this.epoch = epoch;
    this.loss = "";
  }

  /** Who is left out of the next plan. */
  get peers(): string[] {
    return [...this.silent.keys(), ...this.gone];
  }

  /** Absent, and perhaps not for good. */
  get reachable(): string[] {
    return this.peers.filter((peer) => !this.died.has(peer));
  }

  /** Which worker of the present epoch is silent; empty: none. */
  get suspicion(): string {
    for (const [peer, reason] of this.silent) {
      if (this.works(peer)) return `${this.name(peer)} was suspected: ${reason}`;
    }
    return "";
  }

  /** Its link has no connection. */
  suspected(peer: string, reason: string): void {
    this.silent.set(peer, reason);
    this.changed();
  }

  /** Its link is gone, or as good as gone for this run. */
  lost(peer: string, reason: string, died = false): void {
    const works = this.works(peer);
    if (!this.silent.delete(peer) && !works) return; // nobody of this run
    this.gone.add(peer);
    if (died) this.died.add(peer);
    if (works) this.lose(`${this.name(peer)} was lost: ${reason}`);
  }

  /** Two workers cannot reach each other. */
  parted(one: string, other: string): void {
    this.apart.push([one, other]);
    this.lose(`${this.name(one)} and ${this.name(other)} cannot reach each other`);
  }

  /** The present epoch is lost. */
  lose(reason: string): void {
    this.loss ||= reason;
    this.changed();
  }

  /** It has a connection: a new link, or the one that was silent. */
  linked(peer: string): void {
    this.silent.delete(peer);
    this.joined(peer);
    this.changed();
  }

  /** It is in the room, perhaps again, so that a link to it may be tried. */
  joined(peer: string): void {
    this.gone.delete(peer);
    this.died.delete(peer);
    this.apart = this.apart.filter((pair) => !pair.includes(peer));
  }

  private works(peer: string): boolean {
    return this.epoch?.workers.has(peer) === true;
  }

  private name(peer: string): string {
    return this.epoch?.names.get(peer) ?? peer;
  }
}
