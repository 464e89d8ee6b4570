import { expect, test } from "vitest";
import limits from "../../generated/limits.json";
import { Steps } from "./steps";

/** Parts of one byte, from 0 to below `count`, then whatever `end` does. */
function counting(count: number, end: () => null = () => null) {
  let next = 0;
  return () => (next < count ? Uint8Array.of(next++) : end());
}

test("the first part comes alone, further ones in growing steps", () => {
  const steps = new Steps();
  const sizes = [steps.begin(counting(200)).parts.length];
  for (let more = true; more; ) {
    const step = steps.step();
    sizes.push(step.parts.length);
    more = step.more;
  }
  expect(sizes[0]).toBe(1);
  expect(sizes.reduce((a, b) => a + b)).toBe(200);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(limits.STEP_PARTS);
  expect(steps.step()).toEqual({ parts: [], more: false });
});

test("large parts come one by one", () => {
  const steps = new Steps();
  const large = new Uint8Array(limits.STEP_BYTES);
  steps.begin(() => large);
  for (let step = 0; step < 5; step += 1) expect(steps.step().parts.length).toBe(1);
});

test("parts before an error are handed over first, and nothing follows it", () => {
  const steps = new Steps();
  const fail = () => {
    throw new Error("that was all");
  };
  const got = [...steps.begin(counting(5, fail)).parts];
  expect(() => {
    for (;;) got.push(...steps.step().parts);
  }).toThrow("that was all");
  expect(got.map((part) => part[0])).toEqual([0, 1, 2, 3, 4]);
  expect(steps.step()).toEqual({ parts: [], more: false });
});

test("a new input abandons what is left", () => {
  const steps = new Steps();
  expect(steps.begin(counting(10)).more).toBe(true);
  expect(steps.begin(counting(0))).toEqual({ parts: [], more: false });
});
