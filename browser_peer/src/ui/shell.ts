/** The frame of every screen: the bar with the screens, the room, the invite and the theme. */

import { h, svg } from "./dom";
import { type IconName, icon } from "./icons";
import { dashboardUrl, inviteButton, inviteUrl, rights } from "./invite";
import { themeSwitch } from "./theme";

/** Each screen lives in a tab of its own: leaving the page would end its runs. */
const SCREENS: { name: string; title: string; icon: IconName; url: (room: string) => string }[] = [
  { name: "mesh-page", title: "Run", icon: "play", url: inviteUrl },
  { name: "mesh-dashboard", title: "Dashboard", icon: "dashboard", url: dashboardUrl },
];

export interface Top {
  element: HTMLElement;
  /** Place for what the screen itself shows in the bar. */
  middle: HTMLElement;
}

/** `screen` is the window's name; without a room there is nobody to invite and nowhere to go. */
export function topBar(screen: "mesh-page" | "mesh-dashboard", room: string | null): Top {
  window.name = screen;
  const middle = h("div", { class: "roster" });
  const element = h(
    "header",
    { class: "top" },
    h("div", { class: "brand" }, logo(), h("b", {}, "RemoteMedia Mesh")),
    room === null ? null : screens(screen, room),
    h(
      "div",
      { class: "spread" },
      middle,
      h("span", { class: "rule wide" }),
      room === null ? null : h("span", { class: "wide" }, "room ", h("b", {}, room)),
      room !== null && rights(location).includes("work") && inviteButton(inviteUrl(room)),
      themeSwitch(),
    ),
  );
  return { element, middle };
}

function screens(current: string, room: string): HTMLElement {
  const links = SCREENS.map((screen) =>
    h(
      "a",
      {
        href: screen.url(room),
        ...(screen.name === current ? { "aria-current": "page" } : { target: screen.name }),
      },
      icon(screen.icon),
      screen.title,
    ),
  );
  document.addEventListener("keydown", (event) => {
    if (typing(event) || event.ctrlKey || event.altKey || event.metaKey) return;
    links[Number(event.key) - 1]?.click();
  });
  return h("nav", { class: "screens", "aria-label": "Screens" }, ...links);
}

/** True while the keys belong to a field. */
export function typing(event: KeyboardEvent): boolean {
  return event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
}

function logo(): SVGSVGElement {
  return svg(
    "svg",
    { viewBox: "0 0 24 24", "aria-hidden": "true", fill: "none", stroke: "currentColor", "stroke-width": 1.8 },
    svg("path", { d: "M5 6h14M5 6l7 12 7-12" }),
    svg("circle", { cx: 4.5, cy: 6, r: 3, fill: "currentColor", stroke: "none" }),
    svg("circle", { cx: 19.5, cy: 6, r: 3, fill: "currentColor", stroke: "none" }),
    svg("circle", { cx: 12, cy: 18, r: 3.2, fill: "currentColor", stroke: "none" }),
  );
}
