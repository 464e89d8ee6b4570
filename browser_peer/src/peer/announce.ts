/** What this tab tells the others of itself (docs/wire.md, 6). */

import type { RuntimeName } from "../run/graph";
import type { NodeSpec } from "../runtimes/base";
import type { Runtimes } from "./host";
import type { PeerRecord } from "./types";

export type Announcement = Pick<PeerRecord, "kind" | "runtimes" | "types" | "caps" | "slots" | "pyodide"> & {
  speed: Record<string, number>;
};

/** Every type that runs here, with the runtimes it has; the first runtime's words describe it. */
export async function offeredTypes(runtimes: Runtimes): Promise<Map<string, NodeSpec>> {
  const types = new Map<string, NodeSpec & { runtimes: RuntimeName[] }>();
  for (const [name, runtime] of runtimes) {
    for (const spec of await runtime.types()) {
      const known = types.get(spec.node_type) ?? { ...spec, runtimes: [] };
      types.set(spec.node_type, { ...known, runtimes: [...known.runtimes, name] });
    }
  }
  return types;
}

/** The whole announcement of a tab. A tab cannot see the machine's memory beyond a coarse hint. */
export function announcement(
  runtimes: Runtimes,
  types: ReadonlyMap<string, NodeSpec>,
  pyodide: NonNullable<PeerRecord["pyodide"]>,
): Announcement {
  const cores = navigator.hardwareConcurrency;
  const memory = (navigator as { deviceMemory?: number }).deviceMemory ?? 1;
  return {
    kind: "browser",
    runtimes: [...runtimes.keys()],
    types: [...types.values()],
    caps: { cores, arch: "wasm32", memory_gb: memory, labels: {} },
    slots: Math.max(1, cores - 1),
    speed: {},
    pyodide,
  };
}
