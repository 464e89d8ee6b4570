/**
 * The messages of a run (docs/wire.md, 4), as in mesh/protocol/messages.py. Decoding takes untrusted bytes and throws
 * ProtocolError("bad-message").
 */

import { encode } from "@msgpack/msgpack";
import registry from "../../../mesh/protocol/registry.json";
import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { Lane } from "./codec";
import { unpack } from "./unpack";

type Bytes = Uint8Array<ArrayBuffer>;
type Run = { driver: string; run: string };
type Epoch = Run & { epoch: number };
export type Body = { [key: string]: unknown };

/** A part of a seq on an edge, or only its end. `payload`: an encoded value; `flags`: Flag of run/events.ts. */
export type Part = Epoch & {
  type: "PART";
  edge: number;
  seq: number;
  part: number;
  flags: number;
  payload: Uint8Array | null;
};

/** What a run's driver and its workers say to one another. */
export type RunMessage =
  | (Epoch & { type: "START" | "ERROR" | "CHECKPOINT"; body: Body })
  | (Epoch & { type: "STEP"; body: Body })
  | (Epoch & { type: "PREPARE"; body: Body })
  | (Epoch & { type: "CUT"; body: Body })
  | (Epoch & { type: "STATE"; body: Body })
  | (Epoch & { type: "CANCEL"; seq: number })
  | (Epoch & { type: "UNREACHABLE"; peer: string })
  | (Epoch & { type: "SILENCE"; peer: string; silent: boolean })
  | (Epoch & { type: "PROGRESS"; body: Body })
  | (Epoch & { type: "READY" })
  | (Epoch & { type: "REFUSED" | "FAILED"; text: string })
  | (Epoch & { type: "LEAVING"; text: string })
  | (Epoch & { type: "STOP"; text: string })
  | (Epoch & { type: "CREDIT"; edge: number; seq: number; amount: number })
  | (Run & { type: "STATS" })
  | (Run & { type: "STATS_REPLY"; body: Body })
  | Part;

/** What `sender` says to `to`, sealed (sealing.ts), through a peer that both have a link to. */
export type Relay = { type: "RELAY"; sender: string; to: string; sealed: Bytes };

/** Asks a peer that can plan, and its answer, as JSON. */
export type Plan = { type: "PLAN"; id: number; request: Bytes };
export type Planned = { type: "PLANNED"; id: number; answer: Bytes };

export type Message = RunMessage | Relay | Plan | Planned;

const MAX_EPOCH = 2 ** 32 - 1;
const MAX_EDGE = limits.MAX_CONNECTIONS + 2 * limits.MAX_NODES;
const ALL_FLAGS = Object.values(registry.part_flags).reduce((sum, flag) => sum + flag, 0);

const FIELDS: { [Type in Message["type"]]: string[] } = {
  START: ["driver", "run", "epoch", "body"],
  READY: ["driver", "run", "epoch"],
  REFUSED: ["driver", "run", "epoch", "text"],
  CREDIT: ["driver", "run", "epoch", "edge", "seq", "amount"],
  ERROR: ["driver", "run", "epoch", "body"],
  STOP: ["driver", "run", "epoch", "text"],
  STATS: ["driver", "run"],
  STATS_REPLY: ["driver", "run", "body"],
  FAILED: ["driver", "run", "epoch", "text"],
  CHECKPOINT: ["driver", "run", "epoch", "body"],
  UNREACHABLE: ["driver", "run", "epoch", "peer"],
  SILENCE: ["driver", "run", "epoch", "peer", "silent"],
  PROGRESS: ["driver", "run", "epoch", "body"],
  PREPARE: ["driver", "run", "epoch", "body"],
  CUT: ["driver", "run", "epoch", "body"],
  STEP: ["driver", "run", "epoch", "body"],
  STATE: ["driver", "run", "epoch", "body"],
  LEAVING: ["driver", "run", "epoch", "text"],
  CANCEL: ["driver", "run", "epoch", "seq"],
  RELAY: ["sender", "to", "sealed"],
  PLAN: ["id", "request"],
  PLANNED: ["id", "answer"],
  PART: ["driver", "run", "epoch", "edge", "seq", "part", "flags", "payload"],
};
const TYPES = new Map(Object.entries(registry.messages).map(([name, code]) => [code, name as Message["type"]]));

const id = (value: unknown) => typeof value === "string" && value.length <= limits.MAX_ID_CHARS;
const count = (limit: number) => (value: unknown) =>
  Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= limit;
const bytes = (limit: number) => (value: unknown) => value instanceof Uint8Array && value.length <= limit;
const CHECKS: { [field: string]: (value: unknown) => boolean } = {
  driver: id,
  run: id,
  peer: id,
  sender: id,
  to: id,
  id: count(Number.MAX_SAFE_INTEGER),
  epoch: count(MAX_EPOCH),
  edge: count(MAX_EDGE),
  seq: count(Number.MAX_SAFE_INTEGER),
  part: count(Number.MAX_SAFE_INTEGER),
  amount: count(Number.MAX_SAFE_INTEGER),
  flags: count(ALL_FLAGS),
  silent: (value) => typeof value === "boolean",
  text: (value) => typeof value === "string" && value.length <= limits.MAX_CAUSE_CHARS,
  body: (value) => Object.prototype.toString.call(value) === "[object Object]",
  sealed: bytes(limits.MAX_SEALED_BYTES),
  request: bytes(limits.MAX_SIGNALING_BYTES),
  answer: bytes(limits.MAX_SIGNALING_BYTES),
  payload: (value) => value === null || value instanceof Uint8Array,
};

