/** Where the cards of the mesh stand, and the lines between them. Pure: nothing wobbles, places are fixed by the seat. */

export interface Card {
  x: number;
  y: number;
  width: number;
  height: number;
}

export const CARD = { width: 190, height: 122 };
const GAP = { x: 122, y: 76, least: 56 };
const PAD = 16;
const MOST_COLUMNS = 4;

export interface Places {
  width: number;
  height: number;
  at(seat: number): Card;
}

/** Every other column is lower by half a row, so that lines pass between the cards. */
export function places(width: number, seats: number): Places {
  const fits = Math.floor((width - 2 * PAD + GAP.least) / (CARD.width + GAP.least));
  const columns = Math.max(1, Math.min(fits, MOST_COLUMNS, seats <= 4 ? 2 : Math.ceil(seats / 2)));
  const gap = columns === 1 ? 0 : Math.min(GAP.x, (width - 2 * PAD - columns * CARD.width) / (columns - 1));
  const stagger = columns > 2 ? (CARD.height + GAP.y) / 2 : 0;
  const left = Math.max(PAD, (width - columns * CARD.width - (columns - 1) * gap) / 2);
  const rows = Math.ceil(Math.max(1, seats) / columns);
  return {
    width,
    height: 2 * PAD + rows * CARD.height + (rows - 1) * GAP.y + stagger,
    at(seat) {
      const column = seat % columns;
      return {
        x: left + column * (CARD.width + gap),
        y: PAD + Math.floor(seat / columns) * (CARD.height + GAP.y) + (column % 2 === 1 ? stagger : 0),
        ...CARD,
      };
    },
  };
}

export interface Line {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

/** The line between two cards, from edge to edge. */
export function lineBetween(a: Card, b: Card): Line {
  const [from, to] = [centre(a), centre(b)];
  const [start, end] = [leave(a, from, to), leave(b, to, from)];
  return { x1: start.x, y1: start.y, x2: end.x, y2: end.y };
}

/** Where the words of a line stand: its middle, or nearer to its start where it leans, since such lines cross. */
export function wordsAt({ x1, y1, x2, y2 }: Line): { x: number; y: number } {
  const leans = Math.abs(x1 - x2) > CARD.width / 2 && Math.abs(y1 - y2) > CARD.height / 2;
  const share = leans ? 0.36 : 0.5;
  return { x: x1 + (x2 - x1) * share, y: y1 + (y2 - y1) * share };
}

function centre(card: Card): { x: number; y: number } {
  return { x: card.x + card.width / 2, y: card.y + card.height / 2 };
}

function leave(card: Card, from: { x: number; y: number }, to: { x: number; y: number }): { x: number; y: number } {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const share = Math.min(
    dx === 0 ? Number.POSITIVE_INFINITY : card.width / 2 / Math.abs(dx),
    dy === 0 ? Number.POSITIVE_INFINITY : card.height / 2 / Math.abs(dy),
  );
  return Number.isFinite(share) ? { x: from.x + dx * share, y: from.y + dy * share } : from;
}

const WIDEST = 5;

/** The width of a link by its rate: a byte a second is thin, 10 MB/s is widest. */
export function lineWidth(bytesPerS: number): number {
  if (bytesPerS < 1) return 1;
  return Math.min(WIDEST, 1.5 + Math.log10(bytesPerS) / 2);
}
