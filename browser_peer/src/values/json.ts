/** Values as people write them: JSON as it is, and the `$` forms for what it lacks. */

import limits from "../generated/limits.json";
import { type Build, fold, type Leaf } from "./decode";
import { encode } from "./encode";
import { checkShape, DTYPES, type Dtype, Float, fault, type Step, TYPED, type Value, ValueFault } from "./types";

const MAP_HINT = '{"$map": [[key, value], …]}';

/** The payload of what `text` writes: 2.0 stays a float, every int is exact. A fault gives the line, or the place. */
export function fromJson(text: string): Uint8Array {
  return encode(resolve(new JsonReader(text).document(), []));
}

/** The payloads of the members of a JSON array: items as people type them. */
export function itemsFromJson(text: string): Uint8Array[] {
  const items = resolve(new JsonReader(text).document(), []);
  if (!Array.isArray(items)) throw new ValueFault("items are a JSON array with one member for each");
  return items.map(encode);
}

/** A payload as JSON, without a detour through numbers: 2.0 is written 2.0, and every int exactly. */
export function toJson(payload: Uint8Array, indent = 0, extraLevels = 2 * limits.JOIN_LEVELS): string {
  const between = (open: string, close: string, parts: string[], depth: number) => {
    if (parts.length === 0) return open + close;
    if (indent === 0) return open + parts.join(", ") + close;
    const line = `\n${" ".repeat(indent * depth)}`;
    const inner = line + " ".repeat(indent);
    return open + inner + parts.join(`,${inner}`) + line + close;
  };
  const build: Build<string> = {
    leaf: leafJson,
    list: (members, depth) => between("[", "]", members, depth),
    map(entries, depth) {
      const pairs = entries.map(([key, member]) => [JSON.stringify(key), member] as const);
      if (entries.some(([key]) => key.startsWith("$"))) {
        return `{"$map": [${pairs.map(([key, member]) => `[${key}, ${member}]`).join(", ")}]}`;
      }
      const fields = pairs.map(([key, member]) => `${key}: ${member}`);
      return between("{", "}", fields, depth);
    },
  };
  return fold(payload, build, extraLevels);
}

function leafJson(leaf: Leaf): string {
  switch (leaf.is) {
    case "null":
      return "null";
    case "text":
      return JSON.stringify(leaf.value);
    case "float":
      return floatJson(leaf.value);
    case "bytes":
      return `{"$bytes": "${toBase64(leaf.value)}"}`;
    case "array":
      return `{"$array": {"dtype": "${DTYPES[leaf.dtype]}", "shape": [${leaf.shape.join(", ")}], "data": "${toBase64(leaf.data)}"}}`;
    default:
      return String(leaf.value);
  }
}

