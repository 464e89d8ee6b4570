import { describe, expect, it } from "vitest";
import { placeOf } from "./places";

const YAML = `version: v1
nodes:
  - id: a
    params: {factr: 2}
x-odd: {"a.b": 1}
`;

const at = (path: string) => YAML.slice(...placeOf(YAML, path));

describe("placeOf", () => {
  it("finds keys below lists and maps", () => {
    expect(at("nodes[0].params.factr")).toBe("factr");
    expect(at("version")).toBe("version");
  });

  it("stops at the deepest part that is there", () => {
    expect(at("nodes[0].node_type")).toMatch(/^id: a/);
    expect(at("nodes[7].id")).toBe("nodes");
  });

  it("reads quoted keys, and JSON", () => {
    expect(at('x-odd["a.b"]')).toBe('"a.b"');
    const json = '{"nodes": [{"idd": 1}]}';
    expect(json.slice(...placeOf(json, "nodes[0].idd"))).toBe('"idd"');
  });
});
