/**
 * The proof that opens a link (docs/wire.md, 3), as in mesh/protocol/handshake.py: HELLO and PROOF each way, before anything
 * else. `start` gives the first frame to send; every frame of the control channel then goes to `receive`, one at a time,
 * whose answer is to be sent, until `remote` is there.
 */

import { encode } from "@msgpack/msgpack";
import registry from "../../../mesh/protocol/registry.json";
import { HandshakeError, ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { decodeFrame, encodeFrame } from "./codec";
import type { Grant } from "./grants";
import { unpack } from "./unpack";

export type Role = "offerer" | "answerer";

export const NONCE_BYTES = 32;
export const SESSION_BYTES = 8;
const FIELDS = ["version", "peer", "name", "session", "nonce", "grant", "resume"];
const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** This peer, as links prove it. `verify` checks another peer's grant and rejects with ProtocolError("bad-grant"). */
export interface Me {
  peer: string;
  name: string;
  roomKey: Uint8Array;
  grant: string;
  verify: (grant: string) => Promise<Grant>;
}

/** The other peer, proven. `session` names its end. `resumed`: both sides know both ends, and go on. */
export interface Remote {
  peer: string;
  name: string;
  grant: Grant;
  session: Uint8Array;
  resumed: boolean;
}

/** One end of the link, as the mac covers it. */
interface End {
  peer: string;
  grant: string;
  nonce: Uint8Array;
  fingerprint: Uint8Array;
}

export interface HandshakeOptions {
  peer: string;
  role: Role;
  localFingerprint: Uint8Array;
  remoteFingerprint: Uint8Array;
  /** 8 bytes that name our end: fresh random ones, or those of the session to resume, whose other end is `resume`. */
  session: Uint8Array;
  resume: Uint8Array | null;
  /** 32 fresh random bytes. */
  nonce: Uint8Array;
}

/** One end's half of the proof. */
export class Handshake {
  remote: Remote | null = null;
  private readonly local: End;
  private hello: { end: End; remote: Remote } | null = null;

  constructor(
    private readonly me: Me,
    private readonly options: HandshakeOptions,
  ) {
    this.local = { peer: me.peer, grant: me.grant, nonce: options.nonce, fingerprint: options.localFingerprint };
  }

  /** The frame with our HELLO. */
  start(): Uint8Array<ArrayBuffer> {
    const { peer, name, grant } = this.me;
    const { session, nonce, resume } = this.options;
    const fields = { version: registry.version, peer, name, session, nonce, grant, resume };
    return encodeFrame([{ type: "HELLO", body: encode(fields) }]);
  }

  /** Takes a frame; the answer, if any, is to be sent. Rejects with ProtocolError; the link must then be closed. */
  async receive(frame: Uint8Array): Promise<Uint8Array<ArrayBuffer> | null> {
    const [record, ...others] = decodeFrame(frame);
    if (record?.type === "HELLO" && others.length === 0 && this.hello === null) {
      this.hello = await this.readHello(record.body);
      const mac = await this.sign(this.options.role, this.hello.end);
      return encodeFrame([{ type: "PROOF", body: encode({ mac }) }]);
    }
    if (record?.type === "PROOF" && others.length === 0 && this.hello !== null && this.remote === null) {
      const { end, remote } = this.hello;
      const expected = await this.sign(this.options.role === "offerer" ? "answerer" : "offerer", end);
      if (!equal(readMac(record.body), expected)) {
        throw new HandshakeError(
          "bad-proof",
          "the other side has another room key, or another connection than this one",
        );
      }
      this.remote = remote;
      return null;
    }
    if (record?.type === "CLOSE" && others.length === 0) {
      throw new HandshakeError("refused", `the other side says ${record.code}: ${record.text}`);
    }
    const names = [record, ...others].map((each) => each?.type).join(" and ");
    throw new HandshakeError("not-proven", `${names} came before the proof`);
  }

  private async readHello(body: Uint8Array): Promise<{ end: End; remote: Remote }> {
    const fields = unpack(body, "bad-hello") as { [key: string]: unknown } | null;
    const version = fields?.version === undefined ? registry.version : fields.version;
    if (version !== registry.version) {
      const theirs = String(version).slice(0, 40);
      throw new HandshakeError("bad-version", `the other side speaks version ${theirs}, this one ${registry.version}`);
    }
    const { peer, name, session, nonce, grant, resume } = fields ?? {};
    const complete =
      Object.keys(fields ?? {}).length === FIELDS.length && FIELDS.every((each) => Object.hasOwn(fields!, each));
    if (
      !complete ||
      !(resume === null || isBytes(resume, SESSION_BYTES)) ||
      typeof peer !== "string" ||
      typeof name !== "string" ||
      typeof grant !== "string" ||
      !isBytes(session, SESSION_BYTES) ||
      !isBytes(nonce, NONCE_BYTES)
    ) {
      throw new HandshakeError("bad-hello", "HELLO does not have its fields");
    }
    if (peer !== this.options.peer) {
      throw new HandshakeError("wrong-peer", `the other side is '${peer.slice(0, 16)}', not '${this.options.peer}'`);
    }
    if (equal(nonce, this.local.nonce)) throw new HandshakeError("bad-hello", "the nonce is our own");
    if (!NAME.test(name) || name === "driver") throw new HandshakeError("bad-hello", "that is no peer name");
    const end = { peer, grant, nonce: nonce.slice(), fingerprint: this.options.remoteFingerprint };
    const known = this.options.resume;
    const resumed = known !== null && resume !== null && equal(session, known) && equal(resume, this.options.session);
    return { end, remote: { peer, name, grant: await this.readGrant(grant), session: session.slice(), resumed } };
  }

  private async readGrant(grant: string): Promise<Grant> {
    if (grant.length > limits.MAX_GRANT_BYTES) {
      throw new HandshakeError("bad-grant", `the grant is longer than ${limits.MAX_GRANT_BYTES} characters`);
    }
    try {
      return await this.me.verify(grant);
    } catch (error) {
      throw error instanceof ProtocolError ? new HandshakeError(error.code, error.reason) : error;
    }
  }

  /** What the prover of that role owes (docs/wire.md, 3). */
  private async sign(prover: Role, remote: End): Promise<Uint8Array> {
    const [offerer, answerer] = this.options.role === "offerer" ? [this.local, remote] : [remote, this.local];
    const fields = ["peer", "grant", "nonce", "fingerprint"] as const;
    const covered = [registry.link_label, prover, ...fields.flatMap((field) => [offerer[field], answerer[field]])];
    const algorithm = { name: "HMAC", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("raw", Uint8Array.from(this.me.roomKey), algorithm, false, ["sign"]);
    return new Uint8Array(await crypto.subtle.sign("HMAC", key, encode(covered)));
  }
}

function readMac(body: Uint8Array): Uint8Array {
  const fields = unpack(body, "bad-proof") as { [key: string]: unknown } | null;
  const mac = fields?.mac;
  if (!(mac instanceof Uint8Array) || Object.keys(fields!).length !== 1) {
    throw new HandshakeError("bad-proof", "PROOF does not have its fields");
  }
  return mac;
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length;
}

/** Compares in a time that depends on the lengths only. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.reduce((difference, byte, index) => difference | (byte ^ b[index]!), 0) === 0;
}
