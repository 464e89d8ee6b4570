/** Plays traces of the run engine, step by step; how they are written: tests/run/run_traces.py. */

import { expect } from "vitest";
import { ProtocolError } from "../errors";
import { Driver, type OnError } from "./driver";
import type { Frame, Instruction, Resumption } from "./events";
import { Fragment } from "./fragment";
import type { Edge, Graph, GraphNode } from "./graph";
import type { DriverInstruction, Failure } from "./outcome";
import { Placement, type Seat } from "./placement";

type Written = readonly unknown[];
export interface Trace {
  about: string;
  graph: {
    nodes: (Partial<GraphNode> & { id: string })[];
    edges: [string | null, string | null, string, ...string[]][];
  };
  credit_bytes: number;
  local?: string[];
  places?: Record<string, string[]>;
  first_seq?: number;
  states?: Record<string, string>;
  on_error?: OnError;
  steps: ({ event: [string, ...unknown[]] } & Outcome)[];
  counts: unknown;
}
interface Outcome {
  gives?: unknown;
  raises?: string;
  can_admit?: boolean;
}

/** What a node is unless a test says otherwise. */
export const PLAIN: Omit<GraphNode, "id"> = {
  node_type: "T",
  params: new Uint8Array(),
  arity: "one",
  join: false,
  optional: [],
  stateful: false,
  deterministic: true,
  finishes: false,
  snapshots: false,
  timeout_s: 30,
};

