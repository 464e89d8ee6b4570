/** The bar over the graph: which pipeline, what goes in, how the run is doing, and the one button. */

import type { RunProgress } from "../../peer/types";
import { h, put, say } from "../../ui/dom";
import { icon } from "../../ui/icons";
import { clock, count, duration, plural } from "../../ui/numbers";
import { isRunning, type State } from "../session/state";
import { examples } from "./examples";
import type { Input } from "./input";

export interface BarActions {
  choose(example: string): void;
  open(file: File): void;
  edit(editing: boolean): void;
  run(): void;
  cancel(): void;
}

const OTHER = "other";
const ARMED_MS = 3000;

export class RunBar {
  readonly element: HTMLElement;
  #select: HTMLSelectElement;
  #edit: HTMLButtonElement;
  #state = h("div", { class: "run-state" });
  #counters = h("div", { class: "small muted counters" });
  #action = h("button", { class: "button", type: "button", on: { click: () => this.#act() } });
  #shown = "";
  #armed: ReturnType<typeof setTimeout> | undefined;
  #running = false;

  constructor(
    private readonly actions: BarActions,
    input: Input,
  ) {
    this.#select = h("select", { "aria-label": "Pipeline", on: { change: () => actions.choose(this.#select.value) } });
    this.#edit = h(
      "button",
      {
        class: "button quiet",
        type: "button",
        "aria-label": "Edit",
        on: { click: () => actions.edit(this.#edit.ariaPressed !== "true") },
      },
      icon("pencil"),
      h("span", { class: "wide" }, "Edit"),
    );
    const picker = h("input", { type: "file", hidden: true, accept: ".yaml,.yml,.json" });
    picker.addEventListener("change", () => picker.files?.[0] && actions.open(picker.files[0]));
    const open = h(
      "button",
      { class: "button quiet", type: "button", "aria-label": "Open a manifest", on: { click: () => picker.click() } },
      icon("folder"),
      h("span", { class: "wide" }, "Open"),
    );
    this.element = h(
      "section",
      { class: "run-bar", "aria-label": "Run" },
      h("div", { class: "picker" }, icon("workflow"), this.#select, icon("chevronDown")),
      h("div", { class: "manifest-actions" }, this.#edit, open, picker),
      h("span", { class: "rule wide" }),
      input.element,
      h("div", { class: "run-words" }, this.#state, this.#counters),
      this.#action,
    );
  }

  render(state: State): void {
    this.#options(state);
    this.#edit.setAttribute("aria-pressed", String(state.editing));
    this.#running = isRunning(state);
    this.#words(state);
    this.#button(state);
  }

  /** The first call asks, the second within three seconds cancels. */
  cancel(): void {
    if (!this.#running) return;
    if (this.#armed !== undefined) {
      this.#disarm();
      this.actions.cancel();
      return;
    }
    this.#armed = setTimeout(() => this.#disarm(), ARMED_MS);
    this.#face("square", "Again to cancel", "Esc");
  }

  #act(): void {
    if (this.#running) this.actions.cancel();
    else this.actions.run();
  }

  #disarm(): void {
    clearTimeout(this.#armed);
    this.#armed = undefined;
    this.#shown = "";
    if (this.#running) this.#face("square", "Cancel run", "Esc");
  }

  #options({ title, example }: State): void {
    const value = example?.name ?? OTHER;
    const key = `${value} ${title}`;
    if (this.#select.dataset.key === key) return;
    this.#select.dataset.key = key;
    const own = example ? [] : [h("option", { value: OTHER }, title)];
    put(this.#select, ...own, ...examples.map((each) => h("option", { value: each.name }, each.title)));
    this.#select.value = value;
  }

  #words(state: State): void {
    const { run } = state;
    if (!run) {
      const predicted =
        state.planned && !state.obstacle ? `planned: ${duration(state.planned.plan.latency_ms)} an item` : "";
      put(this.#state, state.obstacle ? obstacleWords(state) : "");
      say(this.#counters, state.planning && !state.planned ? "planning" : predicted);
      return;
    }
    const { progress } = run;
    put(this.#state, h("b", {}, stateWord(state)), " ", clockOf(progress));
    say(this.#counters, counters(progress));
  }

  #button(state: State): void {
    if (this.#running) {
      if (this.#armed === undefined) this.#face("square", "Cancel run", "Esc");
      return;
    }
    if (this.#armed !== undefined) this.#disarm();
    this.#face("play", state.run ? "Run again" : "Run", "", state.obstacle !== null || state.planned === null);
  }

  #face(name: "play" | "square", words: string, key: string, disabled = false): void {
    const face = `${name} ${words} ${disabled}`;
    if (this.#shown === face) return;
    this.#shown = face;
    this.#action.className = name === "play" ? "button primary action" : "button action";
    this.#action.disabled = disabled;
    put(this.#action, icon(name), words, key === "" ? null : h("kbd", { class: "wide" }, key));
  }
}

function obstacleWords(state: State): HTMLElement {
  const { obstacle } = state;
  if (obstacle?.kind === "faults") return h("b", {}, plural(obstacle.faults.length, "fault"));
  return h("b", {}, obstacle?.kind === "refused" ? "No plan fits" : "No plan");
}

const STATES: Record<RunProgress["state"], string> = {
  planning: "Planning",
  connecting: "Connecting",
  loading: "Loading",
  running: "Running",
  done: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
};

function stateWord(state: State): string {
  const { run } = state;
  if (!run) return "";
  if (run.receipt) return STATES[run.receipt.status];
  if (run.error !== null) return "Failed";
  return run.progress.trouble === null ? STATES[run.progress.state] : "Waiting";
}

function clockOf(progress: RunProgress): string {
  const ended = progress.state === "done" || progress.state === "failed" || progress.state === "cancelled";
  return ended ? `in ${duration(progress.elapsed_ms)}` : clock(progress.elapsed_ms);
}

function counters(progress: RunProgress): string {
  const { items_in, results_out, in_flight, errors } = progress;
  const words = `${count(items_in)} in, ${count(results_out)} out, ${count(in_flight)} in flight, ${plural(errors, "error")}`;
  return progress.state === "loading" || progress.state === "connecting" ? `${words}; ${progress.detail}` : words;
}
