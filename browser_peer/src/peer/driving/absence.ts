/** Whom a run cannot count on now, and why its present epoch cannot go on as it is; as in mesh/peer/driving/absence.py. */

import limits from "../../generated/limits.json";
import { every } from "../../transport/ticker";
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
 * present epoch had there. Who is stuck does not get on with a node, though it beats: this run is through with it.
 */
export class Absence {
  /** Why the present epoch is lost. */
  loss = "";
  private epoch: Epoch | undefined;
  private readonly silent = new Map<string, string>();
  private readonly gone = new Set<string>();
  private readonly isStuck = new Set<string>();
  /** Of those who are silent or gone, whose process is gone too. */
  private readonly died = new Set<string>();
  private readonly pairs = new Map<string, [string, string]>();

  constructor(private readonly changed: () => void) {}

  /** It is the present one from now on. */
  began(epoch: Epoch): void {
    this.epoch = epoch;
    this.loss = "";
  }

  /** Who is left out of the next plan. */
  get peers(): string[] {
    return [...new Set([...this.silent.keys(), ...this.gone, ...this.isStuck])];
  }

  /** Pairs that have no link to one another. */
  get apart(): [string, string][] {
    return [...this.pairs.values()];
  }

  /** Who may have died of an item, or got stuck in it. */
  get dead(): ReadonlySet<string> {
    return new Set([...this.died, ...this.isStuck]);
  }

  /** Which worker of the present epoch is silent; empty: none. */
  get suspicion(): string {
    for (const [peer, reason] of this.silent) {
      if (this.works(peer)) return `${this.name(peer)} was suspected: ${reason}`;
    }
    return "";
  }

  /** Looks after the leases of the workers; the answer ends that. */
  watch(): () => void {
    return every(limits.HEARTBEAT_S * 1e3, () => {
      if (this.epoch === undefined || this.loss !== "") return;
      const expired = this.epoch.leases.expired(performance.now() / 1e3, this.peers);
      if (expired !== undefined) this.stuck(...expired);
    });
  }

  /** Its link has no connection. */
  suspected(peer: string, reason: string, died: boolean): void {
    this.silent.set(peer, reason);
    if (died) this.died.add(peer);
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

  /** The lease of a worker is over. */
  stuck(peer: string, reason: string): void {
    this.isStuck.add(peer);
    this.lose(`${this.name(peer)} is stuck: ${reason}`);
  }

  /** Two workers have no link any more: one of them is lost, as we shall notice, or the next plan parts them. */
  unlinked(one: string, other: string): void {
    const { epoch } = this;
    const part = () => {
      if (epoch !== this.epoch) return;
      const pair = [one, other].sort() as [string, string];
      this.pairs.set(pair.join(), pair);
      this.lose(`${this.name(one)} and ${this.name(other)} cannot reach each other`);
    };
    setTimeout(part, (limits.SUSPECT_AFTER_S + limits.HEARTBEAT_S) * 1e3);
  }

  /** The present epoch is lost. */
  lose(reason: string): void {
    this.loss ||= reason;
    this.changed();
  }

  /** It has a connection: a new link, or the one that was silent. */
  linked(peer: string): void {
    this.silent.delete(peer);
    this.gone.delete(peer);
    this.died.delete(peer);
    this.changed();
  }

  /** It has come into the room, perhaps again: links to it may be tried. */
  joined(peer: string): void {
    this.gone.delete(peer);
    this.died.delete(peer);
    for (const [key, pair] of this.pairs) if (pair.includes(peer)) this.pairs.delete(key);
  }

  private works(peer: string): boolean {
    return this.epoch?.workers.has(peer) === true;
  }

  private name(peer: string): string {
    return this.epoch?.names.get(peer) ?? peer;
  }
}
