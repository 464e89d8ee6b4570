/** What comes before the page: an invite, and joining with it. */

import type { PeerApi } from "../peer/types";
import { h, put } from "../ui/dom";
import { roomOf } from "../ui/invite";
import { topBar } from "../ui/shell";
import { applyTheme } from "../ui/theme";
import { Page } from "./page";

/** Joins with the invite in the address, and shows the page, or one sentence that says what is missing. */
export async function start(join: (invite: string) => Promise<PeerApi>): Promise<void> {
  applyTheme();
  const room = roomOf(location);
  if (room === null) {
    show(topBar("mesh-page", null).element, askForInvite());
    return;
  }
  const bar = topBar("mesh-page", room);
  show(bar.element, notice(`Joining ${room}`, ""));
  try {
    const peer = await join(location.href);
    addEventListener("pagehide", () => void peer.close());
    show(bar.element, new Page(peer, bar.middle).element);
  } catch (error) {
    const again = h(
      "button",
      { class: "button primary", type: "button", on: { click: () => location.reload() } },
      "Try again",
    );
    show(bar.element, notice(`Could not join ${room}`, error instanceof Error ? error.message : String(error), again));
  }
}

function show(...elements: HTMLElement[]): void {
  put(document.querySelector("#app")!, ...elements);
}

function notice(title: string, text: string, ...more: HTMLElement[]): HTMLElement {
  return h(
    "main",
    { class: "alone" },
    h("div", { class: "panel", role: "status" }, h("h1", {}, title), text === "" ? null : h("p", {}, text), ...more),
  );
}

function askForInvite(): HTMLElement {
  const field = h("input", {
    class: "field mono",
    name: "invite",
    type: "url",
    required: true,
    "aria-label": "Invite",
    placeholder: "https://…/r/ROOM#k=…",
  });
  const problem = h("p", { class: "small danger", role: "alert" });
  const form = h(
    "form",
    {
      on: {
        submit: (event) => {
          event.preventDefault();
          problem.textContent = open(field.value);
        },
      },
    },
    field,
    h("button", { class: "button primary" }, "Join"),
  );
  return notice(
    "A room opens with its invite",
    "Paste the address that you were given; it ends in #k= and a key.",
    form,
    problem,
  );
}

/** Goes to the invite; answers what is wrong with it. */
function open(text: string): string {
  const url = URL.parse(text.trim());
  if (!url || roomOf(url) === null) return "This is no invite: it has no room, or no key after the #.";
  location.assign(url);
  if (url.pathname === location.pathname) location.reload(); // only the fragment differs: the browser would stay
  return "";
}
