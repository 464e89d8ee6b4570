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
    ...history(receipt, slots),
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

/** The first epoch says where every node was; later ones, and the moves within each, what changed. */
function history({ epochs, moves }: Receipt, slots: Slots): HTMLElement[] {
  const lines: HTMLElement[] = [];
  let before: EpochRecord | MoveRecord | undefined;
  for (const epoch of epochs) {
    const loss = before && h("span", { class: "danger" }, `${epoch.reason}; `);
    lines.push(line(`epoch ${epoch.epoch}: `, loss, changes(before, epoch, slots)));
    before = epoch;
    for (const move of moves.filter((each) => each.epoch === epoch.epoch)) {
      lines.push(line(`from item ${count(move.from_seq)} on: `, `${move.reason}; `, changes(before, move, slots)));
      before = move;
    }
  }
  return lines;
}

function line(when: string, reason: Child, places: Child[]): HTMLElement {
  return h("p", { class: "epoch" }, h("span", { class: "muted" }, when), reason, ...places);
}

function changes(before: EpochRecord | MoveRecord | undefined, after: EpochRecord | MoveRecord, slots: Slots): Child[] {
  const changed = before && new Set([...moved(before, after).values()].flat());
  const nodes = Object.entries(after.placement)
    .filter(([node]) => changed?.has(node) !== false)
    .map(([node, names]) => placed(node, names, before ? "moved to" : "on", slots));
  return nodes.length > 0 ? nodes : ["every node stays where it was"];
}

/** `driver` is the viewer, whose slot is the first. */
function placed(node: string, names: readonly string[], verb: string, slots: Slots): HTMLElement {
  const peers = names.flatMap((name) => [
    " ",
    h("span", { class: "seat" }, markOf(name, slots), ` ${peerWords(name)}`),
  ]);
  return h("span", { class: "placed" }, h("b", {}, node), ` ${verb}`, ...peers);
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
