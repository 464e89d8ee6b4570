/** Negotiation through a peer that both ends have a link to, as in mesh/peer/neighbours/relaying.py (docs/wire.md, 8). */

import limits from "../../generated/limits.json";
import { type PeerKey, toHex } from "../../protocol/grants";
import type { Relay } from "../../protocol/messages";
import { SEAL_NONCE_BYTES, seal, unseal } from "../../protocol/sealing";
import type { Link } from "../../transport/link";

export const OPENINGS: ReadonlySet<unknown> = new Set(["want", "offer"]);

export interface RelaysOptions {
  key: PeerKey;
  roomKey: Uint8Array<ArrayBuffer>;
  /** The links that have a connection now. */
  neighbours(): Link[];
  post(peer: string, message: Relay): void;
  /** What another peer says to this one. */
  take(sender: string, data: Record<string, unknown>): void;
}

/**
 * What this peer says through its neighbours, hears through them, and carries between them. Nothing that is carried is
 * kept.
 */
export class Relays {
  private readonly budgets = new WeakMap<Link, Budget>();
  /** Through whom a peer was heard last. */
  private readonly ways = new Map<string, string>();
  /** Nonces of what came, which may come again by another way. */
  private readonly known = new Map<string, true>();
  private hearing: Promise<void> = Promise.resolve();

  constructor(private readonly options: RelaysOptions) {}

  /**
   * Says `data` to a peer through whoever has a link to it. Answers whether there is anybody to try. An opening goes to all
   * neighbours, since nobody knows whose neighbours they are; what follows goes the way that the answer came.
   */
  async send(to: string, data: { kind?: unknown }): Promise<boolean> {
    const { key, roomKey } = this.options;
    if (OPENINGS.has(data.kind)) this.forget(to);
    const nonce = crypto.getRandomValues(new Uint8Array(SEAL_NONCE_BYTES));
    const sealed = await seal(data, { key, sender: key.id, to, roomKey, nonce });
    const neighbours = this.options.neighbours().flatMap(({ peer }) => (peer === to ? [] : [peer]));
    const way = this.ways.get(to);
    for (const neighbour of way !== undefined && neighbours.includes(way) ? [way] : neighbours) {
      this.options.post(neighbour, { type: "RELAY", sender: key.id, to, sealed });
    }
    return neighbours.length > 0;
  }

  /** Whether a peer was heard through a neighbour last. */
  heard(peer: string): boolean {
    return this.ways.has(peer);
  }

  /** It was heard through the server since, or is to be found anew. */
  forget(peer: string): void {
    this.ways.delete(peer);
  }

  /** Takes what is for this peer, and carries what is for a neighbour; everything else is dropped. */
  received(link: Link, relay: Relay): void {
    if (!isInGoodStanding(link) || !this.budgetOf(link).spend()) return;
    if (relay.to === this.options.key.id) {
      this.hearing = this.hearing.then(() => this.hear(link.peer, relay)).catch(console.error);
    } else if (relay.sender === link.peer) {
      const target = this.options.neighbours().find(({ peer }) => peer === relay.to);
      if (target !== undefined && isInGoodStanding(target)) this.options.post(relay.to, relay);
    }
  }

  private async hear(neighbour: string, { sender, to, sealed }: Relay): Promise<void> {
    const nonce = toHex(sealed.subarray(0, SEAL_NONCE_BYTES));
    if (this.known.has(nonce)) return;
    const data = await unseal(sealed, { sender, to, roomKey: this.options.roomKey }).catch(() => null);
    if (data === null) return; // by whom is not known, so nobody is to blame
    remember(this.known, nonce, true);
    remember(this.ways, sender, neighbour);
    this.options.take(sender, data);
  }

  private budgetOf(link: Link): Budget {
    const budget = this.budgets.get(link) ?? new Budget();
    this.budgets.set(link, budget);
    return budget;
  }
}

/** RELAY_BURST messages at once, and RELAYS_PER_S in the long run. */
class Budget {
  private left = limits.RELAY_BURST;
  private since = performance.now();

  spend(): boolean {
    const now = performance.now();
    this.left = Math.min(limits.RELAY_BURST, this.left + ((now - this.since) / 1e3) * limits.RELAYS_PER_S);
    this.since = now;
    if (this.left < 1) return false;
    this.left -= 1;
    return true;
  }
}

/** Whether the link's grant still makes its peer one of the room; a link may outlive it. */
function isInGoodStanding({ grant }: Link): boolean {
  return grant.expires > Date.now() / 1e3 && (grant.can.has("submit") || grant.can.has("work"));
}

function remember<Key, Value>(known: Map<Key, Value>, key: Key, value: Value): void {
  known.set(key, value);
  if (known.size > limits.MAX_RELAYS_KNOWN) known.delete(known.keys().next().value!);
}
