/** A plan for a run that lost a part of itself; as in mesh/peer/driving/replanning.py. */

import { SignalingError } from "../../errors";
import limits from "../../generated/limits.json";
import type { Graph, Plan } from "../../run/graph";
import { ManifestFaults, PlanRefused, RunError } from "../types";

/** What is to be run, and where; `name` is the pipeline's. */
export interface Planned {
  graph: Graph;
  plan: Plan;
  name: string;
}

/** What may change while the run waits: a node type may be gone with its only peer. */
const PASSING = [ManifestFaults, PlanRefused, SignalingError];

/** Why another plan is wanted (empty: it is not any more), and the nodes that this hits. */
export interface Trouble {
  reason(): string;
  nodes(): string[];
  /** Calls the absent, who may be reachable again. */
  call(): void;
}

/**
 * Waits for somebody who fits, and calls the absent meanwhile; undefined where the trouble is over before. Rejects with
 * RunError where nobody comes.
 */
export async function planAnew(ask: () => Promise<Planned>, trouble: Trouble): Promise<Planned | undefined> {
  const deadline = performance.now() + limits.REPLACEMENT_TIMEOUT_S * 1e3;
  for (let reason = trouble.reason(); reason !== ""; reason = trouble.reason()) {
    try {
      return await ask();
    } catch (error) {
      if (!PASSING.some((kind) => error instanceof kind)) throw error;
      if (performance.now() > deadline) {
        const waited = `no peer took over within ${limits.REPLACEMENT_TIMEOUT_S} s`;
        const nodes = trouble.nodes().join(", ");
        throw new RunError(`${reason}; ${waited} what it ran (${nodes}): ${(error as Error).message}`);
      }
      trouble.call();
    }
    await new Promise((resolve) => setTimeout(resolve, limits.REPLAN_INTERVAL_S * 1e3));
  }
  return undefined;
}