/** The bytes of a message. */
export function encodeMessage(message: Message): Uint8Array<ArrayBuffer> {
  const fields = FIELDS[message.type].map((name) => (message as unknown as Body)[name]);
  return encode([registry.messages[message.type], ...fields]);
}

/** The message that arrived on `lane`. A payload is a view into `data`. */
export function decodeMessage(lane: Lane, data: Uint8Array): Message {
  const fields = unpack(data, "bad-message");
  if (!Array.isArray(fields)) throw new ProtocolError("bad-message", "a message is an array that begins with its type");
  const type = TYPES.get(fields[0]);
  if (type === undefined || (type === "PART") !== (lane === Lane.DATA)) {
    throw new ProtocolError("bad-message", `type ${type ?? String(fields[0])} is no message of lane ${lane}`);
  }
  const names = FIELDS[type];
  if (fields.length !== names.length + 1) throw new ProtocolError("bad-message", `${type} has ${names.length} fields`);
  const message: Body = { type };
  names.forEach((name, index) => {
    const value = fields[index + 1];
    if (!CHECKS[name]!(value)) throw new ProtocolError("bad-message", `${type}: ${name} is wrong`);
    message[name] = value;
  });
  if (message.payload === null && !(Number(message.flags) & registry.part_flags.END)) {
    throw new ProtocolError("bad-message", "PART: without payload it has END");
  }
  return message as unknown as Message;
}

// The bodies of what workers send

/** Times of one node's calls, in milliseconds. */
export interface NodeTimes {
  count: number;
  p50: number;
  p95: number;
}

/** A STATS_REPLY: by node, and bytes by link, since an epoch. */
export interface WorkerStats {
  since: number;
  nodes: Record<string, NodeTimes>;
  links: Record<string, number>;
}

/** Node, seq, kind and cause of an ERROR. */
export function readError(body: Body): [string, number, string, string] {
  const [node, seq, kind, cause] = ["node", "seq", "kind", "cause"].map((name) => field(body, name));
  if (typeof node !== "string" || typeof seq !== "number" || typeof kind !== "string" || typeof cause !== "string") {
    throw new ProtocolError("bad-message", "an error needs node, seq, kind and cause");
  }
  return [node, seq, kind, cause];
}

/** Node, seq, state and fault of a CHECKPOINT. */
export function readCheckpoint(body: Body): [string, number, Uint8Array | null, string] {
  const [node, seq, state, fault] = ["node", "seq", "state", "fault"].map((name) => field(body, name));
  if (
    typeof node !== "string" ||
    typeof seq !== "number" ||
    !(state === null || state instanceof Uint8Array) ||
    typeof fault !== "string"
  ) {
    throw new ProtocolError("bad-message", "a checkpoint needs node, seq, state and fault");
  }
  return [node, seq, state, fault];
}

/** By node: calls ended, the lowest seq not ended, and whether a call is under way. */
export type Progress = ReadonlyMap<string, readonly [ended: number, seq: number, busy: boolean]>;

/** The body of a PROGRESS. */
export function readProgress(body: Body): Progress {
  for (const [node, told] of Object.entries(body)) {
    const [ended, seq, busy] = Array.isArray(told) && told.length === 3 ? told : [];
    if (!id(node) || !Number.isSafeInteger(ended) || !Number.isSafeInteger(seq) || typeof busy !== "boolean") {
      throw new ProtocolError("bad-message", "progress is {node: [calls ended, seq, whether a call is under way]}");
    }
  }
  return new Map(Object.entries(body as { [node: string]: [number, number, boolean] }));
}

export type Stage = "prepared" | "cut" | "through";

/** How far a worker is with a move, or what it has against it. */
export interface StepSaid {
  move: number;
  stage: Stage;
  fault: string;
}

export function readStep(body: Body): StepSaid {
  const [move, stage, fault] = ["move", "stage", "fault"].map((name) => field(body, name));
  const known = stage === "prepared" || stage === "cut" || stage === "through";
  if (!isNumber(move) || !known || typeof fault !== "string") {
    throw new ProtocolError("bad-message", "a step needs move, stage and fault");
  }
  return { move, stage, fault };
}

/** Node, state and fault of a STATE. */
export function readState(body: Body): [string, Uint8Array | null, string] {
  const [node, state, fault] = ["node", "state", "fault"].map((name) => field(body, name));
  if (typeof node !== "string" || !(state === null || state instanceof Uint8Array) || typeof fault !== "string") {
    throw new ProtocolError("bad-message", "a state needs node, state and fault");
  }
  return [node, state, fault];
}

export function readStats(body: Body): WorkerStats {
  const [since, nodes, links] = ["since", "nodes", "links"].map((name) => field(body, name));
  if (!isNumber(since) || !isMap(nodes, isTimes) || !isMap(links, isNumber)) {
    throw new ProtocolError("bad-message", "times need since, nodes: {id: {count, p50, p95}} and links: {a->b: bytes}");
  }
  return { since, nodes, links };
}

const isNumber = (value: unknown): value is number => typeof value === "number";

function isTimes(value: unknown): value is NodeTimes {
  return ["count", "p50", "p95"].every((name) => isNumber(field(value, name)));
}

function isMap<Value>(value: unknown, holds: (value: unknown) => value is Value): value is Record<string, Value> {
  return typeof value === "object" && value !== null && Object.values(value).every(holds);
}

/** An own field of what should be a map; undefined where there is none. */
export function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
