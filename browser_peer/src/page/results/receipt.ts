/** What a run says of itself at its end. */

import type { EpochRecord, MoveRecord, Receipt } from "../../peer/types";
import { type Child, figures, h } from "../../ui/dom";
import { copyButton } from "../../ui/invite";
import { bytes, count, duration, plural } from "../../ui/numbers";
import { mark, type Slots } from "../../ui/peers";
import { moved, peerWords } from "./changes";

export function receiptElement(receipt: Receipt, slots: Slots): HTMLElement {
  const json = () => JSON.stringify(receipt, null, 2);
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
    h("p", { class: "sentence" }, sentence(receipt)),
    figures(counts(receipt)),
    ...receipt.epochs.map((epoch, index) => epochLine(epoch, receipt.epochs[index - 1], slots)),
    ...receipt.moves.map((move) => moveLine(move, slots)),
    h("div", { class: "measures" }, nodeTable(receipt), linkTable(receipt, slots)),
  );
}

function sentence({ status, items_in, results_out, epochs, reason }: Receipt): string {
  const sums = `${plural(items_in, "item")} in, ${plural(results_out, "result")} out`;
  if (status !== "done") return `${sums}, then it ${status === "failed" ? `failed: ${reason}` : "was cancelled"}`;
  const losses = epochs.length - 1;
  if (losses === 0) return `${sums}, in order.`;
  return `${sums}, in order: ${plural(losses, "loss", "losses")} on the way, nothing missing, nothing twice.`;
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
    ["dropped", loud(receipt.dropped)],
    ["given up", loud(receipt.cancelled)],
    ["replayed", loud(receipt.replayed)],
    ["doubles dropped", loud(receipt.duplicates_dropped)],
  ];
}

/** The first epoch says where every node was, the others what changed. */
function epochLine(epoch: EpochRecord, before: EpochRecord | undefined, slots: Slots): HTMLElement {
  const changed = before && new Set([...moved(before, epoch).values()].flat());
  const nodes = Object.entries(epoch.placement)
    .filter(([node]) => changed?.has(node) !== false)
    .map(([node, names]) => placed(node, names, before ? "moved to" : "on", slots));
  return h(
    "p",
    { class: "epoch" },
    h("span", { class: "muted" }, `epoch ${epoch.epoch}: `),
    before ? h("span", { class: "danger" }, `${epoch.reason}; `) : null,
    ...(nodes.length > 0 ? nodes : ["every node stays where it was"]),
  );
}

/** Nodes that moved within an epoch. */
function moveLine({ from_seq, reason, placement }: MoveRecord, slots: Slots): HTMLElement {
  const nodes = Object.entries(placement).map(([node, names]) => placed(node, names, "on", slots));
  return h(
    "p",
    { class: "epoch" },
    h("span", { class: "muted" }, `from seq ${count(from_seq)}, ${reason}: `),
    ...nodes,
  );
}

/** `driver` is the viewer, whose slot is the first. */
function placed(node: string, names: readonly string[], verb: string, slots: Slots): HTMLElement {
  const marks = names.flatMap((name) => [" ", markOf(name, slots), ` ${peerWords(name)}`]);
  return h("span", { class: "placed" }, h("b", {}, node), ` ${verb}`, ...marks);
}

function markOf(name: string, slots: Slots): SVGSVGElement {
  return mark(name === "driver" ? slots.own() : slots.of(name));
}

function nodeTable({ node_ms, execution_order }: Receipt): HTMLElement | null {
  const known = execution_order.flatMap((node) => {
    const times = node_ms[node];
    return times === undefined ? [] : [[node, count(times.count), duration(times.p50), duration(times.p95)]];
  });
  return known.length === 0 ? null : table("Time per node", ["node", "calls", "p50", "p95"], known);
}

function linkTable({ link_bytes }: Receipt, slots: Slots): HTMLElement | null {
  const rows = Object.entries(link_bytes).map(([link, sent]) => {
    const ends = link.split("->").flatMap((name) => [" to ", markOf(name, slots), ` ${peerWords(name)}`]);
    return [h("span", {}, ...ends.slice(1)), bytes(sent)];
  });
  return rows.length === 0 ? null : table("Bytes per link", ["link", "sent"], rows);
}

function table(title: string, head: readonly string[], rows: readonly (readonly Child[])[]): HTMLElement {
  return h(
    "table",
    { class: "measure" },
    h("caption", {}, title),
    h("thead", {}, h("tr", {}, ...head.map((word) => h("th", { scope: "col" }, word)))),
    h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell) => h("td", {}, cell))))),
  );
}
