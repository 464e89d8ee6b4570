import { describe, expect, it } from "vitest";
import { CARD, lineBetween, lineWidth, places } from "./picture";

describe("places", () => {
  it.each([1, 2, 3, 5, 8, 13])("have room for %i cards side by side", (seats) => {
    const where = places(780, seats);
    const cards = Array.from({ length: seats }, (_, seat) => where.at(seat));
    for (const [index, card] of cards.entries()) {
      expect(card.x).toBeGreaterThanOrEqual(0);
      expect(card.x + card.width).toBeLessThanOrEqual(780);
      expect(card.y + card.height).toBeLessThanOrEqual(where.height);
      for (const other of cards.slice(index + 1)) {
        expect(Math.abs(card.x - other.x) >= CARD.width || Math.abs(card.y - other.y) >= CARD.height).toBe(true);
      }
    }
  });

  it("is one column where it is narrow", () => {
    const where = places(360, 3);
    expect(new Set([0, 1, 2].map((seat) => where.at(seat).x)).size).toBe(1);
  });
});

describe("lines", () => {
  it("go from edge to edge", () => {
    const [a, b] = [
      { x: 0, y: 0, width: 100, height: 50 },
      { x: 300, y: 0, width: 100, height: 50 },
    ];
    expect(lineBetween(a, b)).toEqual({ x1: 100, y1: 25, x2: 300, y2: 25 });
  });

  it("are wider the more they carry, within bounds", () => {
    const widths = [0, 100, 1e4, 1e6, 1e12].map(lineWidth);
    expect(widths).toEqual(widths.toSorted((a, b) => a - b));
    expect(widths.at(-1)).toBe(5);
  });
});
