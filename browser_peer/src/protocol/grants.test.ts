import { describe, expect, it } from "vitest";
import vectors from "../../../tests/vectors/grants.json";
import { ProtocolError } from "../errors";
import { ValueFault } from "../values";
import { importPair, parseInvite, signJoin, toHex, verifyGrant } from "./grants";

const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const base64url = (hex: string) =>
  btoa(String.fromCharCode(...bytes(hex)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
const ownerKey = bytes(vectors.owner_key);

describe("grants", () => {
  it.each(vectors.grants)("verifies $about", async (vector) => {
    const grant = await verifyGrant(vector.token, { ownerKey, room: vectors.room, now: vectors.now });
    expect({ ...grant, can: [...grant.can] }).toEqual({
      room: vectors.room,
      subject: vector.subject,
      can: vector.can,
      expires: vector.expires,
      id: vector.id,
    });
  });

  it.each(vectors.bad_grants)("refuses: $about", async (vector) => {
    const refusal = verifyGrant(vector.token, { ownerKey, room: vector.room, now: vector.now });
    await expect(refusal).rejects.toThrow(ProtocolError);
    await expect(refusal).rejects.toMatchObject({ code: "bad-grant" });
    await expect(refusal).rejects.toThrow(vector.text);
  });

  it("says since when a grant is expired", async () => {
    const late = { ownerKey, room: null, now: vectors.now + 60 + 7200 };
    await expect(verifyGrant(vectors.grants[0]!.token, late)).rejects.toThrow("expired 2 hours ago");
  });
});

describe("invites", () => {
  it.each(vectors.invites)("reads $url", async (vector) => {
    const invite = await parseInvite(vector.url);
    expect(invite).toMatchObject({ server: vector.server, room: vector.room, grant: vector.grant });
    expect(invite.websocket).toBe(vector.websocket);
    expect(toHex(invite.roomKey)).toBe(vector.room_key);
    expect(toHex(invite.ownerKey)).toBe(vector.owner_key);
  });

  it.each(vectors.dashboards)("reads the dashboard's address $url", async (vector) => {
    expect(await parseInvite(vector.url)).toMatchObject({ server: vector.server, room: vector.room });
  });

  it.each(vectors.bad_invites)("refuses: $about", async (vector) => {
    await expect(parseInvite(vector.url)).rejects.toThrow(ValueFault);
    await expect(parseInvite(vector.url)).rejects.toThrow("invite");
  });
});

describe("join signatures", () => {
  it.each(vectors.joins)("signs for $room", async (vector) => {
    const jwk = { kty: "OKP", crv: "Ed25519", d: base64url(vector.private_key), x: base64url(vector.public_key) };
    const key = await importPair(JSON.stringify(jwk));
    expect(key.publicKey).toBe(vector.public_key);
    expect(key.id).toBe(vector.peer);
    expect(await signJoin(key, vector.room, vector.nonce)).toBe(vector.signature);
  });
});
