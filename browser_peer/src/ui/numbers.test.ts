import { describe, expect, it } from "vitest";
import { bytes, clock, count, duration, plural, rate } from "./numbers";

describe("numbers", () => {
  it("have three significant digits and thin spaces between thousands", () => {
    expect(count(43776)).toBe("43\u2009776");
    expect(count(1234567)).toBe("1\u2009234\u2009567");
    expect(rate(10.68)).toBe("10.7 /s");
    expect(bytes(31_234)).toBe("31.2 KB");
    expect(bytes(910_000)).toBe("0.91 MB");
  });

  it("give durations in ms below 10 s", () => {
    expect([0.001, 0.09, 237.4, 4310, 10_500].map(duration)).toEqual([
      "<0.01 ms",
      "0.09 ms",
      "237 ms",
      "4\u2009310 ms",
      "10.5 s",
    ]);
  });

  it("count time and things", () => {
    expect([48_000, 3_723_000].map(clock)).toEqual(["00:48", "1:02:03"]);
    expect([plural(1, "peer"), plural(0, "peer")]).toEqual(["1 peer", "0 peers"]);
  });
});
