/** A peer in words: what machine it is, what it offers, how busy it is. */

import type { PeerRecord } from "../peer/types";
import { h } from "./dom";

const RUNTIMES: Record<string, string> = { wasm: "wasm", python: "CPython", pyodide: "Pyodide" };

export function runtimeName(runtime: string): string {
  return RUNTIMES[runtime] ?? runtime;
}

/** Two lines about a peer: what it is, and what it offers. */
export function describePeer(record: PeerRecord): [string, string] {
  const { caps } = record;
  const cores = caps.cores ? `, ${caps.cores} ${record.kind === "browser" ? "threads" : "cores"}` : "";
  const offers = record.runtimes.map(runtimeName);
  if (caps.gpu) offers.push(caps.gpu.type ? `GPU ${caps.gpu.type}` : "GPU");
  return [`${record.kind === "browser" ? "browser" : "server"}${cores}`, offers.join(", ")];
}

const MOST_PIPS = 10;

/** One pip for each slot, filled from the left by the load. */
export function loadPips(record: PeerRecord): HTMLElement {
  const pips = Math.min(MOST_PIPS, Math.max(1, record.slots));
  const fill = (index: number) => Math.min(1, Math.max(0, record.load * pips - index));
  return h(
    "span",
    { class: "pips", "aria-hidden": "true" },
    ...Array.from({ length: pips }, (_, index) => h("i", { style: { "--fill": `${100 * fill(index)}%` } })),
  );
}
