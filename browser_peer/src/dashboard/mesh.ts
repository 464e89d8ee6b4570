/** The mesh: a card for each peer at its place, and the links with their rate and round trip; on a phone also as a list. */

import type { LinkState } from "../protocol/signaling";
import { h, put, svg } from "../ui/dom";
import { icon } from "../ui/icons";
import { describePeer, loadPips } from "../ui/machine";
import { bytes, duration, percent, plural } from "../ui/numbers";
import { mark, type Slots } from "../ui/peers";
import { type Card, lineBetween, lineWidth, places, wordsAt } from "./picture";
import type { RoomPeer, RoomView } from "./room";

type Form = "map" | "list";

const MOST_CHIPS = 4;

export class MeshPanel {
  readonly element: HTMLElement;
  #about = h("span", { class: "muted" });
  #body = h("div", { class: "mesh-body" });
  #buttons: HTMLButtonElement[];
  #form: Form = matchMedia("(max-width: 700px)").matches ? "list" : "map";

  constructor(
    private readonly slots: Slots,
    private readonly onForm: () => void,
  ) {
    this.#buttons = (["list", "map"] as const).map((form) =>
      h(
        "button",
        { type: "button", "data-form": form, on: { click: () => this.#choose(form) } },
        form === "list" ? "List" : "Map",
      ),
    );
    this.element = h(
      "section",
      { class: "panel mesh", "aria-label": "Mesh" },
      h(
        "div",
        { class: "panel-head" },
        h("h2", {}, "Mesh"),
        this.#about,
        h("span", { class: "spread" }),
        legend(),
        h("div", { class: "segments dense", role: "group", "aria-label": "Mesh as" }, ...this.#buttons),
      ),
      this.#body,
    );
  }

  render(room: RoomView, now: number): void {
    for (const button of this.#buttons) button.setAttribute("aria-pressed", String(button.dataset.form === this.#form));
    const peers = [...room.peers.values()].sort((a, b) => a.seat - b.seat);
    const live = peers.filter((peer) => !peer.gone).length;
    const cut = peers.reduce((sum, peer) => sum + (peer.gone?.links.length ?? 0), 0);
    this.#about.textContent = `${plural(live, "peer")}, ${plural(room.links.length, "link")}${cut > 0 ? `, ${cut} cut` : ""}`;
    if (peers.length === 0) put(this.#body, h("p", { class: "sentence muted" }, "Nobody is here yet."));
    else if (this.#form === "list") put(this.#body, peerList(room, peers, this.slots, now));
    else put(this.#body, this.#map(room, peers, now));
  }

  #choose(form: Form): void {
    this.#form = form;
    this.onForm();
  }

  #map(room: RoomView, peers: RoomPeer[], now: number): HTMLElement {
    const seats = Math.max(...peers.map((peer) => peer.seat)) + 1;
    const where = places(this.#body.clientWidth, seats);
    const cards = new Map(peers.map((peer) => [peer.record.peer, where.at(peer.seat)]));
    const cut = peers.flatMap((peer) => peer.gone?.links ?? []);
    const lines = [
      ...room.links.map((link) => ({ link, gone: false })),
      ...cut.map((link) => ({ link, gone: true })),
    ].filter(({ link }) => cards.has(link.a) && cards.has(link.b));
    const drawn = lines.map(({ link, gone }) => drawLink(link, gone, cards.get(link.a)!, cards.get(link.b)!));
    return h(
      "div",
      { class: "map", style: { height: `${where.height}px` } },
      svg(
        "svg",
        { width: where.width, height: where.height, "aria-hidden": "true" },
        ...drawn.flatMap(({ shapes }) => shapes),
      ),
      ...drawn.flatMap(({ words }) => words),
      ...peers.map((peer) => this.#card(room, peer, where.at(peer.seat), now)),
    );
  }

  #card(room: RoomView, peer: RoomPeer, card: Card, now: number): HTMLElement {
    const slot = this.slots.of(peer.record.name);
    return h(
      "article",
      {
        class: `card tint${peer.gone ? ` gone ${severity(peer)}` : ""}`,
        "data-slot": slot.colour,
        "data-peer": peer.record.name,
        style: { left: `${card.x}px`, top: `${card.y}px`, width: `${card.width}px`, height: `${card.height}px` },
      },
      h(
        "div",
        { class: "card-head" },
        mark(slot, { large: true, hollow: peer.gone !== null }),
        h("b", { title: peer.record.name }, peer.record.name),
        peer.gone
          ? goneChip(peer)
          : h("span", { class: "load small muted" }, loadPips(peer.record), ` ${percent(peer.record.load)}`),
      ),
      ...(peer.gone ? goneWords(peer, now) : liveWords(room, peer)),
    );
  }
}

/** Whether work was lost with it, or it only went. */
export function severity(peer: RoomPeer): "lost" | "left" {
  return peer.gone && (peer.gone.held.length > 0 || peer.gone.reason !== "closed") ? "lost" : "left";
}

function goneChip(peer: RoomPeer): HTMLElement {
  const word = severity(peer);
  return h("span", { class: word === "lost" ? "chip lost" : "chip" }, word);
}

function goneWords(peer: RoomPeer, now: number): HTMLElement[] {
  const nodes = peer.gone!.held.flatMap(({ nodes }) => nodes);
  return [
    h("div", { class: "small" }, peer.gone!.reason === "closed" ? "its connection closed" : peer.gone!.reason),
    h("div", { class: "small" }, h("b", {}, `last heard ${Math.floor((now - peer.gone!.at) / 1000)} s ago`)),
    h("div", { class: "small" }, nodes.length > 0 ? `it held ${nodes.join(", ")}` : "it held nothing"),
  ];
}

function liveWords(room: RoomView, peer: RoomPeer): HTMLElement[] {
  const [machine, offers] = describePeer(peer.record);
  const nodes = room.holds(peer.record.name).flatMap(({ nodes }) => nodes);
  const shown =
    nodes.length > MOST_CHIPS ? [...nodes.slice(0, MOST_CHIPS - 1), `${nodes.length - MOST_CHIPS + 1} more`] : nodes;
  const chips = shown.map((words) => h("span", { class: "chip" }, words));
  return [
    h("div", { class: "small clip" }, `${machine}${peer.record.hidden ? ", hidden" : ""}`),
    h("div", { class: "small clip muted" }, offers),
    chips.length > 0
      ? h("div", { class: "chips" }, ...chips)
      : h("div", { class: "small muted" }, plural(peer.record.types.length, "node type")),
  ];
}

function drawLink(link: LinkState, gone: boolean, a: Card, b: Card): { shapes: SVGElement[]; words: HTMLElement[] } {
  const line = lineBetween(a, b);
  const at = wordsAt(line);
  const busy = link.bytes_per_s >= 1;
  const kind = `link${gone ? " cut" : busy ? " busy" : ""}${link.path.startsWith("relay") ? " relay" : ""}`;
  const shapes: SVGElement[] = [
    svg("line", { class: kind, ...line, "stroke-width": gone ? 1.5 : lineWidth(link.bytes_per_s) }),
  ];
  if (gone) {
    const [x, y] = [(line.x1 + line.x2) / 2, (line.y1 + line.y2) / 2];
    shapes.push(svg("path", { class: "link cut", d: `M${x - 5} ${y - 5}l10 10m0-10l-10 10`, "stroke-width": 2 }));
    return { shapes, words: [] };
  }
  const rtt = link.rtt_ms === null ? "" : duration(link.rtt_ms);
  const words = h(
    "span",
    {
      class: "link-words small",
      style: { left: `${at.x}px`, top: `${at.y}px` },
      title: `${link.engine}, ${link.path}`,
    },
    link.path.startsWith("relay") ? h("span", { class: "chip" }, "relay") : null,
    h("span", { class: "rtt" }, busy ? rtt : `${rtt}${rtt ? ", " : ""}idle`),
    busy ? h("b", {}, `${bytes(link.bytes_per_s)}/s`) : null,
  );
  return { shapes, words: [words] };
}

function legend(): HTMLElement {
  const entry = (kind: string, words: string, width: number) =>
    h(
      "span",
      {},
      svg(
        "svg",
        { width: 20, height: 8, "aria-hidden": "true" },
        svg("line", { class: kind, x1: 0, x2: 20, y1: 4, y2: 4, "stroke-width": width }),
      ),
      words,
    );
  return h(
    "div",
    { class: "legend" },
    entry("link busy", "direct", 3),
    entry("link busy relay", "via relay", 2),
    entry("link", "idle", 1),
    entry("link cut", "cut", 1.5),
  );
}

function peerList(room: RoomView, peers: RoomPeer[], slots: Slots, now: number): HTMLElement {
  const rows = peers.map((peer) => {
    const { record, gone } = peer;
    return h(
      "li",
      { class: gone ? `gone ${severity(peer)}` : "", "data-peer": record.name },
      mark(slots.of(record.name), { large: true, hollow: gone !== null }),
      h(
        "div",
        {},
        h("div", {}, h("b", {}, record.name), " ", gone && goneChip(peer)),
        ...(gone ? goneWords(peer, now) : [h("div", { class: "small muted" }, doing(room, peer))]),
      ),
      gone ? icon("unplug") : aside(room, peer),
    );
  });
  return h("ul", { class: "peer-list" }, ...rows);
}

function doing(room: RoomView, { record }: RoomPeer): string {
  const nodes = room.holds(record.name).flatMap((each) => each.nodes);
  return nodes.length > 0 ? nodes.join(", ") : describePeer(record).join("; ");
}

function aside(room: RoomView, { record }: RoomPeer): HTMLElement {
  const links = room.linksOf(record.peer);
  const rate = links.reduce((sum, link) => sum + link.bytes_per_s, 0);
  const words = [plural(links.length, "link"), rate >= 1 ? `${bytes(rate)}/s` : "idle"];
  return h(
    "div",
    { class: "aside" },
    h("div", {}, `load ${percent(record.load)}`),
    h("div", { class: "small muted" }, words.join(", ")),
  );
}
