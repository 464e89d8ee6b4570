/** The manifest's text, with its faults as a list; a click on a fault goes to its place in the text. */

import type { Fault } from "../../peer/types";
import { h, put } from "../../ui/dom";
import { icon } from "../../ui/icons";
import { plural } from "../../ui/numbers";
import type { State } from "../session/state";

const PAUSE_MS = 300;

export class Editor {
  readonly element: HTMLElement;
  #text: HTMLTextAreaElement;
  #faults = h("div", { class: "faults", role: "status" });
  #shown: State["obstacle"] | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly onText: (text: string) => void,
    onClose: () => void,
  ) {
    this.#text = h("textarea", {
      class: "manifest mono",
      "aria-label": "Manifest, YAML or JSON",
      spellcheck: "false",
      wrap: "off",
      on: { input: () => this.#typed() },
    });
    this.element = h(
      "section",
      { class: "panel editor", "aria-label": "Manifest" },
      h(
        "div",
        { class: "panel-head" },
        h("h2", {}, "Manifest"),
        h("span", { class: "muted" }, "YAML or JSON; planned as you type"),
        h(
          "button",
          {
            class: "button quiet icon-only dense spread",
            type: "button",
            "aria-label": "Close the editor",
            on: { click: onClose },
          },
          icon("cross"),
        ),
      ),
      h("div", { class: "editor-body" }, this.#text, this.#faults),
    );
  }

  render(state: State): void {
    if (document.activeElement !== this.#text && this.#text.value !== state.manifest) this.#text.value = state.manifest;
    if (this.#shown === state.obstacle) return;
    this.#shown = state.obstacle;
    const faults = state.obstacle?.kind === "faults" ? state.obstacle.faults : [];
    this.#text.setAttribute("aria-invalid", String(faults.length > 0));
    put(this.#faults, faults.length > 0 && faultList(faults, (path) => void this.#go(path)));
  }

  focus(): void {
    this.element.hidden = false;
    this.#text.focus();
  }

  #typed(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.onText(this.#text.value), PAUSE_MS);
  }

  async #go(path: string): Promise<void> {
    const { placeOf } = await import("./places");
    const [start, end] = placeOf(this.#text.value, path);
    this.#text.focus();
    this.#text.setSelectionRange(start, end);
    const line = this.#text.value.slice(0, start).split("\n").length;
    this.#text.scrollTop = Math.max(0, (line - 4) * 18);
  }
}

/** Every fault with its path; `onPath` makes the paths links. */
export function faultList(faults: readonly Fault[], onPath?: (path: string) => void): HTMLElement {
  const path = (fault: Fault) =>
    onPath
      ? h(
          "button",
          { class: "path mono", type: "button", on: { click: () => onPath(fault.path) } },
          fault.path || "manifest",
        )
      : h("code", { class: "path" }, fault.path || "manifest");
  return h(
    "div",
    {},
    h(
      "p",
      { class: "sentence" },
      h("b", {}, plural(faults.length, "fault")),
      " in the manifest; the graph is the last good one.",
    ),
    h("ul", { class: "fault-list" }, ...faults.map((fault) => h("li", {}, path(fault), h("span", {}, fault.message)))),
  );
}
