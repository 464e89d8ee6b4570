/**
 * Where the boxes stand. dagre gives each node its column and its order within it; the peer gives the lane. Pure:
 * sizes in CSS pixels in, positions out.
 */

import { layout as dagre, graphlib } from "@dagrejs/dagre";
import type { Graph, GraphNode, Plan } from "../../run/graph";
import { type Span, wireRoute } from "./routes";

/** `rows`: a lane is a row and the flow goes right. `columns`: for narrow screens, the flow goes down. `flow`: no lanes. */
export type View = "rows" | "columns" | "flow";

export interface Box {
  /** The same for a node that moved to another peer. */
  key: string;
  role: "source" | "node" | "sink";
  node: GraphNode | null;
  /** Peer id. */
  peer: string;
  runtime: string;
  /** How many peers run this node. */
  replicas: number;
  column: number;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Wire {
  key: string;
  /** Index in the graph's edges. */
  edge: number;
  from: Box;
  to: Box;
  path: string;
  label: { x: number; y: number };
}

export interface Lane {
  peer: string;
  start: number;
  size: number;
  /** Without a node: folded. */
  idle: boolean;
}

export interface Layout {
  view: View;
  width: number;
  height: number;
  lanes: Lane[];
  boxes: Box[];
  wires: Wire[];
}

export interface Space {
  view: View;
  width: number;
  /** Lanes grow towards this height, each by at most LANE_GROWTH. */
  height: number;
}

export const LABEL_WIDTH = 172;
export const NODE_WIDTH = 148;
const NODE = { width: NODE_WIDTH, height: 66 };
const SMALL = { width: 148, height: 40 };
const LANE_GAP = 8;
const LANE_PAD = 30;
const LANE_GROWTH = 64;
const STACK_GAP = 40;
const FOLDED = 28;
const PITCH = { least: 154, most: 268 };
/** Between the columns: enough for the words of a wire; where the boxes are narrowed, less. */
const COLUMN_GAP = { wanted: 60, least: 46 };
const COLUMN_HEAD = 48;
const ROW_PITCH = 64;
const EDGE_PAD = 20;

/** `lanes` are the peers in the order of their lanes, the viewer's own first: it holds the source and the sink. */
export function layout(graph: Graph, plan: Plan, lanes: readonly string[], space: Space): Layout {
  const boxes = allBoxes(graph, plan, lanes[0]!);
  const links = allLinks(graph, boxes);
  const size = arrange(boxes, links, space.view);
  if (space.view === "flow") return { view: "flow", ...size, lanes: [], boxes, wires: wires(links, boxes, "flow") };
  const placed = space.view === "rows" ? inRows(boxes, lanes, space) : inColumns(boxes, lanes, space.width);
  return { view: space.view, ...placed, boxes, wires: wires(links, boxes, space.view) };
}

function allBoxes(graph: Graph, plan: Plan, own: string): Box[] {
  const seats = plan.steps.at(-1)?.nodes ?? {};
  const box = (
    role: Box["role"],
    node: GraphNode | null,
    seat: { peer: string; runtime: string },
    replica = 0,
  ): Box => ({
    key: `${role} ${replica} ${node?.id ?? ""}`,
    role,
    node,
    ...seat,
    replicas: node ? (seats[node.id]?.on.length ?? 1) : 1,
    column: 0,
    x: 0,
    y: 0,
    ...NODE,
  });
  const here = { peer: own, runtime: "" };
  return [
    box("source", null, here),
    ...graph.nodes.flatMap((node) =>
      (seats[node.id]?.on ?? []).map((seat, replica) => box("node", node, seat, replica)),
    ),
    box("sink", null, here),
  ];
}

interface Link {
  edge: number;
  from: Box;
  to: Box;
}

function allLinks(graph: Graph, boxes: Box[]): Link[] {
  const of = (id: string | null, end: "source" | "sink") =>
    boxes.filter((box) => (id === null ? box.role === end : box.node?.id === id));
  return graph.edges.flatMap((edge, index) =>
    of(edge.from, "source").flatMap((from) => of(edge.to, "sink").map((to) => ({ edge: index, from, to }))),
  );
}

/** Columns, order and free positions, by dagre. The boxes come back in the order of their columns. */
function arrange(boxes: Box[], links: Link[], view: View): { width: number; height: number } {
  const graph = new graphlib.Graph();
  graph.setGraph({ rankdir: "LR", nodesep: 44, ranksep: 120, marginx: EDGE_PAD, marginy: EDGE_PAD });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const box of boxes) graph.setNode(box.key, { width: NODE.width, height: NODE.height });
  for (const link of links) graph.setEdge(link.from.key, link.to.key);
  dagre(graph);
  const columns = [...new Set(boxes.map((box) => graph.node(box.key).x as number))].sort((a, b) => a - b);
  for (const box of boxes) {
    const { x, y } = graph.node(box.key) as { x: number; y: number };
    box.column = columns.indexOf(x);
    box.x = x - NODE.width / 2;
    box.y = y - NODE.height / 2;
  }
  boxes.sort((a, b) => a.column - b.column || a.y - b.y);
  const label = graph.graph() as { width?: number; height?: number };
  return view === "flow" ? { width: label.width ?? 0, height: label.height ?? 0 } : { width: 0, height: 0 };
}

