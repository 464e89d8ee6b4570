/** What the signaling server says to its clients, as in mesh/protocol/signaling.py (docs/wire.md, 6). */

import { SignalingError } from "../errors";
import limits from "../generated/limits.json";

export const VERSION = 1;
/** How the server closes, with `code: text` as the reason (RFC 6455, 7.4.1). */
export const POLICY_VIOLATION = 1008;

/** A record as it crosses the wire: `types` is the digest of a list in the catalog. */
export type WireRecord = Record<string, unknown> & { peer: string; name: string; types: string };
export type Catalog = Record<string, Record<string, unknown>[]>;

export interface Gone {
  peer: string;
  name: string;
  reason: string;
}

export interface Joined {
  type: "joined";
  peer: string;
  name: string;
  room: string;
  can: string[];
  peers: WireRecord[];
  catalog: Catalog;
  ice_servers: RTCIceServer[];
}

export interface Presence {
  type: "presence";
  left: Gone[];
  joined: WireRecord[];
  updated: WireRecord[];
  catalog: Catalog;
}

/** A plan with its graph and name, or the manifest's faults, or why no plan fits. */
export interface PlanAnswer {
  name?: string;
  graph?: Record<string, unknown>;
  plan?: Record<string, unknown>;
  faults?: { path: string; message: string }[];
  refused?: { message: string; refusals: { node: string; peer: string; lacks: string[] }[] };
}

export interface LinkState {
  a: string;
  b: string;
  rtt_ms: number | null;
  bytes_per_s: number;
  path: string;
  engine: string;
}

export interface RunState {
  id: string;
  name: string;
  /** The peer's name. */
  driver: string;
  state: "planning" | "connecting" | "loading" | "running" | "done" | "failed" | "cancelled";
  items_in: number;
  results_out: number;
  errors: number;
  placement: Record<string, string[]>;
  node_ms: Record<string, { count: number; p50: number; p95: number }>;
  reason?: string;
  /** Seconds since 1970, as `t` of an event. */
  started: number;
}

export interface RoomEvent {
  t: number;
  kind: "joined" | "left" | "lost" | "took-over" | "run-started" | "run-ended";
  text: string;
  peer?: string;
}

/** What a dashboard hears: the whole state once after `watch` (and after each reconnect), then what changed. */
export type Delta =
  | { type: "state"; room: string; since_s: number; links: LinkState[]; runs: RunState[]; events: RoomEvent[] }
  | { type: "links"; links: LinkState[] }
  | { type: "runs"; runs: RunState[] }
  | { type: "events"; events: RoomEvent[] };

export type ServerMessage =
  | { type: "challenge"; version: number; nonce: string }
  | Joined
  | Presence
  | { type: "relay"; from: string; data: Record<string, unknown> }
  | { type: "ice"; ice_servers: RTCIceServer[] }
  | (PlanAnswer & { type: "plan"; id: number })
  | { type: "error"; code: string; message: string; id?: number }
  | Delta;

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isNumber: Check = (value) => typeof value === "number";
const isObject: Check = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const listOf = (check: Check) => (value: unknown) => Array.isArray(value) && value.every(check);
const mapOf = (check: Check) => (value: unknown) => isObject(value) && Object.values(value as object).every(check);
const optional = (check: Check) => (value: unknown) => value === undefined || check(value);
const shape = (fields: Record<string, Check>) => (value: unknown) =>
  isObject(value) && Object.entries(fields).every(([name, check]) => check((value as Record<string, unknown>)[name]));

const isRecord = shape({ peer: isText, name: isText, types: isText, can: listOf(isText), caps: optional(isObject) });
const isCatalog = mapOf(listOf(isObject));
const isObjects = listOf(isObject);
const planFields = {
  name: optional(isText),
  graph: optional(isObject),
  plan: optional(isObject),
  faults: optional(listOf(shape({ path: isText, message: isText }))),
  refused: optional(shape({ message: isText, refusals: isObjects })),
};
const isGone = shape({ peer: isText, name: isText, reason: isText });

/** The fields of each message that this side reads; further ones are left alone. */
const SHAPES: Record<string, Check> = {
  challenge: shape({ version: isNumber, nonce: isText }),
  joined: shape({
    peer: isText,
    name: isText,
    room: isText,
    can: listOf(isText),
    peers: listOf(isRecord),
    catalog: isCatalog,
    ice_servers: isObjects,
  }),
  presence: shape({ left: listOf(isGone), joined: listOf(isRecord), updated: listOf(isRecord), catalog: isCatalog }),
  relay: shape({ from: isText, data: isObject }),
  ice: shape({ ice_servers: isObjects }),
  plan: shape({ id: isNumber, ...planFields }),
  error: shape({ code: isText, message: isText, id: optional(isNumber) }),
  state: shape({ room: isText, since_s: isNumber, links: isObjects, runs: isObjects, events: isObjects }),
  links: shape({ links: isObjects }),
  runs: shape({ runs: isObjects }),
  events: shape({ events: isObjects }),
};

/** The message in one frame; throws SignalingError("bad-message"). */
export function readMessage(data: unknown): ServerMessage {
  if (typeof data !== "string" || data.length > limits.MAX_SIGNALING_BYTES) bad("the server sent no text, or too much");
  let message: unknown;
  try {
    message = JSON.parse(data);
  } catch (error) {
    bad(`the server sent what is no JSON: ${error instanceof Error ? error.message : error}`);
  }
  const type = isObject(message) ? (message as { type?: unknown }).type : undefined;
  const check = typeof type === "string" && Object.hasOwn(SHAPES, type) ? SHAPES[type] : undefined;
  if (check === undefined || !check(message)) bad(`the server said what this peer does not understand (${type})`);
  return message as ServerMessage;
}

/** What a neighbour answers in place of the server; throws SignalingError with what it says instead, or "bad-message". */
export function readPlanned(answer: Uint8Array): PlanAnswer {
  let said: unknown;
  try {
    said = JSON.parse(new TextDecoder().decode(answer));
  } catch {
    bad("a neighbour answered what is no JSON");
  }
  if (isObject(said) && "error" in (said as object)) {
    throw new SignalingError(
      "plan-failed",
      String((said as { error: unknown }).error).slice(0, limits.MAX_CAUSE_CHARS),
    );
  }
  if (!shape(planFields)(said)) bad("a neighbour answered what is no plan");
  return said as PlanAnswer;
}

export function bad(reason: string): never {
  throw new SignalingError("bad-message", reason);
}
