/** The boxes of the nodes, and of the source and the sink that the driver holds. */

import { h, put, say } from "../../ui/dom";
import { runtimeName } from "../../ui/machine";
import { count, duration, percent } from "../../ui/numbers";
import { mark } from "../../ui/peers";
import { type Box, NODE_WIDTH } from "./layout";
import type { GraphState, LanePeer } from "./state";

export class NodeBox {
  readonly element: HTMLElement;
  #block = h("span", { class: "block" });
  #title = h("span", { class: "title" });
  #kind = h("span", { class: "kind" });
  #time = h("span", { class: "time" });
  #meter = h("span", { class: "meter" }, h("i"));
  #share = h("span", { class: "share" });

  constructor(box: Box, onSelect: (node: string) => void) {
    const props = { class: `box ${box.role}`, "data-key": box.key };
    const id = box.node?.id;
    this.element =
      id === undefined
        ? h("div", props)
        : h("button", { ...props, type: "button", "data-node": id, on: { click: () => onSelect(id) } });
    this.element.append(this.#block, this.#title, this.#kind, this.#time, this.#meter, this.#share);
  }

  /** Puts it where its peer is. */
  place(box: Box, peer: LanePeer): void {
    const { style, dataset, classList } = this.element;
    dataset.slot = String(peer.slot.colour);
    put(this.#block, mark(peer.slot, { title: peer.name }));
    say(this.#kind, box.role === "node" ? runtimeName(box.runtime) : box.role);
    classList.toggle("narrow", box.width < NODE_WIDTH);
    style.width = `${box.width}px`;
    style.height = `${box.height}px`;
    style.transform = `translate(${Math.round(box.x)}px, ${Math.round(box.y)}px)`;
  }

  /** The figures of the moment. */
  show(box: Box, state: GraphState): void {
    const name = box.node?.id ?? (box.role === "source" ? state.source.name : "page");
    say(this.#title, name);
    this.element.title = name;
    if (box.role === "node") this.#showNode(box, box.node!.id, state);
    else this.#showEnd(box.role, state);
  }

  #showEnd(role: "source" | "sink", state: GraphState): void {
    say(this.#time, role === "source" ? state.source.detail : "");
    const total = role === "source" ? `${count(state.itemsIn)} in` : `${count(state.resultsOut)} out`;
    say(this.#share, state.rates ? total : "");
  }

  #showNode(box: Box, id: string, state: GraphState): void {
    const rates = state.rates?.node(id);
    const loading = box.runtime === "pyodide" && state.peers[0]?.peer === box.peer ? state.loading : null;
    const busy = loading ?? (state.running ? (rates?.busy ?? 0) : 0);
    say(this.#time, rates ? duration(rates.p50) : predictedTime(box, id, state));
    this.#time.classList.toggle("predicted", !rates);
    say(this.#share, loading !== null || (rates && state.running) ? percent(busy) : rates ? count(rates.count) : "");
    this.#meter.style.setProperty("--share", busy.toFixed(3));
    this.element.setAttribute("aria-pressed", String(state.selected === id));
  }
}

function predictedTime(box: Box, id: string, state: GraphState): string {
  const chosen = state.plan.why[id]?.find((candidate) => candidate.chosen && candidate.peer === box.peer);
  const ms = chosen?.terms.compute;
  return ms === undefined ? "" : `≈ ${duration(ms)}`;
}
