/** A worker has a lease for what it runs, which progress extends: that it beats is not enough; as in mesh/peer/driving/leases.py. */

import limits from "../../generated/limits.json";
import type { Progress } from "../../protocol/messages";
import type { Graph } from "../../run/graph";

/** Of one node on one worker. `since`: nothing else was told; `seq`: the lowest that was not ended. */
interface Lease {
  since: number;
  ended: number;
  seq: number;
}

/** Of one epoch; time comes in as an argument (s). */
export class Leases {
  private readonly limits: ReadonlyMap<string, number>;
  private readonly leases = new Map<string, Map<string, Lease>>();
  private looked: number;

  /** `nodes`: of each worker. */
  constructor(graph: Graph, nodes: Iterable<readonly [worker: string, nodes: readonly string[]]>, now: number) {
    this.limits = new Map(graph.nodes.map(({ id, timeout_s }) => [id, timeout_s + limits.LEASE_GRACE_S]));
    for (const [worker, each] of nodes) {
      this.leases.set(worker, new Map(each.map((node) => [node, { since: now, ended: -1, seq: 0 }])));
    }
    this.looked = now;
  }

  /** A worker reports; what has no call under way, or another one than before, is extended. */
  told(worker: string, told: Progress, now: number): void {
    const leases = this.leases.get(worker) ?? new Map<string, Lease>();
    this.leases.set(worker, leases);
    for (const [node, [ended, seq, busy]] of told) {
      const lease = leases.get(node);
      if (this.limits.has(node) && (lease === undefined || !busy || ended !== lease.ended)) {
        leases.set(node, { since: now, ended, seq });
      }
    }
  }

  /**
   * A worker whose lease is over, and why. To be asked every HEARTBEAT_S. None of those who are `silent`, whose reports cannot
   * come; nor after this side stood still.
   */
  expired(now: number, silent: readonly string[]): [worker: string, reason: string] | undefined {
    const stoodStill = now - this.looked > 2 * limits.HEARTBEAT_S;
    this.looked = now;
    for (const [worker, leases] of this.leases) {
      for (const [node, lease] of leases) {
        const waited = now - lease.since;
        if (stoodStill || silent.includes(worker)) lease.since = now;
        else if (waited > this.limits.get(node)!) {
          const nothing = `nothing was heard of its call for ${waited.toFixed(0)} s`;
          return [worker, `node '${node}' stands still there at seq ${lease.seq}: ${nothing}`];
        }
      }
    }
    return undefined;
  }

  /** Below which seq each node of a worker has ended all, as far as it told. */
  reached(worker: string): ReadonlyMap<string, number> {
    return new Map(Array.from(this.leases.get(worker) ?? [], ([node, { seq }]) => [node, seq]));
  }
}
