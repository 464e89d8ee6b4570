import { expect, test } from "vitest";
import registry from "../../../mesh/protocol/registry.json";
import vectors from "../../../tests/vectors/sealing.json";
import { importPair } from "./grants";
import { seal, unseal } from "./sealing";
import { bytes, hex, randomBytes } from "./testing";

const way = { sender: vectors.sender.peer, to: vectors.to, roomKey: bytes(vectors.room_key) };
const key = importPair(JSON.stringify(vectors.sender.jwk));

test.each(vectors.sealed)("what is sealed and its bytes: $data.kind", async ({ data, sealed }) => {
  expect((await key).id).toBe(way.sender);
  expect(await unseal(bytes(sealed), way)).toEqual(data);
  expect(hex(await seal(data, { ...way, key: await key, nonce: bytes(vectors.nonce) }))).toBe(sealed);
});

test.each(vectors.refused)("what is not sealed by that peer for this one is refused: $name", async (vector) => {
  const { sender, to, room_key, sealed } = vector;
  expect(registry.errors).toContain("bad-seal");
  await expect(unseal(bytes(sealed), { sender, to, roomKey: bytes(room_key) })).rejects.toThrow("bad-seal");
});

test("random bytes are refused", async () => {
  const random = randomBytes(1);
  for (let length = 0; length < 200; length += 7) await expect(unseal(random(length), way)).rejects.toThrow("bad-seal");
});

test("what is too large to relay is refused by its sender", async () => {
  const sealing = seal({ sdp: "x".repeat(70_000) }, { ...way, key: await key, nonce: bytes(vectors.nonce) });
  await expect(sealing).rejects.toThrow("too-large");
});
