/** The page: the state, what can be done with it, and its views. */

import type { PeerApi, PeerRecord } from "../peer/types";
import type { PyodideProgress } from "../runtimes/pyodide";
import { h, put } from "../ui/dom";
import { mark, Slots } from "../ui/peers";
import { GraphBar } from "./graph/bar";
import type { View } from "./graph/layout";
import type { LanePeer } from "./graph/state";
import { GraphView } from "./graph/view";
import { Inspector } from "./inspector";
import { keyboard } from "./keys";
import { ResultsPanel } from "./results/panel";
import { follow, obstacleOf } from "./run";
import { RunBar } from "./setup/bar";
import { Editor } from "./setup/editor";
import { type Example, examples } from "./setup/examples";
import { Input } from "./setup/input";
import { isRunning, type State, Store } from "./state";
import { StatusLine } from "./status";

const PHONE = matchMedia("(max-width: 700px)");
const NARROW = matchMedia("(max-width: 1100px)");
const MAX_MANIFEST_CHARS = 1_048_576;
const REPLAN_MS = 400;

export class Page {
  readonly element: HTMLElement;
  #store: Store<State>;
  #example: Example | null = null;
  #slots: Slots;
  #peers: readonly LanePeer[] = [];
  #offers = "";
  #input = new Input(() => this.#store?.touch());
  #bar: RunBar;
  #graph = new GraphView((node) => this.#select(node));
  #graphBar = new GraphBar((view) => this.#store.set({ view }));
  #results: ResultsPanel;
  #inspector: Inspector;
  #editor: Editor;
  #tabs: HTMLElement;
  #panels: HTMLElement;
  #status: StatusLine;
  #planning = 0;
  #replan: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly peer: PeerApi,
    private readonly roster: HTMLElement,
  ) {
    this.#slots = new Slots(peer.name);
    this.#store = new Store<State>({
      title: "",
      manifest: "",
      planned: null,
      obstacle: null,
      planning: false,
      pins: {},
      selected: null,
      editing: false,
      view: "lanes",
      tab: "results",
      run: null,
      loading: null,
    });
    this.#bar = new RunBar(
      {
        choose: (example) => this.#choose(example),
        open: (file) => void this.#open(file),
        toggleEditor: () => this.#edit(!this.#store.value.editing),
        run: () => void this.#run(),
        cancel: () => this.#store.value.run?.cancel(),
      },
      this.#input,
    );
    this.#inspector = new Inspector({
      select: (node) => this.#select(node),
      pin: (node, name) => this.#pin(node, name),
    });
    this.#editor = new Editor(
      (text) => this.#setManifest(text),
      () => this.#edit(false),
    );
    this.#results = new ResultsPanel(this.#slots, () => this.#edit(true));
    this.#status = new StatusLine(peer);
    this.#tabs = h(
      "div",
      { class: "segments tabs", role: "group", "aria-label": "Below the graph" },
      ...(["results", "why"] as const).map((tab) =>
        h(
          "button",
          { type: "button", "data-tab": tab, on: { click: () => this.#store.set({ tab }) } },
          tab === "results" ? "Results" : "Where and why",
        ),
      ),
    );
    this.#panels = h(
      "div",
      { class: "panels" },
      this.#tabs,
      this.#editor.element,
      this.#results.element,
      this.#inspector.element,
    );
    const graph = h("section", { class: "graph", "aria-label": "Graph" }, this.#graphBar.element, this.#graph.element);
    this.element = h("main", { class: "page" }, this.#bar.element, graph, this.#panels, this.#status.element);
    this.#listen();
    this.#choose(examples[0]!);
  }

  #listen(): void {
    this.#peersChanged();
    this.peer.addEventListener("peers", () => {
      if (this.#peersChanged()) this.#planSoon();
      this.#store.touch();
    });
    this.peer.addEventListener("links", () => this.#store.touch());
    this.peer.addEventListener("pyodide", (event) => {
      const { state, loaded, total } = (event as CustomEvent<PyodideProgress>).detail;
      this.#store.set({ loading: state === "loading" && total > 0 ? loaded / total : null });
    });
    this.#store.onChange((state) => this.#render(state));
    new ResizeObserver(() => this.#store.touch()).observe(this.#graph.element);
    this.element.append(
      keyboard({
        run: () => void this.#run(),
        escape: () => this.#escape(),
        inInput: (target) => this.#input.element.contains(target),
      }),
    );
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      const file = event.dataTransfer?.files[0];
      if (file) void this.#open(file);
    });
  }

  /** True when somebody came or went, or offers something else. Lanes are in order of joining, the own first. */
  #peersChanged(): boolean {
    const workers = [...this.peer.peers.values()].filter(
      ({ peer, runtimes }) => peer !== this.peer.id && runtimes.length > 0,
    );
    const parts = seated(this.#store.value.run ? this.#store.value.planned : null);
    const before = this.#peers.map((peer) => [peer.peer, { ...peer, gone: true }] as const);
    const lanes = new Map<string, LanePeer>(before);
    for (const { peer, name } of [{ peer: this.peer.id, name: this.peer.name }, ...workers]) {
      lanes.set(peer, { peer, name, own: peer === this.peer.id, gone: false, slot: this.#slots.of(name) });
    }
    const next = [...lanes.values()].filter(({ peer, gone }) => !gone || parts.has(peer));
    const offers = JSON.stringify([next, workers.map(offer)]);
    if (offers === this.#offers) return false;
    this.#offers = offers;
    this.#peers = next;
    const living = next.filter((peer) => !peer.gone);
    put(
      this.roster,
      ...living.map((peer) => h("span", {}, mark(peer.slot), peer.own ? `${peer.name} (you)` : peer.name)),
    );
    return true;
  }

  #choose(example: Example): void {
    this.#example = example;
    this.#store.set({ title: example.title, pins: {}, selected: null, run: this.#ended() });
    this.#setManifest(example.text);
  }

  /** A sound is input, everything else a manifest. */
  async #open(file: File): Promise<void> {
    if (file.name.toLowerCase().endsWith(".wav")) return this.#input.take(file);
    if (file.size > MAX_MANIFEST_CHARS) {
      this.#store.set({ obstacle: { kind: "error", message: `${file.name} is too large for a manifest` } });
      return;
    }
    this.#example = null;
    this.#store.set({ title: file.name, pins: {}, selected: null, run: this.#ended() });
    this.#setManifest(await file.text());
  }

  /** A run that goes on keeps its results; those of an earlier one make room. */
  #ended(): State["run"] {
    return isRunning(this.#store.value) ? this.#store.value.run : null;
  }

  #setManifest(manifest: string): void {
    this.#store.set({ manifest });
    void this.#plan();
  }

  /** A run that is shown keeps its plan; the next run makes its own. */
  #planSoon(): void {
    if (this.#store.value.run && !this.#store.value.obstacle) return;
    clearTimeout(this.#replan);
    this.#replan = setTimeout(() => void this.#plan(), REPLAN_MS);
  }

  /** The latest request wins; without a plan the last good graph stays. */
  async #plan(): Promise<void> {
    const request = ++this.#planning;
    const { manifest, pins } = this.#store.value;
    this.#store.set({ planning: true });
    try {
      const planned = await this.peer.plan(manifest, pins);
      if (request === this.#planning) this.#store.set({ planned, obstacle: null, planning: false });
    } catch (error) {
      if (request === this.#planning) this.#store.set({ obstacle: obstacleOf(error), planning: false });
    }
  }

  async #run(): Promise<void> {
    const { value } = this.#store;
    if (isRunning(value) || value.obstacle || !value.planned) return;
    try {
      const items = await this.#input.items();
      await follow(this.peer, items, this.#store);
    } catch (error) {
      this.#input.complain(error instanceof Error ? error.message : String(error));
    }
  }

  #select(node: string | null): void {
    const again = node !== null && node === this.#store.value.selected;
    this.#store.set({ selected: again ? null : node, tab: node === null ? "results" : "why" });
  }

  #pin(node: string, name: string | null): void {
    const { [node]: _, ...others } = this.#store.value.pins;
    this.#store.set({ pins: name === null ? others : { ...others, [node]: name } });
    void this.#plan();
  }

  #edit(editing: boolean): void {
    this.#store.set({ editing, tab: "results" });
    if (editing) setTimeout(() => this.#editor.focus(), 50);
  }

  /** Esc closes what is open, then cancels, when asked twice. */
  #escape(): void {
    const { editing, selected } = this.#store.value;
    if (editing) this.#edit(false);
    else if (selected !== null) this.#select(null);
    else this.#bar.cancel();
  }

  #render(state: State): void {
    this.#input.offer(this.#example, takesBytes(state, this.peer.peers));
    this.#bar.render(state, this.#example);
    this.#renderGraph(state);
    this.#graphBar.render(state);
    this.#editor.render(state);
    this.#editor.element.hidden = !state.editing;
    this.#results.render(state, this.#peers);
    this.#inspector.render(state, this.#peers);
    this.#showTabs(state);
  }

  #renderGraph(state: State): void {
    const { planned, run } = state;
    const known = new Set(this.#peers.map(({ peer }) => peer));
    // a plan may name a peer that has just left: the next plan is on its way
    if (!planned || ![...seated(planned)].every((peer) => known.has(peer))) return;
    const running = isRunning(state);
    const view: View = state.view === "flow" ? "flow" : PHONE.matches ? "columns" : "rows";
    this.#graph.render({
      ...planned,
      peers: this.#peers,
      records: this.peer.peers,
      view,
      selected: state.selected,
      stale: state.obstacle !== null,
      source: this.#input.describe(),
      rates: run?.rates ?? null,
      running,
      itemsIn: run?.progress.items_in ?? 0,
      resultsOut: run?.progress.results_out ?? 0,
      links: this.peer.links,
      loading: state.loading,
      linkBytes: run?.receipt?.link_bytes ?? {},
    });
  }

  /** On a narrow screen only one of the two panels is there, beside the editor. */
  #showTabs(state: State): void {
    const one = NARROW.matches;
    this.#tabs.hidden = !one || state.editing;
    this.#results.element.hidden = state.editing || (one && state.tab !== "results");
    this.#inspector.element.hidden = one && (state.editing || state.tab !== "why");
    for (const button of this.#tabs.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.tab === state.tab));
    }
  }
}

function offer(record: PeerRecord): unknown {
  return [record.runtimes, record.types.map((type) => type.node_type), record.caps, record.pyodide];
}

/** The peers that have a part in a plan. */
function seated(planned: State["planned"]): Set<string> {
  const seats = Object.values(planned?.plan.steps.at(-1)?.nodes ?? {});
  return new Set(seats.flatMap((node) => node.on.map((seat) => seat.peer)));
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
