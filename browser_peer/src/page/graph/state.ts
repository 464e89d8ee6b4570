/** What the drawing of the graph depends on. */

import type { LinkStats, PeerRecord } from "../../peer/types";
import type { Graph, Plan } from "../../run/graph";
import type { Slot } from "../../ui/peers";
import type { View } from "./layout";
import type { Rates } from "./rates";

export interface LanePeer {
  peer: string;
  name: string;
  own: boolean;
  /** It left while a run that it had a part in is still shown. */
  gone: boolean;
  slot: Slot;
}

export interface GraphState {
  graph: Graph;
  plan: Plan;
  peers: readonly LanePeer[];
  /** The registry; a driver that serves nobody is not in it. */
  records: ReadonlyMap<string, PeerRecord>;
  view: View;
  selected: string | null;
  /** A later text of the manifest has faults: this is the last good graph. */
  stale: boolean;
  source: { name: string; detail: string };
  rates: Rates | null;
  running: boolean;
  itemsIn: number;
  resultsOut: number;
  links: ReadonlyMap<string, LinkStats>;
  /** The share of Python that is loaded here, 0 … 1; null when none is being loaded. */
  loading: number | null;
  /** Bytes of the run by `name->name`, once its receipt is there. */
  linkBytes: Record<string, number>;
}