function floatJson(value: number): string {
  if (!Number.isFinite(value)) return `{"$float": "${value}"}`;
  if (Object.is(value, -0)) return "-0.0";
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(binary);
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const TEXT = /"[^"\\]*(?:\\.[^"\\]*)*"/y; // JSON.parse does the rest
const WORD = /true|false|null|NaN|-?Infinity/y;

/** Reads JSON text. Maps become Map, so that no key is special, and floats Float. */
class JsonReader {
  #at = 0;
  readonly #path: Step[] = [];

  constructor(readonly text: string) {}

  document(): Value {
    const value = this.#value(0);
    this.#match(SPACE);
    if (this.#at < this.text.length) this.#wrong("there is more after the end");
    return value;
  }

  #value(depth: number): Value {
    this.#match(SPACE);
    // the forms take more levels than the values that they write; encode counts those
    if (depth > 4 * limits.MAX_DEPTH) this.#wrong(`lists and maps nest deeper than ${limits.MAX_DEPTH} levels`);
    const next = this.text[this.#at];
    if (next === "{") return this.#map(depth);
    if (next === "[") return this.#list(depth);
    if (next === '"') return this.#text();
    const word = this.#word();
    return word === undefined ? this.#number() : word;
  }

  #list(depth: number): Value[] {
    const members: Value[] = [];
    this.#at++;
    if (this.#takes("]")) return members;
    do {
      this.#path.push(members.length);
      members.push(this.#value(depth + 1));
      this.#path.pop();
    } while (this.#takes(","));
    if (!this.#takes("]")) this.#wrong("a comma or ] is missing");
    return members;
  }

  #map(depth: number): Map<string, Value> {
    const fields = new Map<string, Value>();
    this.#at++;
    if (this.#takes("}")) return fields;
    do {
      this.#match(SPACE);
      const key = this.#text();
      this.#path.push(key);
      if (fields.has(key)) fault(this.#path, "the key comes twice");
      if (!this.#takes(":")) this.#wrong("a colon is missing");
      fields.set(key, this.#value(depth + 1));
      this.#path.pop();
    } while (this.#takes(","));
    if (!this.#takes("}")) this.#wrong("a comma or } is missing");
    return fields;
  }

  #text(): string {
    const match = this.#match(TEXT);
    if (match) {
      try {
        return JSON.parse(match[0]) as string;
      } catch {
        this.#at -= match[0].length;
      }
    }
    return this.#wrong("this is no text in quotes");
  }

  #word(): Value | undefined {
    const start = this.#at;
    const word = this.#match(WORD)?.[0];
    if (word === undefined) return undefined;
    if (word === "null") return null;
    if (word === "true" || word === "false") return word === "true";
    throw new ValueFault(`line ${this.#line(start)}: ${word} is no JSON; write {"$float": "${word}"}`);
  }

  #number(): Value {
    const start = this.#at;
    const match = this.#match(NUMBER);
    if (!match) this.#wrong("a value is missing");
    const [literal, , fraction, exponent] = match;
    if (fraction !== undefined || exponent !== undefined) {
      const value = Number(literal);
      if (Number.isFinite(value)) return new Float(value);
      throw new ValueFault(`line ${this.#line(start)}: the number is too large for a float`);
    }
    const value = literal.length <= 20 ? BigInt(literal) : 2n ** 64n;
    if (value >= -(2n ** 63n) && value < 2n ** 64n) return value;
    throw new ValueFault(`line ${this.#line(start)}: the integer is outside -2**63 … 2**64-1`);
  }

  #takes(mark: string): boolean {
    this.#match(SPACE);
    if (this.text[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.text);
    if (match) this.#at += match[0].length;
    return match;
  }

  #line(at: number): number {
    return this.text.slice(0, at).split("\n").length;
  }

  #wrong(message: string): never {
    const column = this.#at - this.text.lastIndexOf("\n", this.#at - 1);
    throw new ValueFault(`line ${this.#line(this.#at)}, column ${column}: ${message}`);
  }
}

/** What a tree of JSON writes: every `$` form replaced by its value. */
function resolve(tree: Value, path: Step[]): Value {
  if (Array.isArray(tree)) return tree.map((member, index) => resolveAt(member, index, path));
  if (!(tree instanceof Map)) return tree;
  const form = [...tree.keys()].find((key) => key.startsWith("$"));
  if (form === undefined) return new Map([...tree].map(([key, member]) => [key, resolveAt(member, key, path)]));
  const read = FORMS[form];
  if (read === undefined || tree.size > 1) {
    const wrong = read === undefined ? "is no form" : "stands alone";
    const forms = Object.keys(FORMS).join(", ");
    fault(path, `'${form}' ${wrong}; the forms are ${forms}, a map with such keys is ${MAP_HINT}`);
  }
  return read(tree.get(form)!, path);
}

function resolveAt(tree: Value, step: Step, path: Step[]): Value {
  path.push(step);
  const value = resolve(tree, path);
  path.pop();
  return value;
}

const FORMS: Record<string, (body: Value, path: Step[]) => Value> = {
  $float(body, path) {
    if (body === "NaN" || body === "Infinity" || body === "-Infinity") return new Float(Number(body));
    return fault(path, "$float is one of 'NaN', 'Infinity', '-Infinity'");
  },
  $bytes: fromBase64,
  $array(body, path) {
    const keys = body instanceof Map ? [...body.keys()].sort().join() : "";
    if (!(body instanceof Map) || keys !== "data,dtype,shape") fault(path, "$array has the keys dtype, shape and data");
    const dtype = DTYPES.indexOf(body.get("dtype") as Dtype);
    const sizes = body.get("shape");
    if (dtype < 0) fault(path, `the dtype of an array is one of ${DTYPES.join(", ")}`);
    if (!Array.isArray(sizes) || !sizes.every((size) => typeof size === "bigint" && size >= 0n && size < 2n ** 32n)) {
      fault(path, "the shape of an array is a list of sizes");
    }
    const shape = sizes.map(Number);
    const data = fromBase64(body.get("data") ?? null, path);
    checkShape(path, dtype, shape, data.length);
    if (dtype === 0 && data.some((item) => item > 1)) fault(path, "the items of a bool array are 0 and 1");
    return { dtype: DTYPES[dtype]!, shape, data: new TYPED[dtype]!(data.buffer) };
  },
  $map(body, path) {
    const right = (entry: Value): entry is [string, Value] =>
      Array.isArray(entry) && entry.length === 2 && typeof entry[0] === "string";
    if (!Array.isArray(body) || !body.every(right)) fault(path, `$map is a list of [key, value]: ${MAP_HINT}`);
    if (new Map(body).size < body.length) fault(path, "$map has a key twice");
    return new Map(body.map(([key, member]) => [key, resolveAt(member, key, path)]));
  },
};

function fromBase64(body: Value, path: Step[]): Uint8Array<ArrayBuffer> {
  if (typeof body !== "string" || body.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(body)) {
    fault(path, "$bytes is base64 text");
  }
  const binary = atob(body);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
