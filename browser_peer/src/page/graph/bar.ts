/** Over the graph: the view, what a lane is, and the plan in figures. */

import { h, say } from "../../ui/dom";
import { duration } from "../../ui/numbers";
import type { State } from "../session/state";

export class GraphBar {
  readonly element: HTMLElement;
  #buttons: HTMLButtonElement[];
  #figures = h("span", { class: "spread muted" });

  constructor(onView: (view: State["view"]) => void) {
    this.#buttons = (["lanes", "flow"] as const).map((view) =>
      h(
        "button",
        { type: "button", "data-view": view, on: { click: () => onView(view) } },
        view === "lanes" ? "Lanes" : "Flow",
      ),
    );
    this.element = h(
      "div",
      { class: "graph-bar" },
      h("div", { class: "segments dense", role: "group", "aria-label": "View" }, ...this.#buttons),
      h(
        "span",
        { class: "muted hint" },
        "A lane is a peer. Dashed wires go through a relay. Choose a node to see why it is there.",
      ),
      this.#figures,
    );
  }

  render(state: State): void {
    for (const button of this.#buttons) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
    const { planned } = state;
    say(
      this.#figures,
      planned ? `epoch ${planned.plan.epoch}, predicted ${duration(planned.plan.latency_ms)} an item` : "",
    );
  }
}
