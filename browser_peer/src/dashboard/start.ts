/** The dashboard: what the room tells, drawn at most four times a second. */

import type { Delta } from "../protocol/signaling";
import { h, put, say } from "../ui/dom";
import { plural } from "../ui/numbers";
import { Slots } from "../ui/peers";
import { topBar } from "../ui/shell";
import { applyTheme } from "../ui/theme";
import { EventsPanel, Incident } from "./events";
import { MeshPanel, severity } from "./mesh";
import { type Presence, RoomView } from "./room";
import { RunsPanel } from "./runs";
import { WorkPanel } from "./work";

/** What a dashboard hears. */
export type Told =
  | ({ type: "presence" } & Presence)
  | { type: "signaling"; state: "connected" | "away" }
  | { type: "refused"; message: string }
  | Delta;

/** Begins to watch; rejects with the reason when the server refuses. */
export type Watch = (listener: (told: Told) => void) => Promise<void>;

const REDRAW_MS = 250;
const AGE_MS = 1000;

export async function start(room: string | null, watch: Watch): Promise<void> {
  applyTheme();
  const bar = topBar("mesh-dashboard", room);
  if (room === null) {
    show(
      bar.element,
      notice(
        "A dashboard opens with its invite",
        "Open the address that `mesh signal` prints for it; it ends in #r= and keys.",
      ),
    );
    return;
  }
  const dashboard = new Dashboard(bar.middle);
  show(bar.element, notice(`Watching ${room}`, "Waiting for the signaling server."));
  try {
    await watch((told) => dashboard.hear(told));
    show(bar.element, dashboard.element);
    dashboard.draw();
  } catch (error) {
    show(bar.element, notice(`Cannot watch ${room}`, error instanceof Error ? error.message : String(error)));
  }
}

function show(...elements: HTMLElement[]): void {
  put(document.querySelector("#app")!, ...elements);
}

function notice(title: string, text: string): HTMLElement {
  return h(
    "main",
    { class: "alone" },
    h("div", { class: "panel", role: "status" }, h("h1", {}, title), h("p", {}, text)),
  );
}

class Dashboard {
  readonly element: HTMLElement;
  #room = new RoomView();
  #slots = new Slots();
  #incident = new Incident(this.#slots);
  #mesh = new MeshPanel(this.#slots, () => this.draw());
  #runs = new RunsPanel(this.#slots, () => this.draw());
  #work = new WorkPanel(this.#slots);
  #events = new EventsPanel();
  #status = h("span", { role: "status" });
  #summary = h("span");
  #due: ReturnType<typeof setTimeout> | undefined;

  constructor(summary: HTMLElement) {
    summary.append(this.#status, this.#summary);
    summary.classList.add("summary");
    this.element = h(
      "main",
      { class: "dashboard" },
      this.#incident.element,
      this.#mesh.element,
      this.#runs.element,
      this.#work.element,
      this.#runs.times,
      this.#events.element,
    );
    new ResizeObserver(() => this.#drawSoon()).observe(this.element);
    setInterval(() => this.draw(), AGE_MS);
  }

  hear(told: Told): void {
    const now = Date.now();
    const room = this.#room;
    if (told.type === "presence") room.presence(told, now);
    else if (told.type === "refused") say(this.#status, told.message);
    else if (told.type === "signaling") say(this.#status, told.state === "away" ? "signaling away; this is old" : "");
    else room.hear(told, now);
    for (const { record } of room.peers.values()) this.#slots.of(record.name);
    this.#drawSoon();
  }

  #drawSoon(): void {
    this.#due ??= setTimeout(() => this.draw(), REDRAW_MS);
  }

  draw(): void {
    clearTimeout(this.#due);
    this.#due = undefined;
    if (!this.element.isConnected) return;
    const now = Date.now();
    this.#room.forget(now);
    this.#incident.render(this.#room, now);
    this.#mesh.render(this.#room, now);
    this.#runs.render(this.#room, now);
    this.#work.render(this.#room, now);
    this.#events.render(this.#room);
    this.#summarise();
  }

  #summarise(): void {
    const peers = [...this.#room.peers.values()];
    const lost = peers.filter((peer) => severity(peer) === "lost").length;
    const live = peers.filter((peer) => !peer.gone).length;
    put(this.#summary, plural(live, "peer"), lost > 0 ? h("b", { class: "danger" }, `${lost} lost`) : null);
  }
}
