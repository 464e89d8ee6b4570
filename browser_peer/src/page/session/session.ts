/** What can be done on the page: choose or open a manifest, edit it, plan, pin, run. The state is in `store`. */

import limits from "../../generated/limits.json";
import type { PeerApi } from "../../peer/types";
import type { PyodideProgress } from "../../runtimes/pyodide";
import type { Example } from "../setup/examples";
import { Lanes } from "./lanes";
import { Following, obstacleOf } from "./run";
import { EMPTY, isRunning, type State, Store } from "./state";

const REPLAN_MS = 400;

export class Session {
  readonly store = new Store<State>(EMPTY);
  readonly lanes: Lanes;
  #planning = 0;
  #replan: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly peer: PeerApi) {
    this.lanes = new Lanes(peer);
    this.lanes.update();
    peer.addEventListener("peers", () => {
      if (this.lanes.update(this.store.value.run?.parts)) this.#planSoon();
      this.store.touch();
    });
    peer.addEventListener("links", () => this.store.touch());
    peer.addEventListener("pyodide", (event) => {
      const { state, loaded, total } = (event as CustomEvent<PyodideProgress>).detail;
      this.store.set({ loading: state === "loading" && total > 0 ? loaded / total : null });
    });
  }

  choose(example: Example): void {
    this.#begin(example.title, example, example.text);
  }

  async open(file: File): Promise<void> {
    if (file.size > limits.MAX_MANIFEST_BYTES) {
      this.store.set({ obstacle: { kind: "error", message: `${file.name} is too large for a manifest` } });
    } else this.#begin(file.name, null, await file.text());
  }

  /** A run that goes on keeps its results; those of an earlier one make room. */
  #begin(title: string, example: Example | null, manifest: string): void {
    const run = isRunning(this.store.value) ? this.store.value.run : null;
    this.store.set({ title, example, pins: {}, selected: null, run });
    this.write(manifest);
  }

  write(manifest: string): void {
    this.store.set({ manifest });
    void this.#plan();
  }

  pin(node: string, name: string | null): void {
    const { [node]: _, ...others } = this.store.value.pins;
    this.store.set({ pins: name === null ? others : { ...others, [node]: name } });
    void this.#plan();
  }

  /** A second click on a node lets it go. */
  select(node: string | null): void {
    const again = node !== null && node === this.store.value.selected;
    this.store.set({ selected: again ? null : node, tab: node === null ? "results" : "why" });
  }

  /** `items` may reject with the fault of what was typed. Resolves at the end of the run. */
  async run(items: () => Promise<Uint8Array[]>): Promise<void> {
    const { value } = this.store;
    if (isRunning(value) || value.obstacle || !value.planned) return;
    await new Following(this.peer, await items(), this.store).end();
  }

  cancel(): void {
    this.store.value.run?.cancel();
  }

  /** A run that is shown keeps its plan; the next run makes its own. */
  #planSoon(): void {
    if (this.store.value.run && !this.store.value.obstacle) return;
    clearTimeout(this.#replan);
    this.#replan = setTimeout(() => void this.#plan(), REPLAN_MS);
  }

  /** The latest request wins; without a plan the last good graph stays. */
  async #plan(): Promise<void> {
    const request = ++this.#planning;
    const { manifest, pins } = this.store.value;
    this.store.set({ planning: true });
    try {
      const planned = await this.peer.plan(manifest, pins);
      if (request === this.#planning) this.store.set({ planned, obstacle: null, planning: false });
    } catch (error) {
      if (request === this.#planning) this.store.set({ obstacle: obstacleOf(error), planning: false });
    }
  }
}
