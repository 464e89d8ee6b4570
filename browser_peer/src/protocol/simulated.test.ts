/** What sessions were asked in simulated runs, with the limits of the simulation (tests/sim/recording.py). */

import { expect, test, vi } from "vitest";
import { sessions } from "../../../tests/vectors/simulated.json";
import { Lane } from "./codec";
import { type Event, Session } from "./session";
import { bytes, hex } from "./testing";

vi.mock("../generated/limits.json", async (original) => {
  const { limits } = await import("../../../tests/vectors/simulated.json");
  return { default: { ...(await original<{ default: object }>()).default, ...limits } };
});

interface Step {
  send?: string;
  message?: string;
  receive?: string;
  frame?: string;
  hex?: string | null;
  now?: number;
  events?: object[];
  tick?: number;
  silent?: boolean;
  resume?: number;
  probe?: number;
}

const lane = (name: string): Lane => (name === "data" ? Lane.DATA : Lane.CONTROL);

function written(event: Event): object {
  if (event.type === "closed") return { code: event.code, text: event.text };
  return { lane: event.lane === Lane.DATA ? "data" : "control", message: hex(event.message) };
}

function take(session: Session, step: Step): void {
  if (step.send !== undefined) session.send(lane(step.send), bytes(step.message!));
  else if (step.receive !== undefined) {
    const events = session.receive(lane(step.receive), bytes(step.hex!), step.now!);
    expect(events.map(written)).toEqual(step.events);
  } else if (step.frame !== undefined) {
    const frame = session.nextFrame(lane(step.frame));
    expect(frame && hex(frame)).toBe(step.hex);
  } else if (step.tick !== undefined) expect(session.tick(step.tick)).toBe(step.silent);
  else if (step.resume !== undefined) session.resume(step.resume);
  else session.probe(step.probe!);
}

test.each(sessions)("$name", ({ now, steps }) => {
  const session = new Session(now);
  for (const step of steps as Step[]) take(session, step);
});
