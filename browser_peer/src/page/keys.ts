/** The keyboard: Enter runs, Esc steps back, `?` lists the keys. Arrows belong to the graph, digits to the screens. */

import { h } from "../ui/dom";
import { typing } from "../ui/shell";

export interface KeyActions {
  run(): void;
  escape(): void;
  inInput(target: Node): boolean;
}

const KEYS: [string, string][] = [
  ["Enter", "run"],
  ["Ctrl Enter", "run from anywhere"],
  ["Esc", "close what is open; twice: cancel the run"],
  ["Arrows", "walk the graph: along the wires, and within a column"],
  ["Enter on a node", "where and why"],
  ["1 2", "the screens"],
  ["?", "these keys"],
];

/** Listens to the document; answers the list of keys, for the page to hold. */
export function keyboard(actions: KeyActions): HTMLElement {
  const list = h(
    "div",
    { class: "popover corner", popover: "auto", "aria-label": "Keys" },
    h("h2", {}, "Keys"),
    h("dl", { class: "keys" }, ...KEYS.flatMap(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)])),
  );
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !typing(event)) list.togglePopover();
    else if (event.key === "Escape" && !list.matches(":popover-open")) actions.escape();
    else if (event.key === "Enter" && enterRuns(event, actions)) actions.run();
  });
  return list;
}

/** Enter on a button or in the editor is theirs. */
function enterRuns(event: KeyboardEvent, actions: KeyActions): boolean {
  const { target } = event;
  return (
    event.ctrlKey || target === document.body || (typing(event) && target instanceof Node && actions.inInput(target))
  );
}
