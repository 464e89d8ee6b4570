/** Icons from Lucide, as elements. They are decoration: the words beside them, or the label of the button, say it. */

import check from "lucide-static/icons/check.svg?raw";
import chevronDown from "lucide-static/icons/chevron-down.svg?raw";
import circle from "lucide-static/icons/circle-dashed.svg?raw";
import copy from "lucide-static/icons/copy.svg?raw";
import fileAudio from "lucide-static/icons/file-music.svg?raw";
import folder from "lucide-static/icons/folder-open.svg?raw";
import dashboard from "lucide-static/icons/layout-dashboard.svg?raw";
import link from "lucide-static/icons/link.svg?raw";
import moon from "lucide-static/icons/moon-star.svg?raw";
import pencil from "lucide-static/icons/pencil.svg?raw";
import pin from "lucide-static/icons/pin.svg?raw";
import play from "lucide-static/icons/play.svg?raw";
import square from "lucide-static/icons/square.svg?raw";
import sun from "lucide-static/icons/sun.svg?raw";
import unplug from "lucide-static/icons/unplug.svg?raw";
import workflow from "lucide-static/icons/workflow.svg?raw";
import cross from "lucide-static/icons/x.svg?raw";
import { h } from "./dom";

const ICONS = {
  check,
  chevronDown,
  circle,
  copy,
  cross,
  dashboard,
  fileAudio,
  folder,
  link,
  moon,
  pencil,
  pin,
  play,
  square,
  sun,
  unplug,
  workflow,
};

export type IconName = keyof typeof ICONS;

export function icon(name: IconName): HTMLElement {
  const drawing = new DOMParser().parseFromString(ICONS[name], "image/svg+xml").documentElement;
  return h("span", { class: "icon", "aria-hidden": "true" }, drawing);
}
