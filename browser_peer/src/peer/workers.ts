/** The other peers of a run, as its driver sees them: set up, asked for what they measured, and let go. */

import { Deferred } from "../deferred";
import limits from "../generated/limits.json";
import type { Message } from "../protocol/messages";
import { readStats, type WorkerStats } from "./receipt";
import type { RunKey } from "./site";
import { RunError } from "./types";

const SETUP_TIMEOUT_MS = limits.SETUP_TIMEOUT_S * 1000;

/** What the driver needs of its peer for them. */
export interface Home {
  linkTo(peer: string): Promise<void>;
  post(peer: string, message: Message): void;
}

export class Workers {
  /** What each told last. */
  readonly stats = new Map<string, WorkerStats>();
  /** Questions for stats that are under way. */
  unanswered = 0;
  private readonly ready = new Map<string, Deferred<void>>();

  /** `names` holds every peer of the run by its id, as they were when it began: a peer that left has none any more. */
  constructor(
    private readonly home: Home,
    private readonly address: RunKey & { epoch: number },
    private readonly names: ReadonlyMap<string, string>,
  ) {
    for (const peer of names.keys()) if (peer !== address.driver) this.ready.set(peer, new Deferred());
    for (const ready of this.ready.values()) ready.promise.catch(() => undefined); // one may be refused after another
  }

  has(peer: string): boolean {
    return this.ready.has(peer);
  }

  /** Their names, for people. */
  list(): string {
    return Array.from(this.ready.keys(), (peer) => this.nameOf(peer)).join(", ");
  }

  nameOf(peer: string): string {
    return this.names.get(peer) ?? peer;
  }

  /** Makes the links to all of them; rejects with LinkError. */
  async connect(): Promise<void> {
    await Promise.all(Array.from(this.ready.keys(), (peer) => this.home.linkTo(peer)));
  }

  /** Sends START; resolves when all are READY, rejects where one refuses or takes too long. */
  async start(body: object): Promise<void> {
    const names = Object.fromEntries(this.names);
    const late = setTimeout(() => {
      for (const peer of this.ready.keys()) this.refused(peer, `was not ready within ${limits.SETUP_TIMEOUT_S} s`);
    }, SETUP_TIMEOUT_MS);
    for (const peer of this.ready.keys()) {
      this.home.post(peer, { type: "START", ...this.address, body: { ...body, names } });
    }
    await Promise.all(Array.from(this.ready.values(), (ready) => ready.promise)).finally(() => clearTimeout(late));
  }

  isReady(peer: string): void {
    this.ready.get(peer)?.resolve();
  }

  /** Its nodes cannot run there; `why` follows its name. */
  refused(peer: string, why: string): void {
    this.ready.get(peer)?.reject(new RunError(`${this.nameOf(peer)} ${why}`));
  }

  /** Asks for stats. Answers come in the order of the questions. */
  ask(): void {
    const { driver, run } = this.address;
    for (const peer of this.ready.keys()) this.home.post(peer, { type: "STATS", driver, run });
    this.unanswered += this.ready.size;
  }

  answered(peer: string, body: unknown): void {
    this.stats.set(peer, readStats(body));
    this.unanswered -= 1;
  }

  /** Lets them free everything of the run. */
  stop(text: string): void {
    for (const peer of this.ready.keys()) this.home.post(peer, { type: "STOP", ...this.address, text });
  }
}
