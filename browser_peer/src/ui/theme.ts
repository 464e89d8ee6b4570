/** Light or dark: the system's, until the switch was used. */

import { h, put } from "./dom";
import { icon } from "./icons";

type Theme = "light" | "dark";
const THEME_KEY = "mesh-theme";

export function applyTheme(): void {
  const chosen = localStorage.getItem(THEME_KEY);
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}

function currentTheme(): Theme {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function themeSwitch(): HTMLElement {
  const button = h("button", { class: "button quiet icon-only", type: "button", on: { click: () => flip() } });
  const show = () => {
    const other = currentTheme() === "dark" ? "light" : "dark";
    put(button, icon(other === "light" ? "sun" : "moon"));
    button.ariaLabel = `Switch to the ${other} theme`;
    button.title = button.ariaLabel;
  };
  const flip = () => {
    const next: Theme = currentTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem(THEME_KEY, next);
    show();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
  return button;
}
