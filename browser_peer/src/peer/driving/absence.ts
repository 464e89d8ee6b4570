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
 * present epoch had there. Who is stuck does not get on with a node, though it beats: this run is through with it. Two workers
 * may hear nothing of each other, though both are heard here. `probe` is to find out whether they are.
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
  /** A worker, and another one of which it hears nothing; `parted`: they have to do without each other. */
  private unhearing: { one: string; other: string; parted: boolean }[] = [];

  constructor(
    private readonly changed: () => void,
    private readonly probe: (peer: string) => void,
  ) {}

  /** It is the present one from now on. */
  began(epoch: Epoch): void {
    this.epoch = epoch;
    this.loss = "";
    // who has no part any more does not say when it hears again
    this.unhearing = this.unhearing.filter(({ one }) => this.works(one));
  }

  /** Who is left out of the next plan. */
  get peers(): string[] {
    return [...new Set([...this.silent.keys(), ...this.gone, ...this.isStuck])];
  }

  /** Who cannot be neighbours in the next plan. */
  get apart(): [string, string][] {
    const parted = this.unhearing.filter((pair) => pair.parted);
    const pairs = parted.map(({ one, other }) => [one, other].sort() as [string, string]);
    return [...new Map(pairs.map((pair) => [pair.join(), pair])).values()];
  }

  /** Who may have died of an item, or got stuck in it. */
  get dead(): ReadonlySet<string> {
    return new Set([...this.died, ...this.isStuck]);
  }

  /** Which worker of the present epoch is silent, or which two are to each other; empty: none. */
  get suspicion(): string {
    for (const [peer, reason] of this.silent) {
      if (this.works(peer)) return `${this.name(peer)} was suspected: ${reason}`;
    }
    for (const [one, other] of this.apart) {
      if (this.epoch?.placement.neighbours(one).has(other)) return this.cutOff(one, other);
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

  /**
   * A worker hears nothing of another one: that is gone, as a probe shows, or the next plan parts them. Unless it hears it
   * again before: a cut that heals at once moves nothing.
   */
  async unheard(one: string, other: string): Promise<void> {
    if (!this.works(one)) return;
    const pair = { one, other, parted: false };
    this.unhearing = [...this.without(one, other), pair];
    for (const peer of [one, other]) this.probe(peer);
    await new Promise((resolve) => setTimeout(resolve, limits.PARTING_S * 1e3));
    pair.parted = true;
    this.changed();
  }

  /** It hears it again. */
  heard(one: string, other: string): void {
    this.unhearing = this.without(one, other);
    this.changed();
  }

  /** Two workers have no link any more, and what was on its way over it is lost. */
  async unlinked(one: string, other: string): Promise<void> {
    const { epoch } = this;
    await this.unheard(one, other);
    if (epoch === this.epoch && this.works(one)) this.lose(this.cutOff(one, other));
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
    this.unhearing = this.unhearing.filter(({ one, other }) => one !== peer && other !== peer);
  }

  private without(one: string, other: string) {
    return this.unhearing.filter((pair) => pair.one !== one || pair.other !== other);
  }

  private cutOff(one: string, other: string): string {
    const [first, second] = [this.name(one), this.name(other)].sort();
    return `${first} and ${second} cannot reach each other`;
  }

  private works(peer: string): boolean {
    return this.epoch?.workers.has(peer) === true;
  }

  private name(peer: string): string {
    return this.epoch?.names.get(peer) ?? peer;
  }
}
