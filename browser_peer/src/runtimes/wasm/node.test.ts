/** The node world with the vectors that the Python host asserts too (tests/runtimes/wasm_vectors.py). */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import vectors from "../../../../tests/vectors/wasm.json";
import limits from "../../generated/limits.json";
import type { Arity } from "../../run/graph";
import { type Answer, NodeError, type NodeSpec } from "../base";
import { World } from "./canonical";
import { compile } from "./module";
import { WasmNode } from "./node";
import { readSpecs } from "./spec";

type Failure = { kind: string; text?: string };
type Call = [op: string, payload: string | null, outcome: string[] | string | null | Failure];

const EMPTY = Uint8Array.of(0x80);
const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
const hex = (data: Uint8Array) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");

function load(wasm: Uint8Array<ArrayBuffer>): { module: WebAssembly.Module; specs: NodeSpec[] } {
  const module = compile(wasm);
  return { module, specs: readSpecs(new World(module).describe()) };
}

function expectFailure(act: () => unknown, failure: Failure): void {
  let caught: unknown;
  try {
    act();
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(NodeError);
  const { kind, message } = caught as NodeError;
  expect(kind).toBe(failure.kind);
  expect(message).toContain(failure.text ?? "");
  expect(message.length).toBeLessThanOrEqual(limits.MAX_CAUSE_CHARS);
}

/** Every part that a call gives; a state as it is. */
function make(node: WasmNode, op: string, payload: string | null): string[] | string | null {
  switch (op) {
    case "snapshot":
      return hex(node.snapshot());
    case "restore":
      node.restore(bytes(payload!));
      return null;
    default: {
      let answer: Answer = op === "process" ? node.process(bytes(payload!)) : node.finish();
      const parts = [...answer.parts];
      while (answer.more) {
        answer = node.next();
        parts.push(...answer.parts);
      }
      return parts.map(hex);
    }
  }
}

function expectCalls(node: WasmNode, calls: Call[]): void {
  for (const [op, payload, outcome] of calls) {
    if (typeof outcome === "object" && outcome !== null && !Array.isArray(outcome)) {
      expectFailure(() => make(node, op, payload), outcome);
    } else {
      expect(make(node, op, payload)).toEqual(outcome);
    }
  }
}

describe("modules outside the world are refused", () => {
  test.each(vectors.refused)("$name", ({ wasm, load: failure }) => {
    expectFailure(() => load(bytes(wasm)), failure);
  });
});

describe("hostile calls are errors", () => {
  test.each(vectors.called)("$name", ({ wasm, arity, calls }) => {
    const { module, specs } = load(bytes(wasm));
    expect(specs.map((spec) => spec.node_type)).toEqual(["Echo"]);
    expectCalls(new WasmNode(module, "Echo", EMPTY, arity as Arity), calls as Call[]);
  });
});

describe("the built-in module", () => {
  const { module, specs } = load(new Uint8Array(readFileSync("../mesh/_assets/nodes/basics.wasm")));

  test.each(vectors.basics)("$node_type", ({ node_type, params, arity, calls }) => {
    expect(specs.find((spec) => spec.node_type === node_type)?.arity).toBe(arity);
    expectCalls(new WasmNode(module, node_type, bytes(params), arity as Arity), calls as Call[]);
  });

  test("parts come in few steps", () => {
    const node = new WasmNode(module, "Range", EMPTY, "many");
    let answer = node.process(bytes("cd03e8")); // 1000
    expect(answer.parts.length).toBe(1);
    let steps = 1;
    for (; answer.more; steps += 1) answer = node.next();
    expect(steps).toBeLessThan(100);
  });
});

test("whatever a guest answers is a value or an error", () => {
  const module = compile(bytes(vectors.puppet));
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const end = 20 * 65536;
  const address = () => [random(160), 64, end - random(40), random(2 ** 32)][random(4)]!;
  for (let round = 0; round < 2000; round += 1) {
    const answer = Uint32Array.of(address(), random(4), random(4), address(), address());
    const node = new WasmNode(module, "Echo", EMPTY, "maybe");
    try {
      expect(node.process(new Uint8Array(answer.buffer)).parts.length).toBeLessThanOrEqual(1);
    } catch (error) {
      expect(error).toBeInstanceOf(NodeError);
    }
  }
});
