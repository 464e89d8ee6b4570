/** What a run says of itself at its end. */

import type { Receipt } from "../../peer/types";
import { type Child, figures, h } from "../../ui/dom";
import { copyButton } from "../../ui/invite";
import { bytes, count } from "../../ui/numbers";
import { mark, type Slots } from "../../ui/peers";

export function receiptElement(receipt: Receipt, slots: Slots): HTMLElement {
  const json = () => JSON.stringify(receipt, null, 2);
  const links = Object.entries(receipt.link_bytes).map(
    ([ends, sent]) => `${ends.replace("->", " to ")} ${bytes(sent)}`,
  );
  return h(
    "section",
    { "aria-label": "Receipt" },
    h(
      "div",
      { class: "panel-head" },
      h("h3", {}, "Receipt"),
      h("span", { class: "muted" }, `run ${receipt.run_id.slice(0, 8)}`),
      h("span", { class: "spread" }, copyButton("JSON", json)),
    ),
    figures(counts(receipt)),
    ...receipt.epochs.map(({ epoch, reason, placement }) => {
      const nodes = Object.entries(placement).map(([node, names]) => placed(node, names, slots));
      return h("p", { class: "epoch" }, h("span", { class: "muted" }, `epoch ${epoch}, ${reason}: `), ...nodes);
    }),
    links.length > 0 && h("p", { class: "epoch" }, h("span", { class: "muted" }, "links: "), links.join(", ")),
  );
}

/** What should be 0 is bold when it is not. */
function counts(receipt: Receipt): [string, Child][] {
  const { done, filtered, failed } = receipt.seqs;
  const loud = (value: number) => (value > 0 ? h("b", {}, count(value)) : "0");
  return [
    ["in", count(receipt.items_in)],
    ["out", count(receipt.results_out)],
    ["done", count(done)],
    ["filtered", count(filtered)],
    ["failed", loud(failed)],
    ["replayed", loud(receipt.replayed)],
    ["doubles dropped", loud(receipt.duplicates_dropped)],
  ];
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
