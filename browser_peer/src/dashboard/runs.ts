/** The runs of the room, and of the selected one: where its nodes are and what they take. */

import { scaleLog } from "d3-scale";
import type { NodeTimes } from "../peer/types";
import type { RunState } from "../protocol/signaling";
import { h, put, svg } from "../ui/dom";
import { icon } from "../ui/icons";
import { clock, count, duration, figure, plural } from "../ui/numbers";
import { mark, type Slot, type Slots } from "../ui/peers";
import { hasEnded, holder, type RoomView } from "./room";

const MOST_ROWS = 50;
const WORDS: Record<string, string> = { planning: "planning", connecting: "connecting", loading: "loading" };

export class RunsPanel {
  readonly element: HTMLElement;
  readonly times: HTMLElement;
  #about = h("span", { class: "muted" });
  #body = h("div", { class: "runs-body" });
  #timesBody = h("div");
  #timesAbout = h("span", { class: "muted" });
  #selected: string | null = null;

  constructor(
    private readonly slots: Slots,
    private readonly onSelect: () => void,
  ) {
    this.element = h(
      "section",
      { class: "panel runs", "aria-label": "Runs" },
      h("div", { class: "panel-head" }, h("h2", {}, "Runs"), this.#about),
      this.#body,
    );
    this.times = h(
      "section",
      { class: "panel times", "aria-label": "Time per node" },
      h("div", { class: "panel-head" }, h("h2", {}, "Time per node"), this.#timesAbout),
      this.#timesBody,
    );
  }

  render(room: RoomView, now: number): void {
    const running = room.runs.filter((run) => !hasEnded(run)).length;
    this.#about.textContent = `${running} running, ${room.runs.length - running} ended`;
    if (room.runs.length === 0) {
      put(this.#body, h("p", { class: "sentence muted" }, "No runs yet. The page runs the calculator in two seconds."));
      put(this.#timesBody, h("p", { class: "muted" }, "Appears with the first run."));
      return;
    }
    const selected = room.runs.find((run) => keyOf(run) === this.#selected) ?? room.runs[0]!;
    put(this.#body, this.#table(room.runs.slice(0, MOST_ROWS), selected), details(selected, this.slots, now));
    this.#timesAbout.textContent = `${selected.name} ${selected.id.slice(0, 4)}, ms`;
    put(this.#timesBody, timeTable(selected, this.slots));
  }

  #table(runs: RunState[], selected: RunState): HTMLElement {
    const head = (word: string, number = false) =>
      h("th", { scope: "col", class: number ? "number" : undefined }, word);
    return h(
      "div",
      { class: "run-table" },
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            head("pipeline"),
            head("driver"),
            head("state"),
            head("in", true),
            head("out", true),
            head("errors", true),
          ),
        ),
        h("tbody", {}, ...runs.map((run) => this.#row(run, run === selected))),
      ),
    );
  }

  #row(run: RunState, selected: boolean): HTMLElement {
    const errors = h(run.errors > 0 ? "b" : "span", run.errors > 0 ? {} : { class: "muted" }, count(run.errors));
    const select = () => {
      this.#selected = keyOf(run);
      this.onSelect();
    };
    return h(
      "tr",
      { class: selected ? "selected" : "", on: { click: select }, "data-run": run.id },
      h(
        "td",
        {},
        h(
          "button",
          { class: "run-name", type: "button", "aria-pressed": String(selected) },
          h("b", {}, run.name),
          h("span", { class: "muted" }, ` ${run.id.slice(0, 4)}`),
        ),
      ),
      h("td", { class: "peer" }, mark(this.slots.of(run.driver), { title: run.driver })),
      h(
        "td",
        { class: run.state === "failed" ? "danger" : "" },
        stateIcon(run.state),
        ` ${WORDS[run.state] ?? run.state}`,
      ),
      h("td", { class: "number" }, count(run.items_in)),
      h("td", { class: "number" }, count(run.results_out)),
      h("td", { class: "number" }, errors),
    );
  }
}

function keyOf(run: RunState): string {
  return `${run.driver} ${run.id}`;
}

function stateIcon(state: string): HTMLElement {
  if (state === "done") return icon("check");
  if (state === "failed" || state === "cancelled") return icon("cross");
  return icon(state === "running" ? "play" : "circle");
}

/** Where each node of the run is, in one line a node. */
function details(run: RunState, slots: Slots, now: number): HTMLElement {
  const started = hasEnded(run) ? "" : `, ${clock(now - run.started * 1000)}`;
  return h(
    "div",
    { class: "run-details" },
    h(
      "div",
      { class: "panel-head" },
      h("h3", {}, "Placement"),
      h(
        "span",
        { class: "muted" },
        `${run.name} ${run.id.slice(0, 4)}, driven by `,
        mark(slots.of(run.driver)),
        ` ${run.driver}${started}`,
      ),
    ),
    run.reason ? h("p", { class: "danger reason" }, run.reason) : null,
    Object.keys(run.placement).length === 0 ? h("p", { class: "muted" }, "No plan yet.") : null,
    h(
      "ul",
      { class: "placement" },
      ...Object.keys(run.placement).map((node) =>
        h(
          "li",
          {},
          h("span", {}, node),
          ...holder(run, node).map((name) => h("span", { class: "where" }, mark(slots.of(name)), ` ${name}`)),
        ),
      ),
    ),
  );
}

const AXIS = { width: 150, height: 18, least: 0.01, most: 10_000 };
const GRID = [0.1, 1, 10, 100, 1000];
const LABELLED = [0.1, 10, 1000];

/** From ms to the place on the axis. */
const position = scaleLog()
  .domain([AXIS.least, AXIS.most])
  .range([6, AXIS.width - 6])
  .clamp(true);

function timeTable(run: RunState, slots: Slots): HTMLElement {
  const nodes = Object.entries(run.node_ms);
  if (nodes.length === 0) return h("p", { class: "muted" }, "Nothing measured yet.");
  const ticks = LABELLED.map((ms) => {
    const left = `${(100 * position(ms)) / AXIS.width}%`;
    return h("span", { class: "tick", style: { left } }, figure(ms));
  });
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, "node"),
    ...["calls", "p50", "p95"].map((word) => h("th", { scope: "col", class: "number" }, word)),
    h("th", { class: "axis ticks" }, ...ticks),
  );
  const rows = nodes.map(([node, times]) => timeRow(node, times, slots.of(holder(run, node)[0] ?? run.driver)));
  return h(
    "div",
    {},
    h("table", { class: "time-table" }, h("thead", {}, head), h("tbody", {}, ...rows)),
    h("p", { class: "small muted foot" }, `${plural(nodes.length, "node")}; dot p50, tick p95, log scale`),
  );
}

function timeRow(node: string, times: NodeTimes, slot: Slot): HTMLElement {
  const [p50, p95] = [position(Math.max(times.p50, AXIS.least)), position(Math.max(times.p95, AXIS.least))];
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${AXIS.width} ${AXIS.height}`, "data-slot": slot.colour, "aria-hidden": "true" },
    ...GRID.map((ms) => svg("path", { class: "grid", d: `M${position(ms)} 0V18` })),
    svg("path", { class: "range", d: `M${p50} 9H${p95}M${p95} 4v10` }),
    svg("circle", { class: "dot", cx: p50, cy: 9, r: 4 }),
  );
  return h(
    "tr",
    {},
    h("td", {}, mark(slot), ` ${node}`),
    h("td", { class: "number" }, count(times.count)),
    h("td", { class: "number", title: duration(times.p50) }, figure(times.p50)),
    h("td", { class: "number", title: duration(times.p95) }, figure(times.p95)),
    h("td", { class: "axis" }, drawing),
  );
}
