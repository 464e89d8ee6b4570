/** What stands in the way, a sentence first: faults, a plan that nobody fits, a run that broke off. */

import type { Refusal } from "../../peer/types";
import { h } from "../../ui/dom";
import { icon } from "../../ui/icons";
import { mark } from "../../ui/peers";
import type { LanePeer } from "../graph/state";
import type { Obstacle } from "../session/state";
import { faultList } from "../setup/editor";

export function obstacleElement(obstacle: Obstacle, peers: readonly LanePeer[], onEdit: () => void): HTMLElement {
  if (obstacle.kind === "error") return incident(obstacle.message);
  if (obstacle.kind === "refused") return refusalTable(obstacle.message, obstacle.refusals, peers);
  const edit = h(
    "button",
    { class: "button dense", type: "button", on: { click: onEdit } },
    icon("pencil"),
    "Edit the manifest",
  );
  return h("div", { role: "status" }, faultList(obstacle.faults), edit);
}

/** The strip in red: something was lost or failed. */
export function incident(message: string): HTMLElement {
  return h(
    "div",
    { class: "incident", role: "alert" },
    h("span", { class: "incident-mark" }, icon("unplug")),
    h("p", { class: "sentence" }, message),
  );
}

/** Every peer, and what each node misses there. */
function refusalTable(message: string, refusals: readonly Refusal[], peers: readonly LanePeer[]): HTMLElement {
  const rows = refusals.map((refusal) => {
    const peer = peers.find((each) => each.peer === refusal.peer || each.name === refusal.peer);
    return h(
      "tr",
      {},
      h("td", {}, h("b", {}, refusal.node)),
      h("td", { class: "peer" }, peer ? mark(peer.slot) : null, " ", peer?.name ?? refusal.peer),
      h("td", {}, "cannot"),
      h("td", {}, refusal.lacks.join("; ")),
    );
  });
  const head = ["node", "peer", "", "what it lacks"].map((word) => h("th", { scope: "col" }, word));
  return h(
    "div",
    { role: "status" },
    h("p", { class: "sentence" }, h("b", {}, "No plan fits. "), message.split("\n")[0]),
    h("table", { class: "refusals" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
  );
}
