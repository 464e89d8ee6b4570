/** Whom a run may need later; as in mesh/peer/driving/spares.py. */

import limits from "../../generated/limits.json";
import type { Plan } from "../../run/graph";

/**
 * Peers that fit a node of a plan and are no workers: every node's best first, MAX_SPARE_LINKS. Links to them, made while the
 * signaling server is there, outlive its absence.
 */
export function spares(why: Plan["why"], workers: ReadonlySet<string>): string[] {
  const fitting = Object.values(why).map((candidates) =>
    candidates.filter(({ peer, lacks }) => lacks.length === 0 && !workers.has(peer)).map(({ peer }) => peer),
  );
  const deepest = Math.max(0, ...fitting.map((peers) => peers.length));
  const ranks = Array.from({ length: deepest }, (_, rank) => fitting.flatMap((peers) => peers[rank] ?? []));
  return [...new Set(ranks.flat())].slice(0, limits.MAX_SPARE_LINKS);
}
