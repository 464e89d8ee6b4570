/** Grants, invites and the peer's own key, as in mesh/protocol/grants.py (docs/wire.md, 7). */

import registry from "../../../mesh/protocol/registry.json";
import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { ValueFault } from "../values";

type Bytes = Uint8Array<ArrayBuffer>;

const KEY_BYTES = 32;
const RIGHTS = ["submit", "work", "watch"];
const ROOM = /^[A-Za-z0-9][A-Za-z0-9._-]{0,30}(~[0-9a-f]{32})?$/;
const BASE64URL = /^[A-Za-z0-9_-]*$/;
const STORED_KEY = "remotemedia-mesh key";

/** What a token allows: `subject` may do what `can` lists in `room` until `expires` (seconds since 1970). */
export interface Grant {
  room: string;
  subject: string;
  can: ReadonlySet<string>;
  expires: number;
  id: string;
}

/** The URL that lets a peer in: where the room is, its key, its owner's public key, and a grant. */
export interface Invite {
  server: string;
  websocket: string;
  room: string;
  roomKey: Bytes;
  ownerKey: Bytes;
  grant: string;
}

/** This peer's Ed25519 key pair. `id` is the peer's id, `publicKey` hex. */
export interface PeerKey {
  id: string;
  publicKey: string;
  sign: (data: Bytes) => Promise<Bytes>;
}

/** Reads an invite; rejects with ValueFault that says which part is missing or wrong. */
export async function parseInvite(text: string): Promise<Invite> {
  if (text.length > limits.MAX_INVITE_CHARS) wrong(`an invite has at most ${limits.MAX_INVITE_CHARS} characters`);
  const url = URL.parse(text.trim());
  const isWeb = url !== null && ["http:", "https:"].includes(url.protocol) && url.port !== "0";
  if (!isWeb || url.username !== "" || url.password !== "")
    wrong("an invite begins with http://HOST:PORT/r/ROOM or https://HOST/r/ROOM");
  const secrets = new URLSearchParams(url.hash.slice(1));
  const isDashboard = url.pathname === "/dashboard";
  const room = isDashboard ? (secrets.get("r") ?? "") : url.pathname.replace(/^\/r\//, "");
  if (!ROOM.test(room) || url.search !== "")
    wrong(`the invite's path must be /r/ROOM, not '${url.pathname}'; what lets you in stands after the #`);
  const roomKey = inviteKey(secrets, "k");
  const ownerKey = inviteKey(secrets, "o");
  const grant = secrets.get("g") ?? "";
  if (grant === "") wrong("the invite lacks g=GRANT after the #; was it copied as a whole?");
  if (grant.length > limits.MAX_GRANT_BYTES) wrong(`the invite's grant is longer than ${limits.MAX_GRANT_BYTES} bytes`);
  if (room.includes("~") && room.split("~")[1] !== toHex(await sha256(ownerKey)).slice(0, 32))
    wrong("the invite's owner key (o=) does not belong to its room");
  return { server: url.origin, websocket: `ws${url.origin.slice(4)}/ws`, room, roomKey, ownerKey, grant };
}

function inviteKey(secrets: URLSearchParams, name: string): Bytes {
  const text = secrets.get(name);
  if (text === null) wrong(`the invite lacks ${name}=… after the #; was it copied as a whole?`);
  const key = fromBase64url(text);
  if (key?.length !== KEY_BYTES) wrong(`the invite's ${name}= must be ${KEY_BYTES} bytes in base64url`);
  return key;
}

function wrong(message: string): never {
  throw new ValueFault(message);
}

/** The grant in `token`; rejects with ProtocolError("bad-grant"): not the owner's, of another room, or expired. */
export async function verifyGrant(
  token: string,
  options: { ownerKey: Bytes; room: string | null; now: number },
): Promise<Grant> {
  if (token.length > limits.MAX_GRANT_BYTES) bad(`it is longer than ${limits.MAX_GRANT_BYTES} bytes`);
  const claims = await signedClaims(token, options.ownerKey);
  const grant = grantOf(claims);
  if (options.room !== null && grant.room !== options.room)
    bad(`it is for room '${grant.room}', not for '${options.room}'`);
  if (grant.expires <= options.now)
    bad(`it expired ${ago(options.now - grant.expires)} ago; ask the room's owner for a new invite`);
  return grant;
}

/** The claims of a JWT that the owner signed with EdDSA (RFC 8037), the only algorithm that is taken. */
async function signedClaims(token: string, ownerKey: Bytes): Promise<Record<string, unknown>> {
  const parts = token.split(".");
  const [header, payload, signature] = parts.map(fromBase64url);
  if (parts.length !== 3 || !header || !payload || !signature) bad("it cannot be read: it is no JWT");
  const head = parseObject(header);
  if (head.alg !== "EdDSA" || "crit" in head) bad("it cannot be read: its algorithm is not EdDSA");
  const key = await crypto.subtle.importKey("raw", ownerKey, "Ed25519", false, ["verify"]);
  const signed = new TextEncoder().encode(token.slice(0, token.lastIndexOf(".")));
  if (!(await crypto.subtle.verify("Ed25519", key, signature, signed)))
    bad("its signature is not by the owner of this room");
  return parseObject(payload);
}

function parseObject(bytes: Bytes): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // said below
  }
  return bad("it cannot be read: it holds no JSON object");
}

