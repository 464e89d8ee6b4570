/** Every trace of tests/vectors/run.json. */

import { describe, it } from "vitest";
import traces from "../../../tests/vectors/run.json";
import { play, type Trace } from "./testing";

describe("traces shared with Python", () => {
  it.each(traces as unknown as Trace[])("$about", play);
});
