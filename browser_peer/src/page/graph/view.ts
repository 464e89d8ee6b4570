/** The graph as it is drawn: lanes, boxes that move when their peer changes, wires, and what runs through them. */

import type { PeerRecord } from "../../peer/types";
import { h, put } from "../../ui/dom";
import { describePeer, loadPips } from "../../ui/machine";
import { percent } from "../../ui/numbers";
import { mark } from "../../ui/peers";
import { NodeBox } from "./boxes";
import { type Box, LABEL_WIDTH, type Layout, layout, type View } from "./layout";
import type { GraphState, LanePeer } from "./state";
import { relatives, WireLayer } from "./wires";

/** The graph is the hero: it takes this share of the window where it can. */
const HERO_SHARE = 0.38;

interface Drawing {
  of: Pick<GraphState, "graph" | "plan" | "peers" | "view"> & { width: number; height: number };
  layout: Layout;
  wires: WireLayer;
  lanes: Map<string, HTMLElement>;
}

export class GraphView {
  readonly element: HTMLElement;
  #canvas = h("div", { class: "canvas" });
  #boxes = new Map<string, NodeBox>();
  #drawing: Drawing | null = null;

  constructor(private readonly onSelect: (node: string) => void) {
    const look = (event: Event) => this.#look(event.target);
    const leave = () => this.#look(null);
    const on = {
      keydown: (event: KeyboardEvent) => this.#walk(event),
      pointerover: look,
      focusin: look,
      pointerleave: leave,
      focusout: leave,
    };
    this.element = h("div", { class: "stage", tabindex: -1, on }, this.#canvas);
  }

  /** Lays out anew only when graph, plan, peers, view or size changed; the figures are refreshed each time. */
  render(state: GraphState): void {
    const { graph, plan, peers, view } = state;
    const of = {
      graph,
      plan,
      peers,
      view,
      width: this.element.clientWidth,
      height: Math.round(innerHeight * HERO_SHARE),
    };
    const drawn = this.#drawing?.of;
    const same = drawn && (Object.keys(of) as (keyof typeof of)[]).every((key) => drawn[key] === of[key]);
    if (!same) this.#draw(of);
    this.#refresh(state);
  }

  #draw(of: Drawing["of"]): void {
    const peers = new Map(of.peers.map((peer) => [peer.peer, peer]));
    const laid = layout(of.graph, of.plan, [...peers.keys()], of);
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    const old = this.#boxes;
    this.#boxes = new Map(laid.boxes.map((box) => [box.key, old.get(box.key) ?? new NodeBox(box, this.onSelect)]));
    for (const box of laid.boxes) this.#boxes.get(box.key)!.place(box, peers.get(box.peer)!);
    const wires = new WireLayer(laid);
    const lanes = laid.lanes.map((lane) => laneElement(laid.view, lane, peers.get(lane.peer)!));
    this.#canvas.dataset.view = laid.view;
    this.#canvas.style.width = `${laid.width}px`;
    this.#canvas.style.height = `${laid.height}px`;
    const boxes = [...this.#boxes.values()].map((box) => box.element);
    put(this.#canvas, ...lanes.map(({ element }) => element), wires.element, ...boxes, ...wires.labels);
    const details = new Map(laid.lanes.map((lane, index) => [lane.peer, lanes[index]!.details]));
    this.#drawing = { of, layout: laid, wires, lanes: details };
    if (focused !== undefined) this.#boxes.get(focused)?.element.focus({ preventScroll: true });
  }

  #refresh(state: GraphState): void {
    const { layout, lanes, wires } = this.#drawing!;
    this.element.classList.toggle("stale", state.stale);
    for (const [peer, details] of lanes) showRecord(details, state.records.get(peer));
    for (const box of layout.boxes) this.#boxes.get(box.key)!.show(box, state);
    wires.show(state);
  }

  #boxAt(target: EventTarget | null): Box | undefined {
    const element = target instanceof Element ? target.closest<HTMLElement>(".box") : null;
    return this.#drawing?.layout.boxes.find((box) => box.key === element?.dataset.key);
  }

  /** The pointer or the focus is on a node: what neither leads to it nor away from it is dimmed. */
  #look(target: EventTarget | null): void {
    if (!this.#drawing) return;
    const box = this.#boxAt(target);
    const related = box ? relatives(this.#drawing.layout, box) : null;
    for (const each of this.#drawing.layout.boxes) {
      this.#boxes.get(each.key)!.element.classList.toggle("dim", related !== null && !related.has(each));
    }
    this.#drawing.wires.dim(related);
  }

  /** Arrows: left and right along the wires, up and down within a column. */
  #walk(event: KeyboardEvent): void {
    const from = this.#boxAt(event.target);
    const next = from && neighbour(this.#drawing!.layout, from, event.key);
    if (!next) return;
    event.preventDefault();
    this.#boxes.get(next.key)!.element.focus();
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

function laneElement(
  view: View,
  lane: Layout["lanes"][number],
  peer: LanePeer,
): Record<"element" | "details", HTMLElement> {
  const details = h("div", { class: "lane-details small", hidden: lane.idle });
  const name = h("div", { class: "lane-name" }, mark(peer.slot, { hollow: peer.gone }), h("b", {}, peer.name));
  name.append(peer.own ? " (you)" : "", peer.gone ? ", lost" : lane.idle ? ", idle" : "");
  const [start, size] = view === "rows" ? ["top", "height"] : ["left", "width"];
  const style = { [start]: `${lane.start}px`, [size]: `${lane.size}px`, "--label": `${LABEL_WIDTH}px` };
  const kind = `lane tint${lane.idle ? " idle" : ""}${peer.gone ? " gone" : ""}`;
  const label = h("div", { class: "lane-label" }, name, details);
  return { element: h("div", { class: kind, "data-slot": peer.slot.colour, style }, label), details };
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