function inRows(boxes: Box[], lanes: readonly string[], space: Space): Pick<Layout, "width" | "height" | "lanes"> {
  const columns = Math.max(...boxes.map((box) => box.column));
  const growth = laneGrowth(boxes, lanes, space.height);
  const room = (space.width - LABEL_WIDTH - 2 * EDGE_PAD - NODE.width) / Math.max(1, columns);
  const pitch = Math.min(PITCH.most, Math.max(PITCH.least, room));
  const nodeWidth =
    pitch >= NODE.width + COLUMN_GAP.wanted ? NODE.width : Math.min(NODE.width, pitch - COLUMN_GAP.least);
  let start = 0;
  const placed = lanes.map((peer): Lane => {
    const own = boxes.filter((box) => box.peer === peer);
    const idle = own.length === 0;
    const size = laneSize(own) + (idle ? 0 : growth);
    for (const group of groups(own)) {
      const top = start + (size - stackHeight(group.length)) / 2;
      for (const [index, box] of group.entries()) {
        box.width = nodeWidth;
        box.x = LABEL_WIDTH + EDGE_PAD + box.column * pitch;
        box.y = top + index * (NODE.height + STACK_GAP);
      }
    }
    const lane = { peer, start, size, idle };
    start += size + LANE_GAP;
    return lane;
  });
  const width = LABEL_WIDTH + 2 * EDGE_PAD + columns * pitch + NODE.width;
  return { width: Math.max(width, space.width), height: start - LANE_GAP, lanes: placed };
}

function laneSize(own: Box[]): number {
  if (own.length === 0) return FOLDED;
  return 2 * LANE_PAD + stackHeight(Math.max(...groups(own).map((group) => group.length)));
}

function laneGrowth(boxes: Box[], lanes: readonly string[], height: number): number {
  const byLane = lanes.map((peer) => boxes.filter((box) => box.peer === peer));
  const least = byLane.reduce((sum, own) => sum + laneSize(own) + LANE_GAP, -LANE_GAP);
  const busy = byLane.filter((own) => own.length > 0).length;
  return Math.min(LANE_GROWTH, Math.max(0, Math.floor((height - least) / busy)));
}

/** Boxes of one lane by column. */
function groups(boxes: Box[]): Box[][] {
  const byColumn = new Map<number, Box[]>();
  for (const box of boxes) byColumn.set(box.column, [...(byColumn.get(box.column) ?? []), box]);
  return [...byColumn.values()];
}

function stackHeight(boxes: number): number {
  return boxes * NODE.height + (boxes - 1) * STACK_GAP;
}

const NARROWEST = 116;

/** Lanes side by side; only those that hold something. Boxes that share lane and column come one under the other. */
function inColumns(boxes: Box[], lanes: readonly string[], space: number): Pick<Layout, "width" | "height" | "lanes"> {
  const used = lanes.filter((peer) => boxes.some((box) => box.peer === peer));
  const size = Math.max(NARROWEST, (space - LANE_GAP * (used.length - 1)) / used.length);
  let row = 0;
  for (let column = 0; column <= Math.max(...boxes.map((box) => box.column)); column++) {
    const here = boxes.filter((box) => box.column === column);
    const taken = new Map<string, number>();
    for (const box of here) {
      const index = taken.get(box.peer) ?? 0;
      taken.set(box.peer, index + 1);
      box.width = Math.min(SMALL.width, size - 16);
      box.height = SMALL.height;
      box.x = used.indexOf(box.peer) * (size + LANE_GAP) + (size - box.width) / 2;
      box.y = COLUMN_HEAD + (row + index) * ROW_PITCH;
    }
    row += Math.max(...taken.values());
  }
  const placed = used.map((peer, index) => ({ peer, start: index * (size + LANE_GAP), size, idle: false }));
  const width = used.length * (size + LANE_GAP) - LANE_GAP;
  return { width, height: COLUMN_HEAD + row * ROW_PITCH, lanes: placed };
}

/** Routes are found in (along, across) coordinates: along the flow, and across it. */
function wires(links: Link[], boxes: Box[], view: View): Wire[] {
  const down = view === "columns";
  const span = (box: Box): Span =>
    down
      ? { start: box.y, end: box.y + box.height, across: box.x + box.width / 2, half: box.width / 2 }
      : { start: box.x, end: box.x + box.width, across: box.y + box.height / 2, half: box.height / 2 };
  return links.map(({ edge, from, to }) => {
    const others = boxes.filter((box) => box !== from && box !== to).map(span);
    const route = wireRoute(span(from), span(to), others);
    const point = ([along, across]: [number, number]) => (down ? [across, along] : [along, across]).join(" ");
    const [labelX, labelY] = down ? [route.label[1], route.label[0]] : route.label;
    return {
      key: `${edge} ${from.key} ${to.key}`,
      edge,
      from,
      to,
      path: route.steps.map((step) => `${step.command}${step.points.map(point).join(" ")}`).join(""),
      label: { x: labelX, y: labelY },
    };
  });
}
