/** What a run says of itself at its end. */

import type { Receipt } from "../../peer/types";
import { h } from "../../ui/dom";
import { copyButton } from "../../ui/invite";
import { bytes, count } from "../../ui/numbers";
import { mark, type Slots } from "../../ui/peers";

export function receiptElement(receipt: Receipt, slots: Slots): HTMLElement {
  const { done, filtered, failed } = receipt.seqs;
  const figures: [string, string, boolean][] = [
    ["in", count(receipt.items_in), false],
    ["out", count(receipt.results_out), false],
    ["done", count(done), false],
    ["filtered", count(filtered), false],
    ["failed", count(failed), failed > 0],
    ["replayed", count(receipt.replayed), receipt.replayed > 0],
    ["doubles dropped", count(receipt.duplicates_dropped), receipt.duplicates_dropped > 0],
  ];
  const links = Object.entries(receipt.link_bytes);
  return h(
    "section",
    { "aria-label": "Receipt" },
    h(
      "div",
      { class: "panel-head" },
      h("h3", {}, "Receipt"),
      h("span", { class: "muted" }, `run ${receipt.run_id.slice(0, 8)}`),
      h(
        "span",
        { class: "spread" },
        copyButton("JSON", () => JSON.stringify(receipt, null, 2)),
      ),
    ),
    h("dl", { class: "figures" }, ...figures.map(([name, value, loud]) => pair(name, value, loud))),
    ...receipt.epochs.map((epoch) =>
      h(
        "p",
        { class: "epoch" },
        h("span", { class: "muted" }, `epoch ${epoch.epoch}, ${epoch.reason}: `),
        ...Object.entries(epoch.placement).map(([node, names]) => placed(node, names, slots)),
      ),
    ),
    links.length > 0 &&
      h(
        "p",
        { class: "epoch" },
        h("span", { class: "muted" }, "links: "),
        links.map(([ends, sent]) => `${ends.replace("->", " to ")} ${bytes(sent)}`).join(", "),
      ),
  );
}

function pair(name: string, value: string, loud: boolean): HTMLElement {
  return h("div", {}, h("dt", {}, name), h("dd", {}, loud ? h("b", {}, value) : value));
}

/** `driver` is the viewer, whose slot is the first. */
function placed(node: string, names: string[], slots: Slots): HTMLElement {
  const marks = names.flatMap((name) => [
    " ",
    name === "driver" ? mark(slots.own()) : mark(slots.of(name)),
    ` ${name === "driver" ? "this tab" : name}`,
  ]);
  return h("span", { class: "placed" }, h("b", {}, node), " on", ...marks);
}
