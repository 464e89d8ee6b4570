/** The graph as it is drawn: lanes, boxes that move when their peer changes, wires, and what runs through them. */

import type { LinkStats, PeerRecord } from "../../peer/types";
import type { Graph, Plan } from "../../run/graph";
import { h, put, say, svg } from "../../ui/dom";
import { describePeer, loadPips, runtimeName } from "../../ui/machine";
import { bytes, count, duration, percent, rate } from "../../ui/numbers";
import { mark, type Slot } from "../../ui/peers";
import { type Box, LABEL_WIDTH, type Layout, layout, NODE_WIDTH, type View, type Wire } from "./layout";
import type { Rates } from "./rates";

export interface LanePeer {
  peer: string;
  name: string;
  own: boolean;
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
  /** Bytes of the run by `name->name`, once its receipt is there. */
  linkBytes: Record<string, number>;
}

/** The graph is the hero: it takes this share of the window where it can. */
const HERO_SHARE = 0.38;

interface BoxParts {
  element: HTMLElement;
  block: HTMLElement;
  kind: HTMLElement;
  time: HTMLElement;
  meter: HTMLElement;
  share: HTMLElement;
}

export class GraphView {
  readonly element: HTMLElement;
  #canvas = h("div", { class: "canvas" });
  #boxes = new Map<string, BoxParts>();
  #lanes = new Map<string, HTMLElement>();
  #labels = new Map<string, { above: HTMLElement; below: HTMLElement }>();
  #layout: Layout | null = null;
  #drawn: Partial<GraphState> & { width?: number; height?: number } = {};