function readGraph({ nodes, edges }: Trace["graph"]): Graph {
  return {
    nodes: nodes.map((node) => ({ ...PLAIN, ...node })),
    edges: edges.map(
      ([from, to, port, ...rest]): Edge => ({
        from,
        to,
        port,
        list: rest.includes("list"),
        overflow: rest.includes("drop") ? "drop_oldest" : "block",
      }),
    ),
    order: nodes.map((node) => node.id),
  };
}

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function hex(payload: Uint8Array | null): string | null {
  return payload && Array.from(payload, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function readFrame([edge, seq, part, flags, payload]: [number, number, number, number, string | null]): Frame {
  return { edge, seq, part, flags, payload: payload === null ? null : bytes(payload) };
}

function failure({ seq, node, kind, cause, peer }: Failure): Written {
  return [seq, node, kind, cause, peer];
}

function readPlacement(graph: Graph, { local = [], places = {} }: Trace): Placement {
  const on = (id: string) => places[id] ?? [local.includes(id) ? "here" : "there"];
  const nodes = Object.fromEntries(graph.nodes.map(({ id }) => [id, place(on(id))]));
  return Placement.fromPlan(graph, "driver", { steps: [{ from_seq: 0, nodes }] });
}

function place(peers: string[]): unknown {
  return { on: peers.map((peer) => ({ peer, runtime: "python" })) };
}

function cut(graph: Graph, placement: Placement, since: number, places: Record<string, string[]>): void {
  const on = (id: string) => places[id] ?? placement.last(id).map((seat) => seat.peer);
  const nodes = Object.fromEntries(graph.nodes.map(({ id }) => [id, place(on(id))]));
  placement.cut(since, placement.proposed(nodes));
}

function name({ node, since, index, share }: Seat): string {
  return node + (since > 0 ? `@${since}` : "") + (share > 1 ? `#${index}` : "");
}

type Told = Instruction | DriverInstruction | ({ do: "resumption" } & Resumption) | { do: "hold"; since: number };

function write(each: Told): Written {
  switch (each.do) {
    case "resumption":
      return [
        "resumption",
        each.firstSeq,
        Object.fromEntries([...each.states].map(([node, state]) => [node, hex(state)])),
      ];
    case "checkpoint":
      return ["checkpoint", each.node, each.seq, hex(each.state), each.fault];
    case "call":
      return ["call", name(each.seat), each.op, hex(each.payload)];
    case "recreate":
      return ["recreate", name(each.seat)];
    case "emit": {
      const { edge, seq, part, flags, payload } = each.frame;
      return ["emit", [edge, seq, part, flags, hex(payload)]];
    }
    case "credit":
      return ["credit", each.edge, each.seq, each.bytes];
    case "error":
      return ["error", each.node, each.seq, each.kind, each.cause];
    case "handOver":
      return ["handOver", each.node, hex(each.state), each.fault];
    case "interrupt":
      return ["interrupt", name(each.seat)];
    case "cancelSeq":
      return ["cancelSeq", each.seq];
    case "retire":
      return ["retire", name(each.seat)];
    case "through":
      return ["through"];
    case "hold":
      return ["hold", each.since];
    case "fail":
      return ["fail", each.reason];
    case "result":
      return ["result", each.seq, each.part, hex(each.payload)];
    case "seqFailed":
      return ["seqFailed", ...failure(each.error)];
    case "finished":
      return ["finished", each.status, each.error && failure(each.error), each.reason];
  }
}

/** What each event of a trace calls; the arguments are as written there. */
const FRAGMENT_EVENTS: Record<string, (engine: Fragment, ...args: never[]) => Instruction[]> = {
  frame: (engine, frame: Parameters<typeof readFrame>[0]) => engine.frame(readFrame(frame)),
  credit: (engine, ...args: Parameters<Fragment["credit"]>) => engine.credit(...args),
  cancel: (engine, seq: number) => engine.cancel(seq),
};

const SEAT_EVENTS: Record<string, (engine: Fragment, seat: Seat, ...args: never[]) => Instruction[]> = {
  answered: (engine, seat, parts: string[], more: boolean) => engine.answered(seat, parts.map(bytes), more),
  snapshotted: (engine, seat, snapshot: string) => engine.snapshotted(seat, bytes(snapshot)),
  arrived: (engine, seat, state: string) => engine.arrived(seat, bytes(state)),
  restored: (engine, seat) => engine.restored(seat),
  recreated: (engine, seat) => engine.recreated(seat),
  failed: (engine, seat, kind: string, cause: string) => engine.failed(seat, kind, cause),
};

const DRIVER_EVENTS: Record<string, (engine: Driver, ...args: never[]) => Told[]> = {
  frame: (engine, frame: Parameters<typeof readFrame>[0]) => engine.frame(readFrame(frame)),
  credit: (engine, ...args: Parameters<Driver["credit"]>) => engine.credit(...args),
  error: (engine, ...args: Parameters<Driver["error"]>) => engine.error(...args),
  admit: (engine, payload: string) => engine.admit(bytes(payload)),
  hold: (engine) => [engine.hold()].flatMap((since) => (since === undefined ? [] : [{ do: "hold", since } as const])),
  go_on: (engine) => engine.goOn(),
  finish_input: (engine) => engine.finishInput(),
  taken: (engine) => engine.taken(),
  cancel: (engine, seq: number) => engine.cancel(seq),
  fail: (engine, reason: string) => engine.fail(reason),
  interrupt: (engine, ...deaths: [string, string, Record<string, number>][]) => {
    const read = deaths.map(([peer, name, reached]) => ({ peer, name, reached: new Map(Object.entries(reached)) }));
    return [{ do: "resumption", ...engine.interrupt(read) }];
  },
  checkpoint: (engine, node: string, seq: number, state: string | null, fault: string) =>
    engine.checkpoint(node, seq, state === null ? null : bytes(state), fault),
};

function outcome(call: () => Told[]): Outcome {
  try {
    return { gives: call().map(write) };
  } catch (error) {
    if (error instanceof ProtocolError) return { raises: error.code };
    throw error;
  }
}

export function play(trace: Trace): void {
  if (trace.local !== undefined) playFragment(trace);
  else playDriver(trace);
}

function playFragment(trace: Trace): void {
  const graph = readGraph(trace.graph);
  const placement = readPlacement(graph, trace);
  const states = new Map(Object.entries(trace.states ?? {}).map(([node, state]) => [node, bytes(state)]));
  const resumption = { firstSeq: trace.first_seq ?? 0, states };
  const fragment = new Fragment(graph, placement, "here", resumption, trace.credit_bytes);
  const act = (event: string, args: unknown[]) => {
    if (event === "cut") {
      const [since, places] = args as [number, Record<string, string[]>];
      cut(graph, placement, since, places);
      return fragment.cut(since);
    }
    const seat = placement.seats().find((each) => name(each) === args[0]);
    return event in SEAT_EVENTS
      ? SEAT_EVENTS[event]!(fragment, seat!, ...(args.slice(1) as never[]))
      : FRAGMENT_EVENTS[event]!(fragment, ...(args as never[]));
  };
  for (const { event, ...expected } of trace.steps) {
    expect(outcome(() => act(event[0], event.slice(1)))).toEqual(expected);
  }
  const counts = { queued: Object.fromEntries(fragment.queued()), dropped: Object.fromEntries(fragment.dropped()) };
  expect(counts).toEqual(trace.counts);
}

function playDriver(trace: Trace): void {
  const graph = readGraph(trace.graph);
  let placement = readPlacement(graph, trace);
  const driver = new Driver(graph, placement, { onError: trace.on_error!, creditBytes: trace.credit_bytes });
  const act = (event: string, args: unknown[]) => {
    if (event === "resume") {
      if (args.length > 0) placement = readPlacement(graph, { ...trace, places: args[0] as Record<string, string[]> });
      return driver.resume(placement);
    }
    if (event !== "cut") return DRIVER_EVENTS[event]!(driver, ...(args as never[]));
    cut(graph, placement, ...(args as [number, Record<string, string[]>]));
    return [];
  };
  for (const { event, ...expected } of trace.steps) {
    const got = outcome(() => act(event[0], event.slice(1)));
    expect({ ...got, can_admit: driver.canAdmit() }).toEqual(expected);
  }
  expect(driver.counts).toEqual(trace.counts);
}
