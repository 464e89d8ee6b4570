/** The way of a wire around the boxes in between, in (along, across) coordinates. */

export interface Span {
  start: number;
  end: number;
  across: number;
  half: number;
}

type Point = [along: number, across: number];

export interface Route {
  steps: { command: "M" | "L" | "C"; points: Point[] }[];
  label: Point;
}

/** What a wire leaves free on each side of a box that it passes. */
const CLEARANCE = 12;
const BEND = 60;

/** Straight where it can; else it bends early, late, or passes beside the boxes in the way. */
export function wireRoute(from: Span, to: Span, others: readonly Span[]): Route {
  const between = others.filter((other) => other.start >= from.end && other.end <= to.start);
  const free = (across: number) => between.every((other) => Math.abs(other.across - across) > other.half + 2);
  const tracks = [to.across, from.across, ...between.flatMap(beside)].sort(
    (a, b) => detour(a, from, to) - detour(b, from, to),
  );
  return along(from, to, tracks.find(free) ?? to.across, between);
}

function beside(other: Span): number[] {
  return [other.across - other.half - CLEARANCE, other.across + other.half + CLEARANCE];
}

function detour(track: number, from: Span, to: Span): number {
  return Math.abs(track - from.across) + Math.abs(track - to.across) - (track === to.across ? 0.5 : 0);
}

function along(from: Span, to: Span, track: number, between: readonly Span[]): Route {
  const start: Point = [from.end, from.across];
  const end: Point = [to.start, to.across];
  const firstBox = Math.min(end[0], ...between.map((other) => other.start));
  const lastBox = Math.max(start[0], ...between.map((other) => other.end));
  const early: Point = [between.length > 0 ? Math.max(firstBox, start[0]) : end[0], track];
  const late: Point = [between.length > 0 ? Math.min(lastBox, end[0]) : end[0], track];
  const steps: Route["steps"] = [{ command: "M", points: [start] }, ...bend(start, early)];
  if (late[0] > early[0]) steps.push({ command: "L", points: [late] });
  if (between.length > 0) steps.push(...bend(late, end));
  return { steps, label: labelPoint(start, early, late, end) };
}

/** An S from one track to another, leaving and arriving along the flow; a straight line on the same track. */
function bend(from: Point, to: Point): Route["steps"] {
  if (Math.abs(from[1] - to[1]) < 0.5) return [{ command: "L", points: [to] }];
  const reach = Math.max(BEND / 2, Math.min((to[0] - from[0]) * 0.6, BEND));
  return [
    {
      command: "C",
      points: [[from[0] + reach, from[1]], [to[0] - reach, to[1]], to],
    },
  ];
}

/** The middle of the S that crosses the lanes, or of the straight part. */
function labelPoint(start: Point, early: Point, late: Point, end: Point): Point {
  const middle = (a: Point, b: Point): Point => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const pieces: [Point, Point][] = [
    [start, early],
    [late, end],
  ];
  const crossing = pieces.find(([a, b]) => Math.abs(a[1] - b[1]) > BEND);
  return crossing ? middle(...crossing) : middle(early[0] < late[0] ? early : start, early[0] < late[0] ? late : early);
}
