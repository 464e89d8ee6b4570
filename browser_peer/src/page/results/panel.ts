/** The results as they come: in order, newest first, the last 200 rows; failed items stand in their place. */

import { h, put, say } from "../../ui/dom";
import { rights, workerLine } from "../../ui/invite";
import { count, duration, plural } from "../../ui/numbers";
import type { Slots } from "../../ui/peers";
import type { LanePeer } from "../graph/state";
import { isRunning, ROWS_KEPT, type Row, type RunState, type State } from "../session/state";
import { LossStrip } from "./loss";
import { incident, obstacleElement } from "./obstacle";
import { receiptElement } from "./receipt";
import { valueElement } from "./value";

const ANNOUNCE_MS = 5000;
/** While a run goes on, rows are added at most this often. */
const REDRAW_MS = 250;
/** Scrolled further down than this, somebody is reading. */
const READING_PX = 8;

export class ResultsPanel {
  readonly element: HTMLElement;
  #about = h("span", { class: "muted" });
  #loss = new LossStrip();
  #notice = h("div", { class: "notice" });
  #head = h(
    "div",
    { class: "result head small muted", hidden: true },
    h("span", {}, "seq"),
    h("span", {}, "value"),
    h("span", {}, "took"),
  );
  #rows = h("div", { class: "rows", role: "list", "aria-label": "Results" });
  #underway = h("div", { class: "result underway muted", hidden: true });
  #more = h("button", { class: "button dense more", type: "button", hidden: true, on: { click: () => this.#toTop() } });
  #receipt = h("div", { class: "receipt" });
  #scroll = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Results and receipt" });
  #log = h("div", { class: "unseen", role: "log" });
  /** Id of the run whose rows are shown. */
  #run: string | undefined;
  #drawn = 0;
  #announced = 0;
  #noticed: unknown;
  #received: unknown;
  #drawnAt = 0;
  #last: [State, readonly LanePeer[]] | null = null;

  constructor(
    private readonly slots: Slots,
    private readonly onEdit: () => void,
  ) {
    this.#scroll.addEventListener("scroll", () => this.#backOnTop());
    this.#scroll.append(this.#loss.element, this.#notice, this.#head, this.#underway, this.#rows, this.#receipt);
    this.element = h(
      "section",
      { class: "panel results", "aria-label": "Results" },
      h("div", { class: "panel-head" }, h("h2", {}, "Results"), this.#about, this.#more, barLegend()),
      this.#scroll,
      this.#log,
    );
  }

  render(state: State, peers: readonly LanePeer[]): void {
    const { run } = state;
    this.#last = [state, peers];
    if (run?.id !== this.#run) this.#start(run?.id);
    this.#loss.render(run === null || run.error !== null ? null : run.progress);
    this.#showNotice(state, peers);
    if (!run) {
      say(this.#about, "");
      return;
    }
    say(
      this.#about,
      isRunning(state) || run.total === 0 ? "in order, newest first" : `${count(run.total)}, in order, newest first`,
    );
    this.#showUnderway(state, run);
    if (this.#received !== run.receipt) this.#receive(run);
    this.#addRows(run, state, peers);
    this.#announce(run);
  }

  /** The medians are final now: rows that nobody reads are drawn anew with them. */
  #receive(run: RunState): void {
    this.#received = run.receipt;
    put(this.#receipt, run.receipt && receiptElement(run.receipt, this.slots));
    if (this.#scroll.scrollTop > READING_PX) return;
    this.#drawn = 0;
    put(this.#rows);
  }

  #start(run: string | undefined): void {
    this.#run = run;
    this.#drawnAt = 0;
    this.#drawn = 0;
    this.#received = null;
    put(this.#rows);
    put(this.#receipt);
    this.#head.hidden = true;
    this.#underway.hidden = true;
  }

  #showNotice({ obstacle, run }: State, peers: readonly LanePeer[]): void {
    const reason = run?.error ?? obstacle ?? (run ? null : peers.length > 1 ? "empty" : "alone");
    if (this.#noticed === reason) return;
    this.#noticed = reason;
    if (run?.error) put(this.#notice, incident(run.error));
    else if (obstacle) put(this.#notice, obstacleElement(obstacle, peers, this.onEdit));
    else if (run) put(this.#notice);
    else put(this.#notice, nothingYet(), peers.length === 1 && alone());
  }

  #showUnderway(state: State, run: RunState): void {
    const waiting = isRunning(state) ? run.progress.in_flight : 0;
    this.#underway.hidden = waiting === 0;
    if (waiting === 0) return;
    const first = run.progress.items_in - waiting;
    put(this.#underway, h("span", { class: "seq" }, count(first)), `${plural(waiting, "item")} under way`);
  }

  /** New rows go on top, unless somebody reads further down. */
  #addRows(run: RunState, state: State, peers: readonly LanePeer[]): void {
    const fresh = run.total - this.#drawn;
    const reading = this.#scroll.scrollTop > READING_PX;
    this.#more.hidden = !reading || fresh === 0;
    if (fresh === 0 || (isRunning(state) && Date.now() - this.#drawnAt < REDRAW_MS)) return;
    say(this.#more, `${count(fresh)} new`);
    if (reading && fresh < ROWS_KEPT) return;
    this.#head.hidden = false;
    this.#drawnAt = Date.now();
    this.#drawn = run.total;
    const rows = run.rows.slice(-fresh);
    const longest = Math.max(1, ...run.rows.map((row) => (row.kind === "result" ? (row.tookMs ?? 0) : 0)));
    this.#rows.style.setProperty("--ms", `${100 / longest}%`);
    this.#rows.prepend(...rows.reverse().map((row) => rowElement(row, state, peers)));
    while (this.#rows.childElementCount > ROWS_KEPT) this.#rows.lastElementChild!.remove();
  }

  #toTop(): void {
    this.#scroll.scrollTop = 0;
    this.#backOnTop();
  }

  #backOnTop(): void {
    if (this.#scroll.scrollTop <= READING_PX && !this.#more.hidden && this.#last) this.render(...this.#last);
  }

  #announce(run: RunState): void {
    const now = Date.now();
    if (run.total === 0 || (now - this.#announced < ANNOUNCE_MS && !run.receipt)) return;
    this.#announced = now;
    const last = run.rows.at(-1);
    say(
      this.#log,
      `${plural(run.total, "result")}, the last of item ${last?.kind === "result" ? last.result.seq : last?.failure.seq}`,
    );
  }
}

function nothingYet(): HTMLElement {
  return h("p", { class: "sentence muted" }, "No run yet. Results appear here, in order, as they come.");
}

/** Nobody else has joined: what works already, and the line that brings others in. */
function alone(): HTMLElement {
  return h(
    "div",
    { class: "alone-card" },
    h("h3", {}, "Only this tab is here"),
    h(
      "p",
      { class: "muted" },
      "Pipelines run in the tab alone. To lend a server or a GPU box, run one line there. No port needs to be open.",
    ),
    rights(location).includes("work") && workerLine(location.href),
  );
}

function barLegend(): HTMLElement {
  const entry = (kind: string, words: string) =>
    h("span", {}, h("span", { class: "bar" }, h("i", { class: kind })), words);
  return h(
    "div",
    {
      class: "legend spread",
      title: "Computing is the median of each node; the rest of an item's time is waiting and travelling",
    },
    entry("waits", "waits, travels"),
    entry("computes", "computes"),
  );
}

function rowElement(row: Row, state: State, peers: readonly LanePeer[]): HTMLElement {
  if (row.kind === "failure") {
    const { seq, node, peer, cause } = row.failure;
    const [first, ...rest] = cause.trim().split("\n");
    return h(
      "div",
      { class: "result failed", role: "listitem" },
      h("span", { class: "seq" }, count(seq)),
      h(
        "div",
        { class: "cause" },
        h("b", { class: "danger" }, `${node} failed on ${peer}: `),
        rest.length === 0
          ? first
          : h("details", {}, h("summary", {}, first), h("pre", { class: "mono" }, rest.join("\n"))),
      ),
    );
  }
  const { result, tookMs } = row;
  return h(
    "div",
    { class: "result", role: "listitem" },
    h("span", { class: "seq" }, count(result.seq), result.part > 0 ? h("small", {}, ` part ${result.part}`) : null),
    valueElement(result.payload),
    h("span", { class: "took" }, tookMs === null ? "" : duration(tookMs)),
    tookMs === null ? null : timeBar(tookMs, state, peers),
  );
}

/** What an item's time was spent on: each node's median in its peer's colour, and the rest. `--ms` is the scale. */
function timeBar(tookMs: number, state: State, peers: readonly LanePeer[]): HTMLElement {
  const seats = state.planned?.plan.steps.at(-1)?.nodes ?? {};
  const parts = Object.entries(state.run?.progress.node_ms ?? {}).map(([node, times]) => ({
    ms: times.p50,
    slot: peers.find((peer) => peer.peer === seats[node]?.on[0]?.peer)?.slot.colour ?? 1,
  }));
  const computed = parts.reduce((sum, part) => sum + part.ms, 0);
  const fit = Math.min(1, tookMs / Math.max(computed, 1e-9));
  const width = (ms: number) => ({ width: `calc(${ms.toFixed(4)} * var(--ms))` });
  const rest = tookMs - computed * fit;
  return h(
    "span",
    { class: "bar", "aria-hidden": "true" },
    rest / tookMs > 0.01 && h("i", { class: "waits", style: width(rest) }),
    ...parts.map(({ ms, slot }) => h("i", { class: "computes", "data-slot": slot, style: width(ms * fit) })),
  );
}
