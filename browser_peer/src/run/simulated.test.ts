/** What drivers and fragments were asked in simulated runs, with the limits of the simulation (tests/sim/recording.py). */

import { describe, it, vi } from "vitest";
import { runs } from "../../../tests/vectors/simulated.json";
import { play, type Trace } from "./testing";

vi.mock("../generated/limits.json", async (original) => {
  const { limits } = await import("../../../tests/vectors/simulated.json");
  return { default: { ...(await original<{ default: object }>()).default, ...limits } };
});

describe("simulated runs", () => {
  it.each(runs as unknown as Trace[])("$about", play);
});
