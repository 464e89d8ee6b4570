/** What happened: the strip for the last loss, and the list of events, newest first. */

import { figures, h, put } from "../ui/dom";
import { type IconName, icon } from "../ui/icons";
import { plural } from "../ui/numbers";
import { mark, type Slots } from "../ui/peers";
import { severity } from "./mesh";
import type { RoomPeer, RoomView } from "./room";

const MOST_SHOWN = 60;

const ICONS: Record<string, IconName> = {
  joined: "link",
  left: "unplug",
  lost: "unplug",
  "run-started": "play",
  "run-ended": "check",
};

export class EventsPanel {
  readonly element: HTMLElement;
  #list = h("ol", { class: "event-list", tabindex: 0, "aria-label": "Events, newest first" });

  constructor() {
    this.element = h(
      "section",
      { class: "panel events", "aria-label": "Events" },
      h("div", { class: "panel-head" }, h("h2", {}, "Events")),
      this.#list,
    );
  }

  render(room: RoomView): void {
    if (room.events.length === 0) {
      put(this.#list, h("li", { class: "muted" }, "Nothing happened yet."));
      return;
    }
    const newest = room.events.slice(-MOST_SHOWN).reverse();
    put(
      this.#list,
      ...newest.map((event) =>
        h(
          "li",
          { class: event.kind === "lost" || /: failed/.test(event.text) ? "loud" : "" },
          h("time", { class: "muted" }, new Date(event.t * 1000).toLocaleTimeString("en-GB")),
          icon(/: (failed|cancelled)/.test(event.text) ? "cross" : (ICONS[event.kind] ?? "circle")),
          h("span", {}, event.text),
        ),
      ),
    );
  }
}

/** In red when work was lost with the peer, in ink when it only went. Stays until it is dismissed. */
export class Incident {
  readonly element = h("section", { class: "strip", role: "status", "aria-label": "Incident", hidden: true });
  #shown: string | null = null;
  #dismissed = new Set<string>();

  constructor(private readonly slots: Slots) {}

  render(room: RoomView, now: number): void {
    const gone = [...room.peers.values()].filter((peer) => peer.gone && !this.#dismissed.has(keyOf(peer)));
    const worst = gone.sort((a, b) => rank(b) - rank(a))[0];
    this.element.hidden = worst === undefined;
    const seconds = worst ? Math.floor((now - worst.gone!.at) / 1000) : 0;
    const shown = worst ? keyOf(worst) : null;
    if (worst && shown !== this.#shown) this.#draw(worst);
    this.#shown = shown;
    const age = this.element.querySelector(".age");
    if (age && age.textContent !== `${seconds} s ago`) age.textContent = `${seconds} s ago`;
  }

  #draw(peer: RoomPeer): void {
    const word = severity(peer);
    const { held, links } = peer.gone!;
    const age = h("b", { class: "age", "aria-live": "off" });
    const dismiss = () => {
      this.#dismissed.add(keyOf(peer));
      this.element.hidden = true;
    };
    this.element.className = `strip ${word}`;
    put(
      this.element,
      h("div", { class: "strip-mark" }, icon("unplug"), `peer ${word}`),
      mark(this.slots.of(peer.record.name), { large: true }),
      h(
        "div",
        { class: "strip-words" },
        h("p", { class: "sentence" }, h("b", {}, peer.record.name), ` ${howItWent(peer)} `, age, "."),
        h("p", { class: "small muted" }, consequence(peer)),
      ),
      figures([
        ["nodes it held", h("b", {}, held.flatMap(({ nodes }) => nodes).length)],
        ["runs it was in", h("b", {}, held.length)],
        ["links cut", h("b", {}, links.length)],
      ]),
      h(
        "button",
        { class: "button quiet icon-only dense", type: "button", "aria-label": "Dismiss", on: { click: dismiss } },
        icon("cross"),
      ),
    );
  }
}

function keyOf(peer: RoomPeer): string {
  return `${peer.record.peer} ${peer.gone?.at}`;
}

function rank(peer: RoomPeer): number {
  return (severity(peer) === "lost" ? 1e15 : 0) + peer.gone!.at;
}

function howItWent(peer: RoomPeer): string {
  if (peer.gone!.reason === "silent") return "went silent";
  return severity(peer) === "lost" ? "was lost" : "left";
}

function consequence(peer: RoomPeer): string {
  const { held } = peer.gone!;
  if (held.length === 0) return "It held nothing of any run.";
  const words = held.map(({ run, nodes }) => `${plural(nodes.length, "node")} of ${run} (${nodes.join(", ")})`);
  return `It held ${words.join("; ")}.`;
}