function grantOf(claims: Record<string, unknown>): Grant {
  const { room, sub, can, exp, jti } = claims;
  if (typeof room !== "string" || !ROOM.test(room)) bad("its claim 'room' is no room id");
  if (!isName(sub)) bad(`its claim 'sub' must be text of 1 to ${limits.MAX_NAME_CHARS} characters`);
  if (!Array.isArray(can) || can.length === 0 || !can.every((right) => RIGHTS.includes(right)))
    bad(`its claim 'can' must list some of ${RIGHTS.join(", ")}`);
  if (!Number.isSafeInteger(exp)) bad("its claim 'exp' must be an integer");
  if (!isName(jti)) bad(`its claim 'jti' must be text of 1 to ${limits.MAX_NAME_CHARS} characters`);
  return { room, subject: sub, can: new Set(can as string[]), expires: exp as number, id: jti };
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length >= 1 && value.length <= limits.MAX_NAME_CHARS;
}

function ago(seconds: number): string {
  for (const [unit, size] of [
    ["days", 86_400],
    ["hours", 3600],
    ["minutes", 60],
  ] as const)
    if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  return `${Math.max(1, Math.round(seconds))} s`;
}

function bad(reason: string): never {
  throw new ProtocolError("bad-grant", `the grant is refused: ${reason}`);
}

/** The `signature` of a `join`: hex, over the room and the server's nonce. */
export async function signJoin(key: PeerKey, room: string, nonce: string): Promise<string> {
  return toHex(await key.sign(new TextEncoder().encode(`${registry.join_label}\n${room}\n${nonce}`)));
}

/**
 * The key of this tab. It is kept in `storage` (sessionStorage), so a reloaded tab is the same peer; a duplicated tab,
 * which begins with a copy of that storage, makes a key of its own while the first one lives.
 */
export async function ownKey(storage: Storage): Promise<PeerKey> {
  if (!("subtle" in crypto)) throw new ValueFault("this page must be opened over https, or on localhost");
  const stored = storage.getItem(STORED_KEY);
  if (stored !== null) {
    const kept = await importPair(stored).catch(() => null); // written by an older version, or by hand
    if (kept !== null && (await holdAlone(kept.id))) return kept;
  }
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const jwk = JSON.stringify(await crypto.subtle.exportKey("jwk", pair.privateKey));
  storage.setItem(STORED_KEY, jwk);
  const made = await importPair(jwk);
  await holdAlone(made.id);
  return made;
}

/** Locks the peer's id for as long as this page lives; false if another page has it. */
function holdAlone(id: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const hold = (lock: Lock | null) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise<void>(() => {});
    };
    navigator.locks.request(`remotemedia-mesh ${id}`, { ifAvailable: true }, hold).catch(reject);
  });
}

/** A key pair from the JWK of its private half (RFC 8037). */
export async function importPair(jwk: string): Promise<PeerKey> {
  const parsed = JSON.parse(jwk) as JsonWebKey;
  const privateKey = await crypto.subtle.importKey("jwk", parsed, "Ed25519", false, ["sign"]);
  const publicKey = fromBase64url(parsed.x ?? "");
  if (publicKey?.length !== KEY_BYTES) throw new ValueFault("the stored key has no public half");
  return {
    id: await peerId(publicKey),
    publicKey: toHex(publicKey),
    sign: async (data) => new Uint8Array(await crypto.subtle.sign("Ed25519", privateKey, data)),
  };
}

/** The id of the peer that holds the Ed25519 key whose 32 raw public bytes these are. */
export async function peerId(publicKey: Bytes): Promise<string> {
  return toHex(await sha256(publicKey)).slice(0, 16);
}

async function sha256(data: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data));
}

/** Two lower-case digits for each byte. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The inverse of `toHex`. */
export function fromHex(text: string): Bytes {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function fromBase64url(text: string): Bytes | null {
  if (!BASE64URL.test(text) || text.length % 4 === 1) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0));
}
