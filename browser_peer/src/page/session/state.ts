/** What the page knows: one value, replaced on every change, from which all views are drawn. */

import type { Fault, ItemFailure, Receipt, Refusal, Result, RunProgress } from "../../peer/types";
import type { Graph, Plan } from "../../run/graph";
import type { Rates } from "../graph/rates";
import type { Example } from "../setup/examples";

export interface Planned {
  graph: Graph;
  plan: Plan;
}

/** Why there is no plan for the present text. */
export type Obstacle =
  | { kind: "faults"; faults: readonly Fault[] }
  | { kind: "refused"; message: string; refusals: readonly Refusal[] }
  | { kind: "error"; message: string };

/** A row of the results: a part, or the failure of an item. */
export type Row =
  | {
      kind: "result";
      result: Result /** Since its item was taken; null for parts of `finish`. */;
      tookMs: number | null;
    }
  | { kind: "failure"; failure: ItemFailure };

export interface RunState {
  id: string;
  cancel(): void;
  progress: RunProgress;
  rates: Rates;
  /** Ids of all peers that had a part in it, the lost ones too. */
  parts: Set<string>;
  /** The last rows in order, and how many there were in all. */
  rows: Row[];
  total: number;
  receipt: Receipt | null;
  /** What ended it badly. */
  error: string | null;
}

export interface State {
  title: string;
  /** The one that was chosen; null for a manifest of the user's own. */
  example: Example | null;
  manifest: string;
  planned: Planned | null;
  obstacle: Obstacle | null;
  planning: boolean;
  pins: Record<string, string>;
  selected: string | null;
  editing: boolean;
  view: "lanes" | "flow";
  /** On a phone: which of the two is shown. */
  tab: "results" | "why";
  run: RunState | null;
  /** The share of Python that is loaded for this tab, 0 … 1; null when none is being loaded. */
  loading: number | null;
}

export const EMPTY: State = {
  title: "",
  example: null,
  manifest: "",
  planned: null,
  obstacle: null,
  planning: false,
  pins: {},
  selected: null,
  editing: false,
  view: "lanes",
  tab: "results",
  run: null,
  loading: null,
};

export const ROWS_KEPT = 200;

export function isRunning(state: State): boolean {
  return state.run !== null && state.run.receipt === null && state.run.error === null;
}

/** A value with listeners that are told at most once a frame. */
export class Store<T extends object> {
  #listeners: ((value: T) => void)[] = [];
  #scheduled = false;

  constructor(public value: T) {}

  set(change: Partial<T>): void {
    this.value = { ...this.value, ...change };
    this.touch();
  }

  /** Tells the listeners of a change inside the value. */
  touch(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      for (const listener of this.#listeners) listener(this.value);
    }, 16);
  }

  onChange(listener: (value: T) => void): void {
    this.#listeners.push(listener);
  }
}
