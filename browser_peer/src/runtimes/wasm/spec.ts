/** What a module says of its node types, as in mesh/nodes/spec.py: untrusted until it was read here. */

import limits from "../../generated/limits.json";
import type { NodeSpec } from "../base";
import { refusal } from "./module";

const KINDS = "any null bool int float number text bytes list map array audio image".split(" ");
const ARITIES = ["one", "maybe", "many"];
const FLAGS = ["join", "stateful", "deterministic", "finishes", "snapshots"] as const;
const SPEC_FIELDS = new Set(["node_type", "doc", "params", "accepts", "returns", "arity", "optional", ...FLAGS]);
const PARAM_FIELDS = new Set(["kind", "default", "doc", "choices"]);

type Fields = Record<string, unknown>;

/** The specs in the answer of `describe`; the NodeError says what is wrong with it. */
export function readSpecs(text: string): NodeSpec[] {
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch (error) {
    throw refusal(`describe answers nonsense: ${String(error)}`);
  }
  if (!Array.isArray(entries) || entries.length < 1 || entries.length > limits.MAX_NODE_TYPES) {
    throw refusal(`describe answers no list of 1 to ${limits.MAX_NODE_TYPES} node types`);
  }
  const specs = entries.map(readSpec);
  if (new Set(specs.map((spec) => spec.node_type)).size < specs.length) throw refusal("it describes a node type twice");
  return specs;
}

function readSpec(entry: unknown): NodeSpec {
  const fields = readMap(entry, SPEC_FIELDS);
  const params = Object.entries(readMap(fields.params ?? {}));
  if (params.length > limits.MAX_PARAMS) throw nonsense("params");
  const node_type = readText(fields, "node_type", limits.MAX_ID_CHARS);
  if (node_type === "") throw nonsense("node_type");
  const flag = (name: (typeof FLAGS)[number], absent: boolean) => {
    const value = fields[name] ?? absent;
    if (typeof value !== "boolean") throw nonsense(name);
    return value;
  };
  return {
    node_type,
    doc: readText(fields, "doc", limits.MAX_DOC_CHARS),
    params: Object.fromEntries(params.map(([name, param]) => [name, readParam(param)])),
    accepts: readChoice(fields, "accepts", KINDS, "any"),
    returns: readChoice(fields, "returns", KINDS, "any"),
    arity: readChoice(fields, "arity", ARITIES, "one") as NodeSpec["arity"],
    optional: readList(fields, "optional", limits.MAX_PORTS).map((port) => {
      if (typeof port !== "string") throw nonsense("optional");
      return port;
    }),
    join: flag("join", false),
    stateful: flag("stateful", false),
    deterministic: flag("deterministic", true),
    finishes: flag("finishes", false),
    snapshots: flag("snapshots", false),
  };
}

function readParam(entry: unknown): NodeSpec["params"][string] {
  const fields = readMap(entry, PARAM_FIELDS);
  const choices = readList(fields, "choices", limits.MAX_CHOICES);
  return {
    kind: readChoice(fields, "kind", KINDS, "any"),
    doc: readText(fields, "doc", limits.MAX_DOC_CHARS),
    ...("default" in fields && { default: fields.default }),
    ...(choices.length > 0 && { choices }),
  };
}

function readMap(value: unknown, known?: Set<string>): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw nonsense("a map is missing");
  const unknown = known && Object.keys(value).find((name) => !known.has(name));
  if (unknown !== undefined) throw nonsense(unknown);
  return value as Fields;
}

function readText(fields: Fields, name: string, limit: number): string {
  const value = fields[name] ?? "";
  if (typeof value !== "string" || value.length > limit) throw nonsense(name);
  return value;
}

function readChoice(fields: Fields, name: string, choices: string[], absent: string): string {
  const value = fields[name] ?? absent;
  if (typeof value !== "string" || !choices.includes(value)) throw nonsense(name);
  return value;
}

function readList(fields: Fields, name: string, limit: number): unknown[] {
  const value = fields[name] ?? [];
  if (!Array.isArray(value) || value.length > limit) throw nonsense(name);
  return value;
}

function nonsense(what: string) {
  return refusal(`describe answers nonsense: ${what.slice(0, 100)}`);
}
