import { describe, expect, it } from "vitest";
import type { RunProgress } from "../../peer/types";
import { Rates } from "./rates";

function progress(elapsed_ms: number, items_in: number, count: number): RunProgress {
  return {
    state: "running",
    detail: "",
    items_in,
    results_out: items_in,
    in_flight: 0,
    errors: 0,
    replayed: 0,
    duplicates_dropped: 0,
    epochs: [],
    trouble: null,
    node_ms: { a: { count, p50: 5, p95: 6 } },
    elapsed_ms,
  };
}

describe("Rates", () => {
  it("knows nothing of a node that was not measured", () => {
    expect(new Rates().node("a")).toBeNull();
  });

  it("gives items, calls and the busy share of the last seconds", () => {
    const rates = new Rates();
    rates.add(progress(0, 0, 0));
    rates.add(progress(1000, 50, 100));
    expect(rates.itemsIn()).toBe(50);
    expect(rates.node("a")).toEqual({ count: 100, p50: 5, perSecond: 100, busy: 0.5 });
  });

  it("forgets what is older than its window", () => {
    const rates = new Rates();
    rates.add(progress(0, 0, 0));
    rates.add(progress(1000, 1000, 0));
    for (const at of [3000, 4000, 5000]) rates.add(progress(at, 1000, 0));
    expect(rates.itemsIn()).toBe(0);
  });
});
