/** How busy each peer was: its load in the last minute, as the heartbeats told it; the time after its loss is hatched. */

import { scaleLinear } from "d3-scale";
import { area, curveStepAfter } from "d3-shape";
import { h, put, svg } from "../ui/dom";
import { mark, type Slots } from "../ui/peers";
import { severity } from "./mesh";
import { LOADS_KEPT_MS, type RoomPeer, type RoomView } from "./room";

const WIDTH = 1000;
const HEIGHT = 22;
const STEP_S = 10;

export class WorkPanel {
  readonly element: HTMLElement;
  #body = h("div", { class: "work-body" });

  constructor(private readonly slots: Slots) {
    this.element = h(
      "section",
      { class: "panel work", "aria-label": "Work" },
      h(
        "div",
        { class: "panel-head" },
        h("h2", {}, "Work"),
        h("span", { class: "muted" }, "the load of each peer in the last minute"),
      ),
      this.#body,
    );
  }

  render(room: RoomView, now: number): void {
    const peers = [...room.peers.values()].sort((a, b) => a.seat - b.seat);
    const seconds = Array.from(
      { length: LOADS_KEPT_MS / 1000 / STEP_S + 1 },
      (_, index) => LOADS_KEPT_MS / 1000 - index * STEP_S,
    );
    put(
      this.#body,
      ...peers.map((peer) => this.#lane(peer, now)),
      h("div", { class: "work-axis small muted" }, ...seconds.map((s) => h("span", {}, s === 0 ? "now" : `−${s} s`))),
    );
  }

  #lane(peer: RoomPeer, now: number): HTMLElement {
    const slot = this.slots.of(peer.record.name);
    const x = scaleLinear()
      .domain([now - LOADS_KEPT_MS, now])
      .range([0, WIDTH])
      .clamp(true);
    const end = peer.gone?.at ?? now;
    const last = peer.loads.at(-1);
    const points = last ? [...peer.loads, { at: end, load: last.load }] : [];
    const shape = area<{ at: number; load: number }>()
      .x(({ at }) => x(at))
      .y0(HEIGHT)
      .y1(({ load }) => HEIGHT - Math.max(0.04, load) * HEIGHT)
      .curve(curveStepAfter);
    const gone = peer.gone ? silence(peer, x(end) / WIDTH) : null;
    return h(
      "div",
      { class: "work-row" },
      h("span", { class: "work-name" }, mark(slot, { hollow: peer.gone !== null }), ` ${peer.record.name}`),
      h(
        "div",
        { class: "work-lane tint", "data-slot": slot.colour },
        svg(
          "svg",
          { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
          svg("path", { d: shape(points) ?? "" }),
        ),
        gone,
      ),
    );
  }
}

/** From the loss on: hatched; its words stand before it while it is short. */
function silence(peer: RoomPeer, from: number): HTMLElement {
  return h(
    "div",
    { class: `silence ${severity(peer)}${from > 0.8 ? " short" : ""}`, style: { left: `${100 * from}%` } },
    h("span", { class: "words" }, `${peer.record.name} ${severity(peer)}`),
  );
}
