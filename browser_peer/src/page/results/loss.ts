/** The strip that says that a peer was lost from the run, and how the run goes on. It stays until it is dismissed. */

import type { RunProgress } from "../../peer/types";
import { figures, h, put, say } from "../../ui/dom";
import { icon } from "../../ui/icons";
import { count } from "../../ui/numbers";
import { lossWords } from "./changes";

const NAMES = ["replayed", "doubles dropped", "epoch"];

export class LossStrip {
  readonly element: HTMLElement;
  #words = h("p", { class: "sentence", role: "status" });
  #figures = h("div", { class: "incident-figures" });
  #dismissed = "";

  constructor() {
    const dismiss = h(
      "button",
      { class: "button quiet dense", type: "button", "aria-label": "Dismiss", on: { click: () => this.#dismiss() } },
      icon("cross"),
    );
    this.element = h(
      "div",
      { class: "incident loss", hidden: true },
      h("span", { class: "incident-mark" }, icon("unplug")),
      h("div", { class: "incident-words" }, this.#words, this.#figures),
      dismiss,
    );
  }

  render(progress: RunProgress | null): void {
    const words = progress === null ? "" : lossWords(progress);
    this.element.hidden = progress === null || words === "" || words === this.#dismissed;
    say(this.#words, words);
    if (progress === null || this.element.hidden) return;
    this.#figures.hidden = progress.trouble !== null; // nothing is done about it yet
    const { replayed, duplicates_dropped, epochs } = progress;
    const shown = [count(replayed), count(duplicates_dropped), `${epochs.length - 1} to ${epochs.length}`];
    if (this.#figures.dataset.shown === shown.join()) return;
    this.#figures.dataset.shown = shown.join();
    put(this.#figures, figures(NAMES.map((name, index) => [name, shown[index]])));
  }

  #dismiss(): void {
    this.#dismissed = this.#words.textContent ?? "";
    this.element.hidden = true;
  }
}
