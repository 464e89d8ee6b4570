/** Values in JavaScript: what they are, how they nest, and the places in them that faults name (contract: mesh/values). */

import limits from "../generated/limits.json";

export type Value =
  | null
  | boolean
  | number
  | bigint
  | Float
  | string
  | Uint8Array
  | NdArray
  | Value[]
  | Map<string, Value>
  | { [key: string]: Value };

export const DTYPES = [
  "bool",
  "int8",
  "int16",
  "int32",
  "int64",
  "uint8",
  "uint16",
  "uint32",
  "uint64",
  "float32",
  "float64",
] as const;

/** The typed array of each dtype, in the order of DTYPES; a bool is a byte. */
export const TYPED = [
  Uint8Array,
  Int8Array,
  Int16Array,
  Int32Array,
  BigInt64Array,
  Uint8Array,
  Uint16Array,
  Uint32Array,
  BigUint64Array,
  Float32Array,
  Float64Array,
] as const;

export type Dtype = (typeof DTYPES)[number];
export type TypedArray = InstanceType<(typeof TYPED)[number]>;

/** An array in C order. */
export interface NdArray {
  dtype: Dtype;
  shape: number[];
  data: TypedArray;
}

/** A number that is a float though it may be whole. */
export class Float {
  constructor(readonly value: number) {}
}

/** Makes a float of any number: `float(2)` is 2.0, where `2` is an int. */
export function float(value: number): Float {
  return new Float(value);
}

export const ARRAY_EXTENSION = 1;

/** Something that is no value; the text begins with the place, for example `[2].a: map keys must be text`. */
export class ValueFault extends Error {}

export type Step = string | number;

const WORD = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** A path as people read it: `nodes[2].params["odd key"]`. */
export function placeOf(path: readonly Step[]): string {
  let place = "";
  for (const step of path) {
    if (typeof step === "number") place += `[${step}]`;
    else if (!WORD.test(step)) place += `[${JSON.stringify(step)}]`;
    else place += place ? `.${step}` : step;
  }
  return place;
}

export function fault(path: readonly Step[], message: string): never {
  const place = placeOf(path);
  throw new ValueFault(place ? `${place}: ${message}` : message);
}

/** Going one list or map deeper; `path` is its own. */
export function descend(path: readonly Step[], extraLevels: number): void {
  if (path.length >= limits.MAX_DEPTH + extraLevels) {
    fault(path, `lists and maps nest deeper than ${limits.MAX_DEPTH} levels`);
  }
}

/** How many items an array of this shape has, or a fault unless `size` bytes are just their data. */
export function checkShape(path: readonly Step[], dtype: number, shape: readonly number[], size: number): void {
  if (shape.length > limits.MAX_ARRAY_DIMS) fault(path, `an array has at most ${limits.MAX_ARRAY_DIMS} dimensions`);
  const item = TYPED[dtype]!.BYTES_PER_ELEMENT;
  // zeros must not hide dimensions whose product overflows elsewhere
  const bound = shape.reduce((product, n) => product * (n || 1), item);
  const expected = shape.reduce((product, n) => product * n, item);
  if (bound > limits.MAX_VALUE_BYTES || expected !== size) {
    fault(path, `${size} bytes are not the data of a ${DTYPES[dtype]} array of shape [${shape.join(", ")}]`);
  }
}
