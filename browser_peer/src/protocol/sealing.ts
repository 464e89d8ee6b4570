/** What two peers say to one another through a third, sealed and signed, as in mesh/protocol/sealing.py (docs/wire.md, 8). */

import registry from "../../../mesh/protocol/registry.json";
import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { fromHex, type PeerKey, peerId } from "./grants";

type Bytes = Uint8Array<ArrayBuffer>;

/** From whom, to whom, and the key of the room that both are in. */
export interface Way {
  sender: string;
  to: string;
  roomKey: Bytes;
}

export const SEAL_NONCE_BYTES = 12;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const HEAD_BYTES = KEY_BYTES + SIGNATURE_BYTES;

const utf8 = (text: string) => new TextEncoder().encode(text);

/**
 * `nonce` (12 fresh random bytes), then AES-256-GCM of public key, signature and `data` as JSON. Rejects with
 * ProtocolError("too-large").
 */
export async function seal(data: object, { key, nonce, ...way }: Way & { key: PeerKey; nonce: Bytes }): Promise<Bytes> {
  const content = utf8(JSON.stringify(data));
  const signature = await key.sign(signed(way, nonce, content));
  const plain = joined(fromHex(key.publicKey), signature, content);
  const cipher = await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonce }, await sealKey(way), plain);
  const sealed = joined(nonce, new Uint8Array(cipher));
  if (sealed.length > limits.MAX_SEALED_BYTES) {
    const most = `at most ${limits.MAX_SEALED_BYTES} are relayed`;
    throw new ProtocolError("too-large", `${sealed.length} bytes sealed; ${most}`);
  }
  return sealed;
}

/** The data; rejects with ProtocolError("bad-seal") where it was not sealed by that sender for that peer of the room. */
export async function unseal(sealed: Bytes, way: Way): Promise<Record<string, unknown>> {
  const nonce = sealed.slice(0, SEAL_NONCE_BYTES);
  try {
    const algorithm = { name: "AES-GCM", iv: nonce };
    const opened = await crypto.subtle.decrypt(algorithm, await sealKey(way), sealed.slice(SEAL_NONCE_BYTES));
    const plain = new Uint8Array(opened);
    const [publicKey, content] = [plain.slice(0, KEY_BYTES), plain.slice(HEAD_BYTES)];
    const verifier = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
    const signature = plain.slice(KEY_BYTES, HEAD_BYTES);
    const isSigned = await crypto.subtle.verify("Ed25519", verifier, signature, signed(way, nonce, content));
    const data: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content));
    const isTheirs = isSigned && (await peerId(publicKey)) === way.sender;
    if (isTheirs && typeof data === "object" && data !== null && !Array.isArray(data)) {
      return data as Record<string, unknown>;
    }
  } catch {
    // said below
  }
  throw new ProtocolError(
    "bad-seal",
    `what claims to be from ${way.sender.slice(0, 40)} is not, or is not for ${way.to}`,
  );
}

/** The key for one direction between two peers: HKDF (RFC 5869) with SHA-256, without salt. */
async function sealKey({ sender, to, roomKey }: Way): Promise<CryptoKey> {
  const info = utf8(`${registry.relay_label}\n${sender}\n${to}`);
  const material = await crypto.subtle.importKey("raw", roomKey, "HKDF", false, ["deriveKey"]);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  return crypto.subtle.deriveKey(derivation, material, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

function signed({ sender, to }: Way, nonce: Bytes, content: Bytes): Bytes {
  return joined(utf8(`${registry.relay_label}\n${sender}\n${to}\n`), nonce, content);
}

function joined(...parts: Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
