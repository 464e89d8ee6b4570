/** Where and why: of a selected node, every candidate and its cost; without one, the plan as a list. */

import type { Candidate, Graph } from "../run/graph";
import { figures, h, put } from "../ui/dom";
import { icon } from "../ui/icons";
import { runtimeName } from "../ui/machine";
import { duration, figure, plural } from "../ui/numbers";
import { mark } from "../ui/peers";
import type { LanePeer } from "./graph/state";
import type { Planned, State } from "./session/state";

export interface InspectorActions {
  select(node: string | null): void;
  pin(node: string, peer: string | null): void;
}

export class Inspector {
  readonly element = h("section", { class: "panel inspector", "aria-label": "Where and why" });
  #drawn: unknown[] = [];

  constructor(private readonly actions: InspectorActions) {}

  render(state: State, peers: readonly LanePeer[]): void {
    const times = state.selected ? state.run?.progress.node_ms[state.selected] : state.run?.progress.node_ms;
    const inputs = [state.planned, state.selected, state.pins, peers, times];
    if (inputs.every((input, index) => input === this.#drawn[index]) && this.#drawn.length > 0) return;
    this.#drawn = inputs;
    const { planned, selected } = state;
    if (!planned) put(this.element, h("div", { class: "panel-head" }, h("h2", {}, "Where and why")));
    else if (selected && planned.plan.why[selected]) put(this.element, ...this.#node(selected, planned, state, peers));
    else put(this.element, ...this.#list(planned, state, peers));
  }

  #node(id: string, planned: Planned, state: State, peers: readonly LanePeer[]): HTMLElement[] {
    const candidates = planned.plan.why[id] ?? [];
    const longest = Math.max(1e-9, ...candidates.map(termsTotal));
    const node = planned.graph.nodes.find((each) => each.id === id);
    const seat = peers.find((peer) => peer.peer === candidates.find((each) => each.chosen)?.peer);
    const close = h(
      "button",
      {
        class: "button quiet icon-only dense spread",
        type: "button",
        "aria-label": "Close",
        on: { click: () => this.actions.select(null) },
      },
      icon("cross"),
    );
    return [
      h(
        "div",
        { class: "panel-head" },
        h("span", { class: "block", "data-slot": seat?.slot.colour }, seat ? mark(seat.slot) : null),
        h("h2", {}, id),
        h("span", { class: "muted" }, node && node.node_type !== id ? node.node_type : "where and why"),
        close,
      ),
      h("p", { class: "sentence" }, ...sentence(candidates)),
      h("ul", { class: "candidates" }, ...candidates.map((each) => this.#candidate(id, each, longest, state, peers))),
      measured(id, state),
    ];
  }

  #candidate(id: string, each: Candidate, longest: number, state: State, peers: readonly LanePeer[]): HTMLElement {
    const peer = peers.find((other) => other.peer === each.peer);
    const cannot = each.lacks.length > 0;
    const pinned = state.pins[id] === each.name;
    const pin = h(
      "button",
      {
        class: "button dense",
        type: "button",
        "aria-pressed": String(pinned),
        on: { click: () => this.actions.pin(id, pinned ? null : each.name) },
      },
      icon("pin"),
      pinned ? "Unpin" : "Pin here",
    );
    const chosen = each.chosen ? h("span", { class: "chip filled" }, icon("check"), "chosen") : null;
    return h(
      "li",
      { class: "candidate", "data-slot": peer?.slot.colour },
      h(
        "div",
        { class: "candidate-head" },
        peer ? mark(peer.slot) : null,
        h(each.chosen ? "b" : "span", {}, each.name),
        each.runtime ? h("span", { class: "muted small" }, runtimeName(each.runtime)) : null,
        h(
          "span",
          { class: "spread" },
          cannot ? h("span", { class: "muted" }, "cannot run it") : (chosen ?? pin),
          each.chosen && pinned ? pin : null,
        ),
        each.ms === null ? null : h("b", { class: "ms" }, duration(each.ms)),
      ),
      cannot ? null : termsBar(each, longest),
      cannot ? h("p", { class: "small muted" }, each.lacks.join("; ")) : termsWords(each),
    );
  }

  /** The graph for those who do not look at it, and the overview for those who do. */
  #list(planned: Planned, state: State, peers: readonly LanePeer[]): HTMLElement[] {
    const { graph, plan } = planned;
    const used = new Set(
      Object.values(plan.steps.at(-1)?.nodes ?? {}).flatMap((node) => node.on.map((seat) => seat.peer)),
    );
    return [
      h("div", { class: "panel-head" }, h("h2", {}, "Where and why"), h("span", { class: "muted" }, "choose a node")),
      h(
        "p",
        { class: "sentence" },
        h("b", {}, plural(graph.nodes.length, "node")),
        " on ",
        h("b", {}, plural(used.size, "peer")),
        `; an item is expected to take `,
        h("b", {}, duration(plan.latency_ms)),
        ".",
      ),
      h("ul", { class: "node-list" }, ...graph.order.map((id) => this.#listed(id, planned, state, peers))),
    ];
  }

  #listed(id: string, { graph, plan }: Planned, state: State, peers: readonly LanePeer[]): HTMLElement {
    const seats = plan.steps.at(-1)?.nodes[id]?.on ?? [];
    const on = seats.map((seat) => peers.find((peer) => peer.peer === seat.peer)).filter((peer) => peer !== undefined);
    const p50 = state.run?.progress.node_ms[id]?.p50;
    const chosen = plan.why[id]?.find((candidate) => candidate.chosen);
    const words = [`on ${on.map((peer) => peer.name).join(" and ")}`];
    if (p50 !== undefined) words.push(duration(p50));
    words.push(feeds(graph, id));
    return h(
      "li",
      {},
      h(
        "button",
        { class: "listed", type: "button", on: { click: () => this.actions.select(id) } },
        ...on.map((peer) => mark(peer.slot)),
        h("span", {}, h("b", {}, id), h("span", { class: "muted" }, ` ${words.join(", ")}`)),
        chosen ? h("span", { class: "small muted reason" }, chosen.reason) : null,
      ),
    );
  }
}

function feeds(graph: Graph, id: string): string {
  const targets = graph.edges.filter((edge) => edge.from === id).map((edge) => edge.to ?? "the page");
  return `feeds ${targets.join(", ")}`;
}

/** "Runs on gpu-1: an item takes 216 ms with it there and 800 ms with ada." */
function sentence(candidates: readonly Candidate[]): (HTMLElement | string)[] {
  const chosen = candidates.filter((each) => each.chosen);
  const first = chosen[0];
  if (!first) return ["Not placed."];
  const names = chosen.flatMap((each, index) => [index > 0 ? " and " : "", h("b", {}, each.name)]);
  const next = candidates.find((each) => !each.chosen && each.ms !== null);
  if (first.ms === null) return ["Runs on ", ...names, `: ${first.reason}.`];
  if (!next || next.ms === null)
    return ["Runs on ", ...names, `, ${first.reason}: an item takes `, h("b", {}, duration(first.ms)), "."];
  const place = next.name === first.name && next.runtime ? runtimeName(next.runtime) : next.name;
  return [
    "Runs on ",
    ...names,
    ": an item takes ",
    h("b", {}, duration(first.ms)),
    " in all, and ",
    h("b", {}, duration(next.ms)),
    ` with it on ${place}.`,
  ];
}

const TERM_KINDS: Record<string, string> = {
  queue: "waits",
  startup: "waits",
  transfer: "travels",
  compute: "computes",
};

function termsTotal(candidate: Candidate): number {
  return Object.values(candidate.terms).reduce((sum, ms) => sum + ms, 0);
}

function termsBar(candidate: Candidate, longest: number): HTMLElement {
  const terms = Object.entries(candidate.terms).filter(([, ms]) => ms > 0);
  return h(
    "span",
    { class: "bar", "aria-hidden": "true" },
    ...terms.map(([term, ms]) =>
      h("i", { class: TERM_KINDS[term] ?? "waits", style: { width: `${((100 * ms) / longest).toFixed(2)}%` } }),
    ),
  );
}

function termsWords(candidate: Candidate): HTMLElement {
  const terms = Object.entries(candidate.terms).filter(([, ms]) => ms > 0);
  const words = terms.map(([term, ms]) => `${term} ${duration(ms)}`).join(", ");
  return h("p", { class: "small muted" }, [words, candidate.reason].filter((text) => text !== "").join(": "));
}

function measured(id: string, state: State): HTMLElement {
  const times = state.run?.progress.node_ms[id];
  if (!times) return h("p", { class: "small muted measured" }, "Not measured yet: the times are the planner's.");
  const list = figures([
    ["calls", figure(times.count)],
    ["p50", duration(times.p50)],
    ["p95", duration(times.p95)],
  ]);
  list.classList.add("measured");
  return list;
}
