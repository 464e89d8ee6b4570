/** The wires, and what runs through them: a rate within a peer; round trip and bytes where they cross a link. */

import type { LinkStats } from "../../peer/types";
import { h, put, say, svg } from "../../ui/dom";
import { bytes, count, duration, rate } from "../../ui/numbers";
import type { Box, Layout, Wire } from "./layout";
import type { GraphState } from "./state";

export class WireLayer {
  readonly element: SVGSVGElement;
  readonly labels: HTMLElement[];
  #paths: SVGPathElement[];

  constructor(private readonly layout: Layout) {
    const { width, height, wires } = layout;
    this.#paths = wires.map((wire) => svg("path", { d: wire.path, "marker-end": "url(#arrow)" }));
    this.labels = wires.map((wire) => {
      const style = { left: `${wire.label.x}px`, top: `${wire.label.y}px` };
      return h("span", { class: crosses(wire) ? "wire-label crossing chip" : "wire-label above", style });
    });
    this.element = svg("svg", { class: "wires", width, height, "aria-hidden": "true" }, arrowHead(), ...this.#paths);
  }

  show(state: GraphState): void {
    for (const [index, wire] of this.layout.wires.entries()) {
      const link = linkOf(wire, state);
      const kind = `wire${crosses(wire) ? " crossing" : ""}${link?.path.startsWith("relay") ? " relay" : ""}`;
      this.#paths[index]!.setAttribute("class", kind);
      const label = this.labels[index]!;
      if (crosses(wire)) showCrossing(label, wire, link, state);
      else say(label, flowOf(wire, state));
    }
  }

  /** Greys what neither leads to the node nor away from it; null: nothing. */
  dim(related: ReadonlySet<Box> | null): void {
    for (const [index, { from, to }] of this.layout.wires.entries()) {
      const away = related !== null && !(related.has(from) && related.has(to));
      this.#paths[index]!.classList.toggle("dim", away);
      this.labels[index]!.classList.toggle("dim", away);
    }
  }
}

/** The box, all that leads to it and all that it leads to. */
export function relatives(layout: Layout, box: Box): ReadonlySet<Box> {
  const walk = (start: Box, step: (wire: Wire) => [Box, Box]) => {
    const seen = new Set([start]);
    for (const each of seen) {
      for (const [at, next] of layout.wires.map(step)) if (at === each) seen.add(next);
    }
    return seen;
  };
  return new Set([...walk(box, ({ from, to }) => [from, to]), ...walk(box, ({ from, to }) => [to, from])]);
}

function arrowHead(): SVGDefsElement {
  const size = { viewBox: "0 0 8 8", refX: 7.5, refY: 4, markerWidth: 8, markerHeight: 8 };
  const marker = { id: "arrow", orient: "auto", markerUnits: "userSpaceOnUse", ...size };
  return svg("defs", {}, svg("marker", marker, svg("path", { d: "M0 .4 8 4 0 7.6z", fill: "context-stroke" })));
}

function crosses(wire: Wire): boolean {
  return wire.from.peer !== wire.to.peer;
}

/** The viewer knows its own links; of a link between two others it knows the bytes of the run, at the end. */
function linkOf(wire: Wire, state: GraphState): LinkStats | undefined {
  const own = state.peers[0]?.peer;
  if (!crosses(wire)) return undefined;
  if (wire.from.peer === own) return state.links.get(wire.to.peer);
  return wire.to.peer === own ? state.links.get(wire.from.peer) : undefined;
}

function showCrossing(label: HTMLElement, wire: Wire, link: LinkStats | undefined, state: GraphState): void {
  const words = link?.path.startsWith("relay") ? ["relay"] : [];
  if (link && link.rtt_ms !== null) words.push(duration(link.rtt_ms));
  const amount = amountOf(wire, link, state);
  const shown = [...words, amount].filter((word) => word !== "").join(", ");
  label.hidden = shown === "";
  if (label.textContent === shown) return;
  put(label, words.join(", "), words.length > 0 && amount !== "" && ", ", amount !== "" && h("b", {}, amount));
}

/** What crosses: bytes a second while it runs, all bytes of the run afterwards. */
function amountOf(wire: Wire, link: LinkStats | undefined, state: GraphState): string {
  const moved = state.linkBytes[`${nameOf(wire.from, state)}->${nameOf(wire.to, state)}`];
  if (moved !== undefined) return bytes(moved);
  if (!state.running) return "";
  return link ? `${bytes(link.bytes_per_s)}/s` : flowOf(wire, state);
}

function nameOf(box: Box, state: GraphState): string {
  const peer = state.peers.find((each) => each.peer === box.peer);
  return peer?.own ? "driver" : (peer?.name ?? "");
}

/** The rate of a wire while it runs, the count afterwards. Replicas share evenly. */
function flowOf(wire: Wire, state: GraphState): string {
  if (!state.rates) return "";
  const times = wire.from.node ? state.rates.node(wire.from.node.id) : null;
  if (wire.from.node && !times) return "";
  const [total, perSecond] = times ? [times.count, times.perSecond] : [state.itemsIn, state.rates.itemsIn()];
  const share = wire.from.replicas * wire.to.replicas;
  if (!state.running) return count(total / share);
  return perSecond > 0 ? rate(perSecond / share) : "";
}
