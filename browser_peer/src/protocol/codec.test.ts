import { encode } from "@msgpack/msgpack";
import { expect, test } from "vitest";
import registry from "../../../mesh/protocol/registry.json";
import vectors from "../../../tests/vectors/frames.json";
import { ProtocolError } from "../errors";
import { decodeFrame, encodeFrame, Lane, type Record } from "./codec";
import { decodeMessage, encodeMessage, type Message } from "./messages";
import { bytes, hex, randomBytes, refusal } from "./testing";

const LANES: { [name: string]: Lane } = { control: Lane.CONTROL, data: Lane.DATA };

/** A record or message of the vectors, its hex fields as bytes. */
function withBytes<T>(fields: object): T {
  const read = ([name, value]: [string, unknown]) =>
    ["data", "body", "payload", "sealed", "request", "answer"].includes(name) && typeof value === "string"
      ? [name, bytes(value)]
      : [name, value];
  return Object.fromEntries(Object.entries(fields).map(read as (entry: [string, unknown]) => [string, unknown])) as T;
}

test.each(vectors.frames)("a frame and its records: $name", ({ hex: text, records }) => {
  const expected = records.map((fields) => withBytes<Record>(fields));
  expect(decodeFrame(bytes(text))).toEqual(expected);
  expect(hex(encodeFrame(expected))).toBe(text);
});

test.each(vectors.errors)("a malformed frame has its code: $name", ({ hex: text, zeros, code }) => {
  expect(refusal(() => decodeFrame(zeros === undefined ? bytes(text!) : new Uint8Array(zeros)))).toBe(code);
});

test.each(vectors.messages)("a message and its bytes: $message.type", ({ lane, hex: text, message }) => {
  const expected = withBytes<Message>(message);
  expect(decodeMessage(LANES[lane]!, bytes(text))).toEqual(expected);
  expect(hex(encodeMessage(expected))).toBe(text);
});

test.each(vectors.message_errors)("a malformed message is refused: $name", ({ lane, hex: text }) => {
  expect(refusal(() => decodeMessage(LANES[lane]!, bytes(text)))).toBe("bad-message");
});

test("random bytes are a frame or a protocol error", () => {
  const random = randomBytes(1);
  for (let round = 0; round < 3000; round += 1) {
    const frame = random(round % 300);
    const code = refusal(() => decodeFrame(frame));
    if (code === null) expect(decodeFrame(encodeFrame(decodeFrame(frame)))).toEqual(decodeFrame(frame));
    else expect(registry.errors).toContain(code);
  }
});

test("a good frame with one wrong byte is a frame or a protocol error", () => {
  const random = randomBytes(2);
  for (const { hex: text } of vectors.frames) {
    for (let at = 0; at < text.length / 2; at += 1) {
      const frame = bytes(text);
      frame[at] = random(1)[0]!;
      expect([null, ...registry.errors]).toContain(refusal(() => decodeFrame(frame)));
    }
  }
});

test("random bytes, and good messages with one wrong byte, are a message or a protocol error", () => {
  const random = randomBytes(3);
  for (let round = 0; round < 3000; round += 1) {
    expect([null, "bad-message"]).toContain(refusal(() => decodeMessage(round % 2, random(round % 100))));
  }
  for (const { lane, hex: text } of vectors.messages) {
    for (let at = 0; at < text.length / 2; at += 1) {
      const data = bytes(text);
      data[at] = random(1)[0]!;
      expect([null, "bad-message"]).toContain(refusal(() => decodeMessage(LANES[lane]!, data)));
    }
  }
});

test("what announces more than there is, or nests too deep, is refused before it is decoded", () => {
  const headers = (header: number[], times: number) =>
    Uint8Array.from({ length: header.length * times }, (_, at) => header[at % header.length]!);
  const bombs = [headers([0xdd, 255, 255, 255, 255], 1), headers([0xdc, 64, 0], 200_000), headers([0x91], 1_000_000)];
  const start = performance.now();
  for (const bomb of bombs) expect(refusal(() => decodeMessage(Lane.CONTROL, bomb))).toBe("bad-message");
  expect(performance.now() - start).toBeLessThan(200);
});

test("a message of a graph's size is read", () => {
  const nodes = Array.from({ length: 1000 }, (_, index) => ({
    id: `n${index}`,
    params: new Uint8Array(30),
    optional: [],
  }));
  const data = encode([registry.messages.START, "d", "r", 1, { graph: { nodes } }]);
  const message = decodeMessage(Lane.CONTROL, data);
  expect(message).toMatchObject({ type: "START", driver: "d", run: "r", epoch: 1 });
});

test("other errors than protocol errors are no refusal", () => {
  expect(() =>
    refusal(() => {
      throw new TypeError("a bug");
    }),
  ).toThrow(TypeError);
  expect(new ProtocolError("bad-frame", "x").message).toBe("bad-frame: x");
});
