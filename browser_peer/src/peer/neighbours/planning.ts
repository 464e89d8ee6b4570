/** Plans while the signaling server is away: a tab cannot make one, so it asks the Python peers that it has links to. */

import { Deferred } from "../../deferred";
import { SignalingError } from "../../errors";
import limits from "../../generated/limits.json";
import type { Plan, Planned } from "../../protocol/messages";
import { type PlanAnswer, readPlanned } from "../../protocol/signaling";

interface Asked {
  peer: string;
  came: Deferred<PlanAnswer>;
}

export class Plans {
  private readonly asked = new Map<number, Asked>();
  private next = 0;

  constructor(private readonly post: (peer: string, message: Plan | Planned) => void) {}

  /** What the first of `peers` that can plan answers to the request (docs/wire.md, 8); rejects with SignalingError. */
  async ask(request: object, peers: readonly string[]): Promise<PlanAnswer> {
    const encoded = new TextEncoder().encode(JSON.stringify(request));
    let reason = "no peer that could plan is linked to this one";
    for (const peer of peers) {
      try {
        return await this.askOne(peer, encoded);
      } catch (error) {
        reason = (error as Error).message;
      }
    }
    throw new SignalingError("away", `the signaling server is away, and nobody else plans: ${reason}`);
  }

  private async askOne(peer: string, request: Uint8Array<ArrayBuffer>): Promise<PlanAnswer> {
    this.next += 1;
    const id = this.next;
    const came = new Deferred<PlanAnswer>();
    const late = setTimeout(() => came.reject(new Error("no answer came")), limits.PLAN_PATIENCE_S * 1e3);
    this.asked.set(id, { peer, came });
    try {
      this.post(peer, { type: "PLAN", id, request });
      return await came.promise;
    } finally {
      clearTimeout(late);
      this.asked.delete(id);
    }
  }

  /** An answer of the peer that was asked; what comes late is ignored. */
  answered(sender: string, { id, answer }: Planned): void {
    const asked = this.asked.get(id);
    if (asked?.peer !== sender) return;
    try {
      asked.came.resolve(readPlanned(answer));
    } catch (error) {
      asked.came.reject(error as Error);
    }
  }

  /** Nobody is to ask a tab, but whoever does gets to know. */
  refuse(sender: string, { id }: Plan): void {
    const answer = new TextEncoder().encode(JSON.stringify({ error: "this peer is a browser tab, and does not plan" }));
    this.post(sender, { type: "PLANNED", id, answer });
  }
}
