/** The lanes: the viewer's own, the peers that serve, and those that were lost from the run that is shown. */

import type { PeerApi, PeerRecord } from "../../peer/types";
import { Slots } from "../../ui/peers";
import type { LanePeer } from "../graph/state";
import type { Planned } from "./state";

export class Lanes {
  readonly slots: Slots;
  /** In order of joining, the own first. A new array only when somebody came or went, or offers something else. */
  all: readonly LanePeer[] = [];
  #offers = "";

  constructor(private readonly peer: PeerApi) {
    this.slots = new Slots(peer.name);
  }

  /** Takes the registry as it is; `parts` had a part in the run that is shown. True when something changed. */
  update(parts: ReadonlySet<string> = new Set()): boolean {
    const { id, name } = this.peer;
    const workers = [...this.peer.peers.values()].filter(({ peer, runtimes }) => peer !== id && runtimes.length > 0);
    const lanes = new Map<string, LanePeer>(this.all.map((lane) => [lane.peer, { ...lane, gone: true }]));
    for (const each of [{ peer: id, name }, ...workers]) {
      const own = each.peer === id;
      lanes.set(each.peer, { peer: each.peer, name: each.name, own, gone: false, slot: this.slots.of(each.name) });
    }
    const next = [...lanes.values()].filter(({ peer, gone }) => !gone || parts.has(peer));
    const offers = JSON.stringify([next, workers.map(offer)]);
    if (offers === this.#offers) return false;
    this.#offers = offers;
    this.all = next;
    return true;
  }

  /** Whether all peers of a plan are here; one may have just left, and the next plan is on its way. */
  hold(planned: Planned): boolean {
    const known = new Set(this.all.map(({ peer }) => peer));
    return [...seated(planned)].every((peer) => known.has(peer));
  }
}

function offer(record: PeerRecord): unknown {
  return [record.runtimes, record.types.map((type) => type.node_type), record.caps, record.pyodide];
}

/** Ids of the peers that run the nodes of a plan. */
export function seated(planned: Planned): Set<string> {
  const seats = Object.values(planned.plan.steps.at(-1)?.nodes ?? {});
  return new Set(seats.flatMap((node) => node.on.map((seat) => seat.peer)));
}
