import { expect, test } from "vitest";
import registry from "../../../mesh/protocol/registry.json";
import vectors from "../../../tests/vectors/handshake.json";
import { ProtocolError } from "../errors";
import { canonical, fingerprint } from "./fingerprint";
import { Handshake, type Role } from "./handshake";
import { bytes, hex, randomBytes, refusal } from "./testing";

const OTHER: { [R in Role]: Role } = { offerer: "answerer", answerer: "offerer" };
const ROLES = Object.keys(OTHER) as Role[];

/** Of the vectors: what begins with `ok.` is a grant. */
async function verify(text: string) {
  if (!text.startsWith("ok.")) throw new ProtocolError("bad-grant", "not signed by the room's owner");
  return { room: "r", subject: text, can: new Set(["work"] as const), expires: 2 ** 31, id: "1" };
}

function end(role: Role, resume: string | null = null): Handshake {
  const [mine, theirs] = [vectors.ends[role], vectors.ends[OTHER[role]]];
  return new Handshake(
    { peer: mine.peer, name: mine.name, roomKey: bytes(vectors.room_key), grant: mine.grant, verify },
    {
      peer: theirs.peer,
      role,
      localFingerprint: bytes(mine.fingerprint),
      remoteFingerprint: bytes(theirs.fingerprint),
      session: bytes(mine.session),
      resume: resume === null ? null : bytes(resume),
      nonce: bytes(mine.nonce),
    },
  );
}

async function refusalOf(act: Promise<unknown>): Promise<string | null> {
  const error = await act.then(
    () => null,
    (reason) => reason,
  );
  return refusal(() => {
    if (error !== null) throw error;
  });
}

test.each(ROLES)("the frames of a proof, as the %s", async (role) => {
  const mine = end(role);
  expect(hex(mine.start())).toBe(vectors.hello[role]);
  expect(hex((await mine.receive(bytes(vectors.hello[OTHER[role]])))!)).toBe(vectors.proof[role]);
  expect(mine.remote).toBeNull();
  expect(await mine.receive(bytes(vectors.proof[OTHER[role]]))).toBeNull();
  const { peer, name, grant, session } = vectors.ends[OTHER[role]];
  expect(mine.remote).toMatchObject({ peer, name, grant: { subject: grant }, session: bytes(session), resumed: false });
});

test.each(vectors.resume)("a session is resumed where both know both its ends: $name", async (vector) => {
  const ends = { offerer: end("offerer", vector.mine), answerer: end("answerer", vector.theirs) };
  expect(hex(ends.offerer.start())).toBe(vector.hello);
  const proofs = await Promise.all(ROLES.map((role) => ends[role].receive(ends[OTHER[role]].start())));
  await Promise.all([ends.offerer.receive(proofs[1]!), ends.answerer.receive(proofs[0]!)]);
  for (const role of ROLES) expect(ends[role].remote?.resumed).toBe(vector.resumed);
});

test.each(vectors.errors)("what is no proof has its code: $name", async ({ frames, code }) => {
  const offerer = end("offerer");
  for (const frame of frames.slice(0, -1)) await offerer.receive(bytes(frame));
  expect(await refusalOf(offerer.receive(bytes(frames.at(-1)!)))).toBe(code);
  expect(registry.errors).toContain(code);
  expect(offerer.remote).toBeNull();
});

test.each(vectors.fingerprints)("a fingerprint: $name", ({ sdp, hex: digest, canonical: form }) => {
  expect(hex(fingerprint(sdp))).toBe(digest);
  expect(canonical(sdp)).toBe(form);
});

test.each(vectors.fingerprint_errors)("a description without one fingerprint is refused: $name", ({ sdp }) => {
  expect(refusal(() => fingerprint(sdp))).toBe("bad-fingerprint");
});

test("random frames prove nothing", async () => {
  const random = randomBytes(1);
  const answerer = end("answerer");
  for (let round = 0; round < 300; round += 1) {
    expect(await refusalOf(answerer.receive(random(round % 90)))).not.toBeNull();
  }
  for (const frame of [vectors.hello.offerer, vectors.proof.answerer]) {
    for (let at = 0; at < frame.length / 2; at += 7) {
      const broken = bytes(frame);
      broken[at]! ^= 1 + (random(1)[0]! % 255);
      const one = end("answerer");
      await refusalOf(one.receive(broken));
      expect(one.remote).toBeNull();
    }
  }
});
