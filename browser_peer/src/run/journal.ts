/** What brings a lost stateful node back: its last snapshot, and the inputs since. */

import limits from "../generated/limits.json";

/**
 * Kept for one node that makes snapshots; `snapshot` is the state that it began with, if any. `fault` says why it could not
 * be brought back now (empty: it could).
 */
export class Journal {
  fault = "";
  private processedSince: Uint8Array[] = [];
  private count = 0;
  private bytes = 0;

  constructor(public snapshot: Uint8Array | null) {}

  /** What was processed since the snapshot, in order. */
  get inputs(): readonly Uint8Array[] {
    return this.processedSince;
  }

  /** Whether it is time for a snapshot. */
  get isFull(): boolean {
    return this.count >= limits.SNAPSHOT_EVERY || this.bytes >= limits.SNAPSHOT_EVERY_BYTES;
  }

  /** The node's state includes this input now. */
  processed(payload: Uint8Array): void {
    this.count += 1;
    this.bytes += payload.length;
    if (this.fault === "") this.processedSince.push(payload);
  }

  /** The snapshot stands for everything processed so far. */
  saved(snapshot: Uint8Array): void {
    if (snapshot.length > limits.MAX_SNAPSHOT_BYTES) {
      this.spoiled(`its snapshot has ${snapshot.length} bytes, more than ${limits.MAX_SNAPSHOT_BYTES}`);
      return;
    }
    this.restart(snapshot, "");
  }

  /** No snapshot could be made: until the next one the node's loss ends the run. */
  spoiled(fault: string): void {
    this.restart(null, fault);
  }

  private restart(snapshot: Uint8Array | null, fault: string): void {
    this.snapshot = snapshot;
    this.fault = fault;
    this.processedSince = [];
    this.count = this.bytes = 0;
  }
}
