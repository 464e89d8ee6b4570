import { describe, expect, it } from "vitest";
import vectors from "../../../tests/vectors/values.json";
import { check, decode, encode, float, fromJson, packList, packMap, toJson, type Value, ValueFault } from ".";

const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const hex = (payload: Uint8Array) => Array.from(payload, (byte) => byte.toString(16).padStart(2, "0")).join("");

function faultOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof ValueFault) return error.message;
    throw error;
  }
  throw new Error("no fault");
}

describe("vectors", () => {
  it.each(vectors.values)("$json both ways", (vector) => {
    expect(hex(fromJson(vector.json))).toBe(vector.hex);
    expect(toJson(bytes(vector.hex))).toBe(vector.json);
    check(bytes(vector.hex));
  });

  it.each(vectors.values)("$json through values, whole floats aside", (vector) => {
    const value = decode(bytes(vector.hex));
    expect(decode(encode(value))).toEqual(value);
  });

  it.each(vectors.read_json)("$json is read", ({ json, hex: payload }) => {
    expect(hex(fromJson(json))).toBe(payload);
    expect(hex(fromJson(toJson(bytes(payload))))).toBe(payload);
  });

  it.each(vectors.read_payload)("$hex is read", ({ json, hex: payload }) => {
    check(bytes(payload));
    expect(toJson(bytes(payload))).toBe(json);
  });

  it.each(vectors.json_faults)("$json is refused at $place", ({ json, place }) => {
    const text = faultOf(() => fromJson(json));
    expect(text.startsWith(`${place}:`) || text.startsWith(`${place},`), text).toBe(true);
  });

  it.each(vectors.payload_faults)("$hex is refused at $place", ({ hex: payload, place }) => {
    const text = faultOf(() => check(bytes(payload)));
    expect(text.startsWith(place && `${place}:`), text).toBe(true);
    expect(faultOf(() => decode(bytes(payload)))).toBe(text);
  });
});

describe("encode", () => {
  it.each<[Value, string]>([
    [2, "2"],
    [float(2), "2.0"],
    [2.5, "2.5"],
    [-0, "-0.0"],
    [2 ** 53, "9007199254740992.0"],
    [2n ** 53n, "9007199254740992"],
    [-(2n ** 63n), "-9223372036854775808"],
    [Number.NaN, '{"$float": "NaN"}'],
    [new Uint8Array([255]), '{"$bytes": "/w=="}'],
    [new Map([["$a", 1]]), '{"$map": [["$a", 1]]}'],
    [
      { dtype: "int16", shape: [2], data: new Int16Array([1, -1]) },
      '{"$array": {"dtype": "int16", "shape": [2], "data": "AQD//w=="}}',
    ],
    [{ dtype: "int16", shape: [2], data: [1, 2] }, '{"dtype": "int16", "shape": [2], "data": [1, 2]}'],
  ])("%o", (value, json) => {
    expect(toJson(encode(value))).toBe(json);
  });

  it("aligns the data of an array within the payload", () => {
    const payload = encode({ text: "odd", array: { dtype: "float64", shape: [1], data: new Float64Array([1]) } });
    expect((payload.length - 8) % 8).toBe(0);
  });

  it.each<[unknown, string]>([
    [undefined, "undefined cannot be carried"],
    [[1, { a: undefined }], "[1].a: undefined cannot be carried"],
    [{ a: [new Date()] }, "a[0]: Date cannot be carried"],
    [[() => 1], "[0]: function cannot be carried"],
    [[2n ** 64n], "[0]: the integer is outside -2**63 … 2**64-1"],
    [["\ud800"], "[0]: half a surrogate pair is no Unicode text"],
    [new Map([[1, 2]]), "map keys must be text, not number"],
    [new Float32Array(1), "Float32Array cannot be carried"],
  ])("refuses %o", (value, message) => {
    expect(faultOf(() => encode(value as Value))).toBe(message);
  });

  it("refuses what contains itself", () => {
    const loop: Value[] = [];
    loop.push(loop);
    expect(faultOf(() => encode(loop))).toMatch(/nest deeper than 64 levels/);
  });
});

describe("decode", () => {
  it("gives ints beyond 2^53-1 as BigInt and arrays as aligned copies", () => {
    const payload = encode(["x", 2n ** 53n, { dtype: "float64", shape: [2], data: new Float64Array([1, 2]) }]);
    const shifted = new Uint8Array(payload.length + 1);
    shifted.set(payload, 1);
    const value = decode(shifted.subarray(1));
    expect(value).toEqual(["x", 2n ** 53n, { dtype: "float64", shape: [2], data: new Float64Array([1, 2]) }]);
  });

  it("keeps a key that JavaScript treats specially", () => {
    const value = decode(fromJson('{"__proto__": {"a": 1}}')) as Record<string, Value>;
    expect(Object.keys(value)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  it("takes the levels of joins and sinks on top", () => {
    const deep = fromJson("[".repeat(64) + "]".repeat(64));
    const joined = packMap([["port", packList([deep])]]);
    check(joined, 2);
    expect(faultOf(() => check(joined, 1))).toMatch(/nest deeper/);
    expect(toJson(joined).length).toBeGreaterThan(128);
  });

  it("survives random bytes", () => {
    let state = 1;
    const random = () => {
      state = (state * 1103515245 + 12345) % 2 ** 31;
      return state >> 8;
    };
    for (let round = 0; round < 5_000; round++) {
      const payload = Uint8Array.from({ length: random() % 24 }, () => random());
      try {
        toJson(payload);
      } catch (error) {
        if (!(error instanceof ValueFault)) throw error;
      }
    }
  });
});

describe("packing", () => {
  it.each([0, 1, 15, 16, 65_536])("packs %i payloads as encode would", (count) => {
    const members = Array.from({ length: count }, (_, index) => index);
    expect(hex(packList(members.map(encode)))).toBe(hex(encode(members)));
    const entries = members.map((index) => [`k${index}`, encode(index)] as const);
    expect(hex(packMap(entries))).toBe(hex(encode(new Map(members.map((index) => [`k${index}`, index])))));
  });
});

describe("JSON", () => {
  it("is indented as Python does it", () => {
    const payload = fromJson('{"a": [1, {"$map": [["$b", [{}]]]}]}');
    expect(toJson(fromJson('{"a": [1, {"b": []}], "c": {}}'), 2)).toBe(
      '{\n  "a": [\n    1,\n    {\n      "b": []\n    }\n  ],\n  "c": {}\n}',
    );
    expect(fromJson(toJson(payload, 2))).toEqual(payload);
  });

  it("takes long texts and many members", () => {
    const text = JSON.stringify(Array.from({ length: 10 }, () => "x\\n".repeat(300_000)));
    expect(toJson(fromJson(text))).toBe(text.replaceAll('","', '", "'));
  });
});
