/** The invite in this page's own address: who may do what with it, and how it is handed on. */

import { h } from "./dom";
import { icon } from "./icons";

/** A dashboard names its room in the fragment (`r`), a page in its path. */
export function roomOf(address: { pathname: string; hash: string }): string | null {
  const [, inPath] = /^\/r\/([^/]+)$/.exec(address.pathname) ?? [];
  const room = inPath === undefined ? fragment(address).get("r") : decodeURIComponent(inPath);
  return fragment(address).has("k") ? (room ?? null) : null;
}

export function inviteUrl(room: string): string {
  const secrets = fragment(location);
  secrets.delete("r");
  return `${location.origin}/r/${encodeURIComponent(room)}#${secrets}`;
}

export function dashboardUrl(room: string): string {
  const secrets = fragment(location);
  secrets.delete("r");
  return `${location.origin}/dashboard#r=${encodeURIComponent(room)}&${secrets}`;
}

/** What the grant allows. It is only read here; the server and the peers check its signature. */
export function rights(address: { hash: string }): readonly string[] {
  try {
    const [, claims = ""] = (fragment(address).get("g") ?? "").split(".");
    const { can } = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/")));
    return Array.isArray(can) ? can : [];
  } catch {
    return [];
  }
}

function fragment(address: { hash: string }): URLSearchParams {
  return new URLSearchParams(address.hash.slice(1));
}

export function inviteButton(url: string): HTMLElement {
  const popover = h(
    "div",
    { class: "popover corner", popover: "auto", id: "invite" },
    h("h2", {}, "Lend a computer to this room"),
    h("p", { class: "small muted" }, "Run this line there. No port needs to be open."),
    workerLine(url),
    h(
      "p",
      { class: "small muted" },
      "A browser joins by opening this page's address: whoever has it can use the room.",
    ),
    h(
      "p",
      {},
      copyButton("Copy the address", () => url),
    ),
  );
  const button = h(
    "button",
    { class: "button", type: "button", popovertarget: "invite", "aria-label": "Invite" },
    icon("link"),
    h("span", { class: "wide" }, "Invite"),
  );
  return h("span", {}, button, popover);
}

/** The line that makes a computer a worker of the room, and a button that copies it. */
export function workerLine(url: string, options: { primary?: boolean } = {}): HTMLElement {
  const line = `mesh worker --join '${url}'`;
  return h(
    "div",
    {},
    h("code", { class: "command", tabindex: 0, "aria-label": "Command line of a worker" }, line),
    copyButton("Copy the line", () => line, options),
  );
}

export function copyButton(label: string, text: () => string, options: { primary?: boolean } = {}): HTMLElement {
  const words = h("span", { "aria-live": "polite" }, label);
  const copy = async () => {
    await navigator.clipboard.writeText(text());
    words.textContent = "Copied";
    setTimeout(() => {
      words.textContent = label;
    }, 1500);
  };
  return h(
    "button",
    { class: options.primary ? "button primary" : "button", type: "button", on: { click: () => void copy() } },
    icon("copy"),
    words,
  );
}
