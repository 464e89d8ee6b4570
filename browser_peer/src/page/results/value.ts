/** A value as people look at it: text wraps, sound is a waveform, everything else is its JSON. */

import { h, svg } from "../../ui/dom";
import { duration } from "../../ui/numbers";
import { decode, toJson, type Value } from "../../values";

const MAX_SHOWN_CHARS = 4000;
const WAVE_BARS = 120;

export function valueElement(payload: Uint8Array): HTMLElement {
  const value = decode(payload);
  if (typeof value === "string") return h("span", { class: "value text" }, shorten(value));
  const sound = audioOf(value);
  if (sound) return waveform(sound.samples, sound.rate);
  return h("code", { class: "value json" }, ...inked(shorten(toJson(payload))));
}

function shorten(text: string): string {
  if (text.length <= MAX_SHOWN_CHARS) return text;
  return `${text.slice(0, MAX_SHOWN_CHARS)}… (${text.length - MAX_SHOWN_CHARS} characters more)`;
}

const JSON_PIECES = /"(?:[^"\\]|\\.)*"\s*:|"(?:[^"\\]|\\.)*"|[[\]{},\s]+|[^[\]{},\s"]+|"/g;

/** Values in ink, keys and what holds them together in grey. */
function inked(json: string): (HTMLElement | string)[] {
  const pieces = json.match(JSON_PIECES) ?? [];
  return pieces.map((piece) => (/^[[\]{},\s]|:$/.test(piece) ? h("span", { class: "muted" }, piece) : piece));
}

/** contract.md, "Kinds": audio is {samples: float32 array, rate: int}. */
function audioOf(value: Value): { samples: Float32Array; rate: number } | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
  const { samples, rate } = value as { samples?: { data?: unknown }; rate?: unknown };
  if (typeof rate !== "number" || rate <= 0 || !(samples?.data instanceof Float32Array)) return null;
  return { samples: samples.data, rate };
}

function waveform(samples: Float32Array, rate: number): HTMLElement {
  const step = Math.max(1, Math.floor(samples.length / WAVE_BARS));
  let path = "";
  for (let bar = 0; bar * step < samples.length; bar++) {
    const peak = samples
      .subarray(bar * step, (bar + 1) * step)
      .reduce((most, each) => Math.max(most, Math.abs(each)), 0);
    const half = Math.max(0.5, Math.min(12, peak * 14));
    path += `M${bar * 3 + 1} ${12 - half}V${12 + half}`;
  }
  const length = duration((samples.length / rate) * 1000);
  return h(
    "span",
    { class: "value wave" },
    svg(
      "svg",
      { viewBox: `0 0 ${WAVE_BARS * 3} 24`, role: "img", "aria-label": `sound, ${length}` },
      svg("path", { d: path }),
    ),
    h("span", { class: "muted small" }, length),
  );
}
