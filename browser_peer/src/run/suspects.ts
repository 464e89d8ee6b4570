/**
 * Which items may be what peers die of (the poison rule).
 *
 * Every seq that may have been in a call on a peer when it died is a suspect: nobody knows better, and the others are not to
 * be blamed. In the next epoch the suspects go out alone: each when everything below it is through, and nothing above it
 * before it is through itself. Only a death while a suspect is alone on its way counts against it, and POISON_DEATHS of them
 * condemn it: from then on it goes out as failed.
 */

import limits from "../generated/limits.json";
import type { Failure } from "./outcome";
import type { Placement } from "./placement";

/** Of a peer, called `name`. Its node `n` is known to have ended every seq of its own below `reached.get(n)`. */
export interface Death {
  peer: string;
  name: string;
  reached: ReadonlyMap<string, number>;
}

export class Suspects {
  /** The peer of each failure is the last that died of it. */
  readonly condemned = new Map<number, Failure>();
  private seqs: number[] = [];
  /** The deaths while alone: who, in which nodes. */
  private readonly counted = new Map<number, { name: string; nodes: string[] }[]>();

  /** `order`: the nodes in the order of the graph. */
  constructor(private readonly order: readonly string[]) {}

  /** Whether the next seq may go out, while all below `through` are through. */
  mayGo(seq: number, through: number): boolean {
    if (this.seqs.length === 0) return true;
    this.seqs = this.seqs.filter((each) => each >= through);
    const first = Math.min(...this.seqs);
    return seq < first || (seq === first && seq === through);
  }

  /** Peers died while the seqs from `first` to below `end` were under way; those that were in a call there are suspects. */
  died(deaths: readonly Death[], first: number, end: number, placement: Placement): void {
    const alone = end === first + 1 && this.seqs.includes(first);
    for (const death of deaths) {
      for (let seq = first; seq < end; seq++) {
        const nodes = nodesOf(death, seq, placement);
        if (nodes.length === 0) continue;
        if (alone) {
          this.count(seq, death.name, nodes);
          return;
        }
        if (!this.seqs.includes(seq)) this.seqs.push(seq);
      }
    }
  }

  private count(seq: number, name: string, nodes: string[]): void {
    const counted = [...(this.counted.get(seq) ?? []), { name, nodes }];
    this.counted.set(seq, counted);
    if (counted.length < limits.POISON_DEATHS) return;
    const inAll = this.order.filter((node) => counted.every((each) => each.nodes.includes(node)));
    const common = inAll.length > 0 ? inAll : this.order.filter((node) => nodes.includes(node));
    this.seqs = this.seqs.filter((each) => each !== seq);
    const peers = counted.map((each) => each.name).join(", ");
    const cause = `peers were lost while it was alone in ${common.join(" or ")}: ${peers}`;
    this.condemned.set(seq, { seq, node: common[0]!, kind: "killed", cause, peer: name });
  }
}

/** Where a seq may have been in a call on a peer that died. */
function nodesOf(death: Death, seq: number, placement: Placement): string[] {
  const seats = placement.seats(death.peer).filter((seat) => seat.first(seq) === seq);
  return seats.map((seat) => seat.node).filter((node) => seq >= (death.reached.get(node) ?? 0));
}
