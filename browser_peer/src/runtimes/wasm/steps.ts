/** How the parts of one input are gathered into steps, as in mesh/nodes/steps.py. */

import limits from "../../generated/limits.json";
import type { Answer } from "../base";

type Fetch = () => Uint8Array | null;

/**
 * The parts that a node has not handed over yet.
 *
 * A step takes one part at first and twice as many after each quick step, so the parts of a slow generator never wait
 * for one another. An error after the first part of a step is kept for the next.
 */
export class Steps {
  private fetch: Fetch | null = null;
  private failure: { error: unknown } | null = null;
  private quota = 1;

  /** The first step of an input: its first part. What was left of the one before is abandoned. */
  begin(fetch: Fetch): Answer {
    this.fetch = fetch;
    this.failure = null;
    this.quota = 1;
    return this.step();
  }

  /** The next parts, and whether there may be more. */
  step(): Answer {
    this.raiseFailure();
    const parts: Uint8Array[] = [];
    const end = performance.now() + limits.STEP_S * 1000;
    let size = 0;
    while (this.fetch !== null && parts.length < this.quota && size < limits.STEP_BYTES) {
      const part = this.next(parts.length > 0);
      if (part === null) break;
      parts.push(part);
      size += part.length;
      if (performance.now() > end) {
        this.quota = 1;
        return { parts, more: true };
      }
    }
    this.quota = Math.min(2 * this.quota, limits.STEP_PARTS);
    return { parts, more: this.fetch !== null || this.failure !== null };
  }

  /** The next part; null at the end, and where it fails with other parts to hand over before. */
  private next(keep: boolean): Uint8Array | null {
    const fetch = this.fetch!;
    try {
      const part = fetch();
      if (part === null) this.fetch = null;
      return part;
    } catch (error) {
      this.fetch = null;
      if (!keep) throw error;
      this.failure = { error };
      return null;
    }
  }

  private raiseFailure(): void {
    const failure = this.failure;
    this.failure = null;
    if (failure !== null) throw failure.error;
  }
}
