/** What happened to a run, as people say it: who was lost, what moved where, what is waited for. */

import limits from "../../generated/limits.json";
import type { EpochRecord, RunProgress, Trouble } from "../../peer/types";

type Placed = Pick<EpochRecord, "placement">;

export function peerWords(name: string): string {
  return name === "driver" ? "this tab" : name;
}

/** `a`, `a and b`, `a, b and c`. */
export function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** The nodes that other peers run than before, by the names of those. */
export function moved(before: Placed, after: Placed): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [node, names] of Object.entries(after.placement)) {
    if (before.placement[node]?.join() === names.join()) continue;
    const to = listed(names.map(peerWords));
    found.set(to, [...(found.get(to) ?? []), node]);
  }
  return found;
}

/** What stands still or changed last; empty where the run goes as it began. */
export function lossWords({ epochs, trouble, state }: Pick<RunProgress, "epochs" | "trouble" | "state">): string {
  if (trouble !== null) return `${trouble.reason}. ${waiting(trouble)}`;
  const [before, last] = epochs.slice(-2);
  if (before === undefined || last === undefined) return "";
  const moves = Array.from(moved(before, last), ([to, nodes]) => `${listed(nodes)} moved to ${to}`);
  const change = moves.length > 0 ? moves.join(", ") : "Every node stays where it was";
  return `${last.reason}. ${change}; the run ${state === "running" ? "goes" : "went"} on.`;
}

function waiting({ nodes }: Trouble): string {
  const limit = `${limits.REPLACEMENT_TIMEOUT_S} s at most`;
  return nodes.length === 0
    ? `Looking for another plan, ${limit}.`
    : `Waiting for a peer for ${listed(nodes)}, ${limit}.`;
}
