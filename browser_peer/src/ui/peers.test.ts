import { describe, expect, it } from "vitest";
import { rights, roomOf } from "./invite";
import { Slots } from "./peers";

describe("Slots", () => {
  it("go in order of joining, the own first, and are kept", () => {
    const slots = new Slots("tab");
    expect(["ada", "gpu-1", "tab", "ada"].map((name) => slots.of(name).colour)).toEqual([2, 3, 1, 2]);
  });

  it("repeat the colours from the ninth peer on, with a letter", () => {
    const slots = new Slots(...Array.from({ length: 8 }, (_, index) => `p${index}`));
    expect(slots.of("ninth")).toEqual({ colour: 1, letter: "A" });
  });
});

describe("the invite in the address", () => {
  const grant = `e30.${btoa(JSON.stringify({ can: ["watch"] })).replaceAll("=", "")}.signature`;

  it("names the room in the path of a page, in the fragment of a dashboard", () => {
    expect(roomOf({ pathname: "/r/studio", hash: "#k=1&g=2" })).toBe("studio");
    expect(roomOf({ pathname: "/dashboard", hash: "#r=studio&k=1" })).toBe("studio");
  });

  it("is none without a key", () => {
    expect(roomOf({ pathname: "/r/studio", hash: "" })).toBeNull();
    expect(roomOf({ pathname: "/dashboard", hash: "#k=1" })).toBeNull();
  });

  it("tells what its grant allows", () => {
    expect(rights({ hash: `#k=1&g=${grant}` })).toEqual(["watch"]);
    expect(rights({ hash: "#k=1&g=nonsense" })).toEqual([]);
  });
});