  constructor(private readonly onSelect: (node: string | null) => void) {
    this.element = h("div", { class: "stage", tabindex: -1 }, this.#canvas);
    this.element.addEventListener("keydown", (event) => this.#walk(event));
  }

  /** Lays out anew only when graph, plan, peers, view or width changed; the figures are refreshed each time. */
  render(state: GraphState): void {
    const width = this.element.clientWidth;
    const height = Math.round(innerHeight * HERO_SHARE);
    const drawn = this.#drawn;
    const same = (["graph", "plan", "peers", "view"] as const).every((key) => drawn[key] === state[key]);
    if (!same || drawn.width !== width || drawn.height !== height) {
      const lanes = state.peers.map((peer) => peer.peer);
      this.#layout = layout(state.graph, state.plan, lanes, { view: state.view, width, height });
      this.#draw(state, this.#layout);
      this.#drawn = { ...state, width, height };
    }
    this.#refresh(state, this.#layout!);
  }

  clear(): void {
    this.#drawn = {};
    this.#layout = null;
    this.#boxes.clear();
    put(this.#canvas);
  }

  #draw(state: GraphState, layout: Layout): void {
    const peers = new Map(state.peers.map((peer) => [peer.peer, peer]));
    const canvas = this.#canvas;
    canvas.dataset.view = layout.view;
    canvas.style.width = `${layout.width}px`;
    canvas.style.height = `${layout.height}px`;
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    const old = this.#boxes;
    this.#boxes = new Map();
    for (const box of layout.boxes) {
      const parts = old.get(box.key) ?? this.#box(box, state);
      dress(parts, box, peers.get(box.peer)!);
      this.#boxes.set(box.key, parts);
    }
    this.#labels = new Map(layout.wires.map((wire) => [wire.key, label(wire)]));
    this.#lanes = new Map();
    put(
      canvas,
      ...layout.lanes.map((lane) => {
        const element = laneElement(layout.view, lane, peers.get(lane.peer)!);
        this.#lanes.set(lane.peer, element.querySelector<HTMLElement>(".lane-details")!);
        return element;
      }),
      wireLayer(layout, state.links),
      ...[...this.#boxes.values()].map((parts) => parts.element),
      ...[...this.#labels.values()].flatMap(({ above, below }) => [above, below]),
    );
    for (const box of layout.boxes) place(this.#boxes.get(box.key)!.element, box);
    if (focused) this.#boxes.get(focused)?.element.focus({ preventScroll: true });
  }

  #box(box: Box, state: GraphState): BoxParts {
    const parts = {
      block: h("span", { class: "block" }),
      kind: h("span", { class: "kind" }),
      time: h("span", { class: "time" }),
      meter: h("span", { class: "meter" }, h("i")),
      share: h("span", { class: "share" }),
    };
    const name = box.node?.id ?? (box.role === "source" ? state.source.name : "page");
    const inside = [parts.block, h("span", { class: "title" }, name), parts.kind, parts.time, parts.meter, parts.share];
    const props = { class: `box ${box.role}`, "data-key": box.key, title: name };
    const id = box.node?.id;
    const element =
      id === undefined
        ? h("div", props, ...inside)
        : h("button", { ...props, type: "button", "data-node": id, on: { click: () => this.onSelect(id) } }, ...inside);
    return { element, ...parts };
  }

  #refresh(state: GraphState, layout: Layout): void {
    this.element.classList.toggle("stale", state.stale);
    for (const [peer, details] of this.#lanes) showRecord(details, state.records.get(peer));
    for (const box of layout.boxes) {
      const parts = this.#boxes.get(box.key)!;
      if (box.role === "node") showNode(parts, box, state);
      else showEnd(parts, box.role, state);
    }
    for (const wire of layout.wires) showWire(this.#labels.get(wire.key)!, wire, state);
  }

  /** Arrows: left and right along the wires, up and down within a column. */
  #walk(event: KeyboardEvent): void {
    const key = event.target instanceof HTMLElement ? event.target.dataset.key : undefined;
    const layout = this.#layout;
    const from = layout?.boxes.find((box) => box.key === key);
    if (!layout || !from) return;
    const next = neighbour(layout, from, event.key);
    if (!next) return;
    event.preventDefault();
    this.#boxes.get(next.key)?.element.focus();
  }
}

function neighbour(layout: Layout, from: Box, key: string): Box | undefined {
  const down = layout.view === "columns";
  const [back, on] = down ? ["ArrowUp", "ArrowDown"] : ["ArrowLeft", "ArrowRight"];
  const [before, after] = down ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
  const nodes = (boxes: Box[]) => boxes.filter((box) => box.role === "node");
  if (key === on) return nodes(layout.wires.filter((wire) => wire.from === from).map((wire) => wire.to))[0];
  if (key === back) return nodes(layout.wires.filter((wire) => wire.to === from).map((wire) => wire.from))[0];
  if (key !== before && key !== after) return undefined;
  const column = nodes(layout.boxes.filter((box) => box.column === from.column));
  column.sort((a, b) => (down ? a.x - b.x : a.y - b.y));
  return column[column.indexOf(from) + (key === after ? 1 : -1)];
}

/** What depends on where the node is. */
function dress(parts: BoxParts, box: Box, peer: LanePeer): void {
  parts.element.dataset.slot = String(peer.slot.colour);
  put(parts.block, mark(peer.slot, { title: peer.name }));
  say(parts.kind, box.role === "node" ? runtimeName(box.runtime) : box.role);
}

function place(element: HTMLElement, box: Box): void {
  element.classList.toggle("narrow", box.width < NODE_WIDTH);
  element.style.width = `${box.width}px`;
  element.style.height = `${box.height}px`;
  element.style.transform = `translate(${Math.round(box.x)}px, ${Math.round(box.y)}px)`;
}

function laneElement(view: View, lane: Layout["lanes"][number], peer: LanePeer): HTMLElement {
  const element = h(
    "div",
    { class: lane.idle ? "lane tint idle" : "lane tint", "data-slot": peer.slot.colour },
    h(
      "div",
      { class: "lane-label" },
      h(
        "div",
        { class: "lane-name" },
        mark(peer.slot),
        h("b", {}, peer.name),
        peer.own ? " (you)" : null,
        lane.idle ? ", idle" : null,
      ),
      h("div", { class: "lane-details small", hidden: lane.idle }),
    ),
  );
  const side = view === "rows" ? ["top", "height"] : ["left", "width"];
  element.style.setProperty(side[0]!, `${lane.start}px`);
  element.style.setProperty(side[1]!, `${lane.size}px`);
  if (view === "rows") element.style.setProperty("--label", `${LABEL_WIDTH}px`);
  return element;
}

/** Redrawn only when it says something else. */
function showRecord(details: HTMLElement, record: PeerRecord | undefined): void {
  const lines = record ? [...describePeer(record), percent(record.load), record.hidden ? ", hidden" : ""] : [];
  const words = lines.join("|");
  if (!record || details.dataset.words === words) return;
  details.dataset.words = words;
  put(
    details,
    h("div", {}, lines[0]),
    h("div", {}, lines[1]),
    h("div", { class: "load" }, loadPips(record), ` ${lines[2]}${lines[3]}`),
  );
}

function wireLayer(layout: Layout, links: GraphState["links"]): SVGSVGElement {
  return svg(
    "svg",
    { class: "wires", width: layout.width, height: layout.height, "aria-hidden": "true" },
    svg(
      "defs",
      {},
      svg(
        "marker",
        {
          id: "arrow",
          viewBox: "0 0 8 8",
          refX: 7.5,
          refY: 4,
          markerWidth: 8,
          markerHeight: 8,
          orient: "auto",
          markerUnits: "userSpaceOnUse",
        },
        svg("path", { d: "M0 .4 8 4 0 7.6z", fill: "context-stroke" }),
      ),
    ),
    ...layout.wires.map((wire) =>
      svg("path", {
        class: `wire${crosses(wire) ? " crossing" : ""}${linkOf(wire, links)?.path === "relay" ? " relay" : ""}`,
        d: wire.path,
        "marker-end": "url(#arrow)",
      }),
    ),
  );
}

function crosses(wire: Wire): boolean {
  return wire.from.peer !== wire.to.peer;
}

/** The viewer knows its own links; of a link between two others it knows the bytes of the run, at the end. */
function linkOf(wire: Wire, links: GraphState["links"]): LinkStats | undefined {
  return crosses(wire) ? (links.get(wire.to.peer) ?? links.get(wire.from.peer)) : undefined;
}

function label(wire: Wire): { above: HTMLElement; below: HTMLElement } {
  const place = (kind: string) =>
    h("span", { class: `wire-label ${kind}`, style: { left: `${wire.label.x}px`, top: `${wire.label.y}px` } });
  return crosses(wire)
    ? { above: place("crossing chip"), below: place("unused") }
    : { above: place("above"), below: place("below") };
}

function showWire(parts: { above: HTMLElement; below: HTMLElement }, wire: Wire, state: GraphState): void {
  if (!crosses(wire)) {
    say(parts.above, flowOf(wire, state));
    return;
  }
  const link = [wire.from.peer, wire.to.peer].some((peer) => state.peers[0]?.peer === peer)
    ? linkOf(wire, state.links)
    : undefined;
  const words = [];
  if (link?.path === "relay") words.push("relay");
  if (link && link.rtt_ms !== null) words.push(duration(link.rtt_ms));
  const flow = flowOf(wire, state);
  const moved = state.linkBytes[`${nameOf(wire.from, state)}->${nameOf(wire.to, state)}`];
  const amount =
    moved !== undefined
      ? bytes(moved)
      : link && state.running
        ? `${bytes(link.bytes_per_s)}/s`
        : state.running
          ? flow
          : "";
  put(parts.above, words.join(", "), words.length > 0 && amount ? ", " : null, amount ? h("b", {}, amount) : null);
  parts.above.hidden = words.length === 0 && !amount;
}

function nameOf(box: Box, state: GraphState): string {
  const index = state.peers.findIndex((peer) => peer.peer === box.peer);
  return index === 0 ? "driver" : (state.peers[index]?.name ?? "");
}

/** The rate of a wire while it runs, the count afterwards. */
function flowOf(wire: Wire, state: GraphState): string {
  if (!state.rates) return "";
  if (wire.from.role === "source") return state.running ? rate(state.rates.itemsIn()) : count(state.itemsIn);
  const times = state.rates.node(wire.from.node!.id);
  if (!times) return "";
  return state.running ? rate(times.perSecond) : count(times.count);
}

function showEnd(parts: BoxParts, role: "source" | "sink", state: GraphState): void {
  const total = role === "source" ? state.itemsIn : state.resultsOut;
  say(parts.time, role === "source" ? state.source.detail : "");
  say(parts.share, state.rates ? `${count(total)} ${role === "source" ? "in" : "out"}` : "");
  parts.meter.style.setProperty("--share", "0");
}

function showNode(parts: BoxParts, box: Box, state: GraphState): void {
  const id = box.node!.id;
  const rates = state.rates?.node(id);
  const chosen = state.plan.why[id]?.find((candidate) => candidate.chosen && candidate.peer === box.peer);
  const predicted = chosen?.terms.compute;
  say(parts.time, rates ? duration(rates.p50) : predicted === undefined ? "" : `≈ ${duration(predicted)}`);
  parts.time.classList.toggle("predicted", !rates);
  const busy = state.running ? (rates?.busy ?? 0) : 0;
  say(parts.share, rates ? (state.running ? percent(busy) : count(rates.count)) : "");
  parts.meter.style.setProperty("--share", busy.toFixed(3));
  parts.element.setAttribute("aria-pressed", String(state.selected === id));
}
