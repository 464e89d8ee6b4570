/**
 * The fingerprint of a session description (RFC 8122), as in mesh/protocol/fingerprint.py: engines only ever get the
 * canonical form of what comes from outside, so that what is checked is what they read.
 */

import { HandshakeError } from "../errors";

const BREAK = /\r\n|\r|\n/;
const PLAIN = /^[\x20-\x7e\r\n\t]*$/;
const ANY = /^a\s*=\s*fingerprint\b/i;
const ONE = /^a=fingerprint:([A-Za-z0-9-]+) ([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)$/;
const DIGEST_BYTES = 32;

/** `sdp` with one kind of line break and only SHA-256 fingerprints: the proof covers no others. */
export function canonical(sdp: string): string {
  if (!PLAIN.test(sdp)) bad("the session description has characters beyond printable ASCII");
  const lines = sdp.split(BREAK).filter((line) => line !== "" && ["sha-256", null].includes(hashOf(line)));
  return lines.map((line) => `${line}\r\n`).join("");
}

/** The 32 bytes of the one SHA-256 fingerprint of `sdp`; throws HandshakeError("bad-fingerprint") for none or several. */
export function fingerprint(sdp: string): Uint8Array<ArrayBuffer> {
  const lines = canonical(sdp)
    .split(BREAK)
    .filter((line) => hashOf(line) !== null);
  const values = new Set(lines.map((line) => line.split(" ")[1]!.toUpperCase()));
  const [value] = values;
  if (values.size !== 1 || value === undefined)
    bad(`the session description has ${values.size} SHA-256 fingerprints, not one`);
  const bytes = Uint8Array.from(value.split(":"), (pair) => Number.parseInt(pair, 16));
  if (bytes.length !== DIGEST_BYTES) bad(`${bytes.length} bytes are no SHA-256 fingerprint`);
  return bytes;
}

/** The hash function of a fingerprint line, null for any other line. */
function hashOf(line: string): string | null {
  if (!ANY.test(line)) return null;
  const match = ONE.exec(line);
  if (match === null) bad(`${JSON.stringify(line)} is no fingerprint`);
  return match[1]!.toLowerCase();
}

function bad(reason: string): never {
  throw new HandshakeError("bad-fingerprint", reason);
}
