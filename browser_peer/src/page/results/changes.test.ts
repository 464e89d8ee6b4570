import { describe, expect, it } from "vitest";
import type { EpochRecord } from "../../peer/types";
import { listed, lossWords, moved } from "./changes";

const first: EpochRecord = { epoch: 1, reason: "start", placement: { slow: ["bea"], double: ["ada"], text: ["ada"] } };
const second: EpochRecord = {
  epoch: 2,
  reason: "ada was lost: its page was closed",
  placement: { slow: ["bea"], double: ["cleo"], text: ["driver"] },
};

describe("what moved", () => {
  it("is said of those nodes that did", () => {
    expect(moved(first, second)).toEqual(
      new Map([
        ["cleo", ["double"]],
        ["this tab", ["text"]],
      ]),
    );
    expect(moved(first, first)).toEqual(new Map());
  });

  it("goes together where it went to one place", () => {
    const both = { ...second, placement: { slow: ["bea"], double: ["cleo", "dan"], text: ["cleo", "dan"] } };
    expect(moved(first, both)).toEqual(new Map([["cleo and dan", ["double", "text"]]]));
  });
});

it("lists as people do", () => {
  expect([[], ["a"], ["a", "b"], ["a", "b", "c"]].map(listed)).toEqual(["", "a", "a and b", "a, b and c"]);
});

describe("of a run is said", () => {
  const state = "running";

  it("nothing while it goes as it began", () => {
    expect(lossWords({ epochs: [first], trouble: null, state })).toBe("");
  });

  it("for what it waits", () => {
    const trouble = { reason: "ada was lost: it left the room (closed)", nodes: ["double", "text"] };
    expect(lossWords({ epochs: [first], trouble, state })).toBe(
      "ada was lost: it left the room (closed). Waiting for a peer for double and text, 30 s at most.",
    );
    expect(lossWords({ epochs: [first], trouble: { ...trouble, nodes: [] }, state })).toContain("another plan");
  });

  it("what moved, and that it goes on", () => {
    expect(lossWords({ epochs: [first, second], trouble: null, state })).toBe(
      "ada was lost: its page was closed. double moved to cleo, text moved to this tab; the run goes on.",
    );
    expect(lossWords({ epochs: [first, { ...first, epoch: 2 }], trouble: null, state: "done" })).toBe(
      "start. Every node stays where it was; the run went on.",
    );
  });
});
