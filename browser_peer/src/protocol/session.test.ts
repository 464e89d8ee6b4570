import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import vectors from "../../../tests/vectors/session.json";
import limits from "../generated/limits.json";
import { encodeFrame, LANES, Lane } from "./codec";
import { type Event, Session } from "./session";
import { bytes, hex, randomBytes, refusal } from "./testing";

const BY_NAME: { [name: string]: Lane } = { control: Lane.CONTROL, data: Lane.DATA };
const NAMES = new Map(Object.entries(BY_NAME).map(([name, lane]) => [lane, name]));

interface Step {
  send?: string;
  receive?: string;
  tick?: number;
  resume?: number;
  frames?: string;
  state?: { [name: string]: unknown };
  message?: string | { fill: number; length: number };
  hex?: string | string[];
  zeros?: number;
  now?: number;
  events?: object[];
  error?: string;
  silent?: boolean;
  count?: number;
  sha256?: string;
}

function message(form: Step["message"]): Uint8Array {
  return typeof form === "object" ? new Uint8Array(form.length).fill(form.fill) : bytes(form!);
}

function asVector(event: Event): object {
  if (event.type === "closed") return { code: event.code, text: event.text };
  return { lane: NAMES.get(event.lane), message: hex(event.message) };
}

function framesOf(session: Session, lane: Lane): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let frame = session.nextFrame(lane); frame !== null; frame = session.nextFrame(lane)) {
    expect(frame.length).toBeLessThanOrEqual(limits.MAX_FRAME_BYTES);
    frames.push(frame);
  }
  return frames;
}

function take(session: Session, step: Step): void {
  if (step.send !== undefined) {
    const code = refusal(() => session.send(BY_NAME[step.send!]!, message(step.message)));
    expect(code).toBe(step.error ?? null);
  } else if (step.receive !== undefined) {
    const frame = new Uint8Array([...bytes(step.hex as string), ...new Uint8Array(step.zeros ?? 0)]);
    let events: Event[] = [];
    const code = refusal(() => {
      events = session.receive(BY_NAME[step.receive!]!, frame, step.now!);
    });
    expect(code).toBe(step.error ?? null);
    if (code === null) expect(events.map(asVector)).toEqual(step.events);
  } else if (step.resume !== undefined) {
    session.resume(step.resume);
  } else if (step.tick !== undefined) {
    expect(session.tick(step.tick)).toBe(step.silent);
  } else if (step.frames !== undefined) {
    const frames = framesOf(session, BY_NAME[step.frames]!);
    if (step.sha256 === undefined) expect(frames.map(hex)).toEqual(step.hex);
    else {
      const digest = createHash("sha256");
      for (const frame of frames) digest.update(frame);
      expect([frames.length, digest.digest("hex")]).toEqual([step.count, step.sha256]);
    }
  } else checkState(session, step.state!);
}

function checkState(session: Session, { deadline, settled, rtt, backlog }: { [name: string]: unknown }): void {
  if (deadline !== undefined) expect(session.deadline).toBeCloseTo(Number(deadline), 9);
  if (settled !== undefined) expect(session.settled).toBe(settled);
  if (rtt !== undefined) expect(session.rtt).toBeCloseTo(Number(rtt), 9);
  if (backlog !== undefined) {
    expect({ control: session.backlog(Lane.CONTROL), data: session.backlog(Lane.DATA) }).toEqual(backlog);
  }
}

test.each(vectors)("$name", ({ now, steps }) => {
  const session = new Session(now);
  for (const step of steps as Step[]) take(session, step);
});

test.each([1, 2, 3, 4])("two sessions exchange everything once and in order (seed %i)", (seed) => {
  const random = randomBytes(seed);
  const ends = [new Session(0), new Session(0)];
  const sent: string[][] = [[], [], [], []];
  const got: string[][] = [[], [], [], []];
  ends.forEach((end, side) => {
    for (let count = 0; count < 40; count += 1) {
      for (const lane of LANES) {
        const content = random([1, 5, 300, 20_000, 100_000][random(1)[0]! % 5]!);
        end.send(lane, content);
        sent[2 * side + lane]!.push(digest(content));
      }
    }
  });
  for (let now = 0; !ends.every((end) => end.settled); now += 0.01) {
    expect(now).toBeLessThan(120);
    ends.forEach((end, side) => {
      if (now >= end.deadline) expect(end.tick(now)).toBe(false);
      const lane = random(1)[0]! % 2;
      const frame = end.nextFrame(lane);
      for (const event of frame === null ? [] : ends[1 - side]!.receive(lane, frame, now)) {
        if (event.type === "delivered") got[2 * side + event.lane]!.push(digest(event.message));
      }
    });
  }
  expect(got).toEqual(sent);
});

function digest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

test("a peer that never acknowledges gets one window", () => {
  const session = new Session(0);
  session.receive(Lane.CONTROL, encodeFrame([{ type: "ACK", message: 0, offset: 0 }]), 0);
  for (let count = 0; count < 12; count += 1) session.send(Lane.DATA, new Uint8Array(1024 * 1024));
  const bytesSent = framesOf(session, Lane.DATA).reduce((sum, frame) => sum + frame.length, 0);
  expect(bytesSent).toBeLessThan(limits.SESSION_WINDOW_BYTES + 16 * 1024);
});

test("random frames throw nothing but protocol errors", () => {
  const random = randomBytes(5);
  for (let round = 0; round < 500; round += 1) {
    const session = new Session(0);
    for (let frame = 0; frame < 10; frame += 1) {
      if (refusal(() => session.receive(frame % 2, random(1 + (round % 40)), 0)) !== null) break;
    }
  }
});
