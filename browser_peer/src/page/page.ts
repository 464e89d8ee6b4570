/** The page: its views around one session. */

import type { PeerApi, PeerRecord } from "../peer/types";
import { h, put } from "../ui/dom";
import { mark } from "../ui/peers";
import { GraphBar } from "./graph/bar";
import type { View } from "./graph/layout";
import type { LanePeer } from "./graph/state";
import { GraphView } from "./graph/view";
import { Inspector } from "./inspector";
import { keyboard } from "./keys";
import { ResultsPanel } from "./results/panel";
import { Session } from "./session/session";
import { isRunning, type State } from "./session/state";
import { RunBar } from "./setup/bar";
import { Editor } from "./setup/editor";
import { examples } from "./setup/examples";
import { Input } from "./setup/input";
import { StatusLine } from "./status";

const PHONE = matchMedia("(max-width: 700px)");
const NARROW = matchMedia("(max-width: 1100px)");

export class Page {
  readonly element: HTMLElement;
  #session: Session;
  #input: Input;
  #bar: RunBar;
  #graph: GraphView;
  #graphBar: GraphBar;
  #results: ResultsPanel;
  #inspector: Inspector;
  #editor: Editor;
  #tabs: HTMLElement;
  #rostered: readonly LanePeer[] = [];

  constructor(
    peer: PeerApi,
    private readonly roster: HTMLElement,
  ) {
    const session = new Session(peer);
    const { store } = session;
    this.#session = session;
    this.#input = new Input(() => store.touch());
    this.#bar = new RunBar(this, this.#input);
    this.#graph = new GraphView((node) => session.select(node));
    this.#graphBar = new GraphBar((view) => store.set({ view }));
    this.#results = new ResultsPanel(session.lanes.slots, () => this.edit(true));
    this.#inspector = new Inspector(session);
    this.#editor = new Editor(
      (text) => session.write(text),
      () => this.edit(false),
    );
    this.#tabs = tabs((tab) => store.set({ tab }));
    const graph = h("section", { class: "graph", "aria-label": "Graph" }, this.#graphBar.element, this.#graph.element);
    const panels = [this.#tabs, this.#editor.element, this.#results.element, this.#inspector.element];
    const status = new StatusLine(peer);
    const keys = keyboard(this);
    this.element = h(
      "main",
      { class: "page" },
      this.#bar.element,
      graph,
      h("div", { class: "panels" }, ...panels),
      status.element,
      keys,
    );
    this.#listen();
    session.choose(examples[0]!);
  }

  #listen(): void {
    const { store } = this.#session;
    store.onChange((state) => this.#render(state));
    new ResizeObserver(() => store.touch()).observe(this.#graph.element);
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      const file = event.dataTransfer?.files[0];
      if (file) this.open(file);
    });
  }

  choose(name: string): void {
    const example = examples.find((each) => each.name === name);
    if (example) this.#session.choose(example);
  }

  /** A sound is input, everything else a manifest. */
  open(file: File): void {
    if (file.name.toLowerCase().endsWith(".wav")) this.#input.take(file);
    else void this.#session.open(file);
  }

  edit(editing: boolean): void {
    this.#session.store.set({ editing, tab: "results" });
    if (editing) this.#editor.focus();
  }

  run(): void {
    this.#session
      .run(() => this.#input.items())
      .catch((error: unknown) => this.#input.complain(error instanceof Error ? error.message : String(error)));
  }

  cancel(): void {
    this.#session.cancel();
  }

  /** Esc closes what is open, then cancels, when asked twice. */
  escape(): void {
    const { editing, selected } = this.#session.store.value;
    if (editing) this.edit(false);
    else if (selected !== null) this.#session.select(null);
    else this.#bar.cancel();
  }

  inInput(target: Node): boolean {
    return this.#input.element.contains(target);
  }

  #render(state: State): void {
    const { lanes, peer } = this.#session;
    this.#input.offer(state.example, takesBytes(state, peer.peers));
    this.#bar.render(state);
    this.#renderGraph(state);
    this.#graphBar.render(state);
    this.#editor.render(state);
    this.#results.render(state, lanes.all);
    this.#inspector.render(state, lanes.all);
    this.#showTabs(state);
    if (this.#rostered !== lanes.all) this.#callRoster(lanes.all);
  }

  #renderGraph(state: State): void {
    const { lanes, peer } = this.#session;
    const { planned, run } = state;
    if (!planned || !lanes.hold(planned)) return;
    const view: View = state.view === "flow" ? "flow" : PHONE.matches ? "columns" : "rows";
    this.#graph.render({
      ...planned,
      peers: lanes.all,
      records: peer.peers,
      view,
      selected: state.selected,
      stale: state.obstacle !== null,
      source: this.#input.describe(),
      rates: run?.rates ?? null,
      running: isRunning(state),
      itemsIn: run?.progress.items_in ?? 0,
      resultsOut: run?.progress.results_out ?? 0,
      links: peer.links,
      loading: state.loading,
      linkBytes: run?.receipt?.link_bytes ?? {},
    });
  }

  #callRoster(lanes: readonly LanePeer[]): void {
    this.#rostered = lanes;
    const living = lanes.filter((lane) => !lane.gone);
    put(this.roster, ...living.map(({ name, own, slot }) => h("span", {}, mark(slot), own ? `${name} (you)` : name)));
  }

  /** On a narrow screen only one of the panels is there. */
  #showTabs({ editing, tab }: State): void {
    const one = NARROW.matches;
    this.#tabs.hidden = !one || editing;
    this.#editor.element.hidden = !editing;
    this.#results.element.hidden = editing || (one && tab !== "results");
    this.#inspector.element.hidden = one && (editing || tab !== "why");
    for (const button of this.#tabs.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
    }
  }
}

function tabs(onTab: (tab: State["tab"]) => void): HTMLElement {
  const words = { results: "Results", why: "Where and why" };
  const buttons = (["results", "why"] as const).map((tab) =>
    h("button", { type: "button", "data-tab": tab, on: { click: () => onTab(tab) } }, words[tab]),
  );
  return h("div", { class: "segments tabs", role: "group", "aria-label": "Below the graph" }, ...buttons);
}

/** Whether a source node of the pipeline accepts the bytes of a file. */
function takesBytes(state: State, records: ReadonlyMap<string, PeerRecord>): boolean {
  const graph = state.planned?.graph;
  if (!graph) return false;
  const sources = new Set(graph.edges.filter((edge) => edge.from === null).map((edge) => edge.to));
  const types = new Set(graph.nodes.filter((node) => sources.has(node.id)).map((node) => node.node_type));
  return [...records.values()].some((record) =>
    record.types.some((spec) => types.has(spec.node_type) && (spec.accepts === "bytes" || spec.accepts === "audio")),
  );
}
