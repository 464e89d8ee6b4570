/** Every trace of tests/vectors/run.json, step by step; how it is written: tests/run/run_traces.py. */

import { describe, expect, it } from "vitest";
import traces from "../../../tests/vectors/run.json";
import { ProtocolError } from "../errors";
import { Driver, type DriverInstruction, type Failure, type OnError } from "./driver";
import type { Frame, Instruction, Resumption } from "./events";
import { Fragment } from "./fragment";
import type { Edge, Graph, GraphNode } from "./graph";

type Written = readonly unknown[];
interface Trace {
  about: string;
  graph: {
    nodes: (Partial<GraphNode> & { id: string })[];
    edges: [string | null, string | null, string, ...string[]][];
  };
  credit_bytes: number;
  local?: string[];
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

const PLAIN: Omit<GraphNode, "id"> = {
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

type Told = Instruction | DriverInstruction | ({ do: "resumption" } & Resumption);

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
      return ["call", each.node, each.op, hex(each.payload)];
    case "recreate":
      return ["recreate", each.node];
    case "emit": {
      const { edge, seq, part, flags, payload } = each.frame;
      return ["emit", [edge, seq, part, flags, hex(payload)]];
    }
    case "credit":
      return ["credit", each.edge, each.bytes];
    case "error":
      return ["error", each.node, each.seq, each.kind, each.cause];
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
  credit: (engine, edge: number, amount: number) => engine.credit(edge, amount),
  answered: (engine, node: string, parts: string[], more: boolean) => engine.answered(node, parts.map(bytes), more),
  snapshotted: (engine, node: string, state: string) => engine.snapshotted(node, bytes(state)),
  restored: (engine, node: string) => engine.restored(node),
  recreated: (engine, node: string) => engine.recreated(node),
  failed: (engine, node: string, kind: string, cause: string) => engine.failed(node, kind, cause),
};

const DRIVER_EVENTS: Record<string, (engine: Driver, ...args: never[]) => Told[]> = {
  frame: (engine, frame: Parameters<typeof readFrame>[0]) => engine.frame(readFrame(frame)),
  credit: (engine, edge: number, amount: number) => engine.credit(edge, amount),
  error: (engine, ...args: Parameters<Driver["error"]>) => engine.error(...args),
  admit: (engine, payload: string) => engine.admit(bytes(payload)),
  finish_input: (engine) => engine.finishInput(),
  taken: (engine) => engine.taken(),
  fail: (engine, reason: string) => engine.fail(reason),
  interrupt: (engine) => [{ do: "resumption", ...engine.interrupt() }],
  resume: (engine) => engine.resume(),
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

function play({ graph, local, on_error, credit_bytes, steps, counts, ...trace }: Trace): void {
  if (local !== undefined) {
    const fragment = new Fragment(
      readGraph(graph),
      local,
      {
        firstSeq: trace.first_seq ?? 0,
        states: new Map(Object.entries(trace.states ?? {}).map(([node, state]) => [node, bytes(state)])),
      },
      credit_bytes,
    );
    for (const { event, ...expected } of steps) {
      const [name, ...args] = event;
      expect(outcome(() => FRAGMENT_EVENTS[name]!(fragment, ...(args as never[])))).toEqual(expected);
    }
    const state = { queued: Object.fromEntries(fragment.queued()), dropped: Object.fromEntries(fragment.dropped()) };
    expect(state).toEqual(counts);
    return;
  }
  const driver = new Driver(readGraph(graph), { onError: on_error!, creditBytes: credit_bytes });
  for (const { event, ...expected } of steps) {
    const [name, ...args] = event;
    const got = outcome(() => DRIVER_EVENTS[name]!(driver, ...(args as never[])));
    expect({ ...got, can_admit: driver.canAdmit() }).toEqual(expected);
  }
  expect(driver.counts).toEqual(counts);
}

describe("traces shared with Python", () => {
  it.each(traces as unknown as Trace[])("$about", play);
});
