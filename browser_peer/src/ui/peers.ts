/** How a peer looks: a colour and a shape, which it keeps for the room's life. Colour never comes alone. */

import { svg } from "./dom";

const COLOURS = 8;

const SHAPES = [
  "M6 .8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 6 .8z",
  "M1.2 1.2h9.6v9.6H1.2z",
  "M6 .6 11.8 11H.2z",
  "M6 0l6 6-6 6-6-6z",
  "M4.2.6h3.6v3.6h3.6v3.6H7.8v3.6H4.2V7.8H.6V4.2h3.6z",
  "M3 .8h6L12 6l-3 5.2H3L0 6z",
  "M.2 1h11.6L6 11.4z",
  "M6 0l1.7 4 4.3.4-3.3 2.8 1 4.3L6 9.2l-3.7 2.3 1-4.3L0 4.4 4.3 4z",
];

export interface Slot {
  /** 1 … 8, for `data-slot`. */
  colour: number;
  /** From the ninth peer on the shape is drawn hollow, with this letter. */
  letter: string | null;
}

/** Slots by name in order of joining; the viewer's own, if it is a peer, is the first. */
export class Slots {
  readonly #names = new Map<string, number>();

  constructor(...first: string[]) {
    for (const name of first) this.of(name);
  }

  /** The viewer's. */
  own(): Slot {
    return { colour: 1, letter: null };
  }

  of(name: string): Slot {
    const index = this.#names.get(name) ?? this.#names.size;
    this.#names.set(name, index);
    const round = Math.floor(index / COLOURS);
    return {
      colour: (index % COLOURS) + 1,
      letter: round === 0 ? null : String.fromCharCode(64 + Math.min(round, 26)),
    };
  }
}

/** The shape of a peer in its colour, as decoration: its name stands beside it, or `title` says it. */
export function mark(slot: Slot, options: { title?: string; large?: boolean; hollow?: boolean } = {}): SVGSVGElement {
  const hollow = options.hollow === true || slot.letter !== null;
  return svg(
    "svg",
    {
      class: options.large ? "mark large" : "mark",
      viewBox: "0 0 12 12",
      "data-slot": slot.colour,
      ...(options.title ? { role: "img", "aria-label": options.title } : { "aria-hidden": "true" }),
    },
    options.title ? svg("title", {}, options.title) : null,
    svg("path", {
      d: SHAPES[slot.colour - 1],
      fill: hollow ? "none" : "currentColor",
      stroke: hollow ? "currentColor" : "none",
      "stroke-width": 1.6,
    }),
    slot.letter === null
      ? null
      : svg(
          "text",
          { x: 6, y: 8.4, "text-anchor": "middle", "font-size": 7, "font-weight": 600, fill: "currentColor" },
          slot.letter,
        ),
  );
}
