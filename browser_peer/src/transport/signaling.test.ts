import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import vectors from "../../../tests/vectors/grants.json";
import { SignalingError } from "../errors";
import limits from "../generated/limits.json";
import type { PeerRecord } from "../peer/types";
import type { Invite, PeerKey } from "../protocol/grants";
import type { Delta, Gone } from "../protocol/signaling";
import { SignalingClient, type Socket } from "./signaling";

const INVITE: Invite = {
  server: "http://127.0.0.1:1",
  websocket: "ws://127.0.0.1:1/ws",
  room: vectors.room,
  roomKey: new Uint8Array(32),
  ownerKey: new Uint8Array(32),
  grant: "a grant",
};
const KEY: PeerKey = { id: "me", publicKey: "00".repeat(32), sign: async () => new Uint8Array(64) };
const TYPES = [{ node_type: "AddNode" }];

/** The server's end: what the client sends is in `sent`. */
class FakeSocket implements Socket {
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  readonly sent: Record<string, unknown>[] = [];
  isClosed = false;

  send(data: unknown): void {
    this.sent.push(JSON.parse(String(data)));
  }

  close(): void {
    this.end(1000, "");
  }

  end(code: number, reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    const event = { code, reason } as CloseEvent;
    queueMicrotask(() => this.onclose?.call(this as unknown as WebSocket, event));
  }

  say(message: unknown): void {
    const data = typeof message === "string" ? message : JSON.stringify(message);
    this.onmessage?.call(this as unknown as WebSocket, { data } as MessageEvent);
  }

  async welcome(peers: object[] = [], catalog: object = { t: TYPES }): Promise<void> {
    this.say({ type: "challenge", version: 1, nonce: "00" });
    await vi.advanceTimersByTimeAsync(0);
    const me = { peer: "me", name: "tab", room: INVITE.room, can: ["submit"], ice_servers: [] };
    this.say({ type: "joined", ...me, peers, catalog });
    await vi.advanceTimersByTimeAsync(0);
  }
}

const record = (peer: string, more: object = {}) => ({
  peer,
  name: peer,
  types: "t",
  can: ["work"],
  caps: {},
  ...more,
});

let sockets: FakeSocket[] = [];
let told: [PeerRecord[], PeerRecord[], Gone[]][] = [];
let states: string[] = [];
let refused: SignalingError[] = [];

function client(): SignalingClient {
  return new SignalingClient(INVITE, {
    name: "tab",
    key: KEY,
    announce: { kind: "browser" },
    onPresence: (...change) => told.push(change),
    onState: (state) => states.push(state),
    onRefused: (error) => refused.push(error),
    heartbeat: () => ({ load: 0.5 }),
    open: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
  });
}

async function joined(peers: object[] = []): Promise<[SignalingClient, FakeSocket]> {
  const made = client();
  const joining = made.connect();
  await sockets[0]!.welcome(peers);
  await joining;
  return [made, sockets[0]!];
}

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  told = [];
  states = [];
  refused = [];
});

afterEach(() => vi.useRealTimers());

describe("joining", () => {
  it("answers the challenge, takes the registry, and beats at once", async () => {
    const [signaling, socket] = await joined([record("me"), record("ada")]);
    expect(socket.sent[0]).toMatchObject({ type: "join", version: 1, room: INVITE.room, signature: "00".repeat(64) });
    expect([...signaling.peers.keys()]).toEqual(["ada"]);
    expect(signaling.peers.get("ada")!.types).toEqual(TYPES);
    expect(socket.sent[1]).toEqual({ type: "heartbeat", load: 0.5 });
    expect(states).toEqual(["connected"]);
  });

  it("rejects with the server's code and does not try again", async () => {
    const joining = client().connect();
    const rejected = expect(joining).rejects.toMatchObject({ code: "name-taken" });
    sockets[0]!.say({ type: "challenge", version: 1, nonce: "00" });
    sockets[0]!.say({ type: "error", code: "name-taken", message: "choose another name" });
    await rejected;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(1);
  });

  it("says that nobody answers", async () => {
    const joining = client().connect();
    const rejected = expect(joining).rejects.toMatchObject({ code: "away" });
    await vi.advanceTimersByTimeAsync(limits.SIGNALING_TIMEOUT_S * 1000);
    await rejected;
  });

  it.each([
    "",
    "[]",
    "null",
    "{}",
    '{"type":"joined"}',
    '{"type":"__proto__"}',
    '{"type":"challenge","version":1}',
    '{"type":"presence"}',
  ])("refuses %j", async (text) => {
    const joining = client().connect();
    const rejected = expect(joining).rejects.toMatchObject({ code: "bad-message" });
    sockets[0]!.say(text);
    await rejected;
  });
});

describe("the registry", () => {
  it("follows presence, and knows a list of types that it was told of once", async () => {
    const [signaling, socket] = await joined([record("me")]);
    socket.say({ type: "presence", left: [], joined: [record("ada")], updated: [], catalog: {} });
    socket.say({ type: "presence", left: [], joined: [], updated: [record("ada", { load: 1 })], catalog: {} });
    expect(signaling.peers.get("ada")).toMatchObject({ load: 1, types: TYPES });
    const gone = { peer: "ada", name: "ada", reason: "closed" };
    socket.say({ type: "presence", left: [gone, { ...gone, peer: "eve" }], joined: [], updated: [], catalog: {} });
    expect(signaling.peers.size).toBe(0);
    expect(told.map(([came, changed, left]) => [came.length, changed.length, left])).toEqual([
      [1, 0, []],
      [0, 1, []],
      [0, 0, [gone]],
    ]);
  });

  it("ends a connection that lists a peer without its types", async () => {
    const [, socket] = await joined();
    socket.say({ type: "presence", left: [], joined: [record("ada", { types: "u" })], updated: [], catalog: {} });
    await vi.advanceTimersByTimeAsync(0);
    expect(refused.map(({ code }) => code)).toEqual(["bad-message"]);
  });
});

describe("a server that goes away", () => {
  it("is joined again, and the others are given time to come back", async () => {
    const [signaling, socket] = await joined([record("ada"), record("bea")]);
    socket.end(1001, "");
    await vi.advanceTimersByTimeAsync(0);
    expect(() => signaling.relay("ada", {})).toThrow(SignalingError);
    await vi.advanceTimersByTimeAsync(1000);
    await sockets[1]!.welcome([record("ada")]);
    expect(states).toEqual(["connected", "away", "connected"]);
    expect(signaling.peers.size).toBe(2);
    await vi.advanceTimersByTimeAsync(limits.REJOIN_GRACE_S * 1000);
    expect([...signaling.peers.keys()]).toEqual(["ada"]);
    expect(told.at(-1)![2]).toEqual([{ peer: "bea", name: "bea", reason: "not back" }]);
  });

  it("ends the membership where it refuses", async () => {
    const [, socket] = await joined();
    socket.end(1008, "taken-over: the same peer has joined from another connection");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(refused.map(({ code }) => code)).toEqual(["taken-over"]);
    expect(sockets).toHaveLength(1);
  });

  it("is noticed by its silence", async () => {
    const [signaling, socket] = await joined();
    await vi.advanceTimersByTimeAsync(limits.SIGNALING_TIMEOUT_S * 600);
    expect(socket.sent.some(({ type }) => type === "ice")).toBe(true);
    await vi.advanceTimersByTimeAsync(limits.SIGNALING_TIMEOUT_S * 600);
    expect(socket.isClosed).toBe(true);
    expect(signaling.connected).toBe(false);
  });
});

describe("questions", () => {
  it("get their plan, or the error", async () => {
    const [signaling, socket] = await joined();
    const plans = [signaling.plan("a"), signaling.plan("b", { pins: { n: "ada" } })];
    expect(socket.sent.slice(2).map(({ id }) => id)).toEqual([1, 2]);
    socket.say({ type: "plan", id: 2, faults: [{ path: "version", message: "missing" }] });
    socket.say({ type: "error", id: 1, code: "busy", message: "wait" });
    await expect(plans[0]).rejects.toMatchObject({ code: "busy" });
    expect((await plans[1]!).faults).toEqual([{ path: "version", message: "missing" }]);
  });

  it("end with the membership", async () => {
    const [signaling] = await joined();
    const [plan, servers] = [signaling.plan("a"), signaling.iceServers()];
    signaling.close();
    await expect(plan).rejects.toMatchObject({ code: "away" });
    expect(await servers).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("about ICE servers get the last where the server is silent, and then it counts as away until it speaks", async () => {
    const [signaling, socket] = await joined([record("ada")]);
    const servers = [{ urls: "stun:127.0.0.1" }];
    socket.say({ type: "ice", ice_servers: servers });
    expect([signaling.connected, signaling.reaches("ada"), signaling.reaches("bea")]).toEqual([true, true, false]);
    const asked = signaling.iceServers();
    await vi.advanceTimersByTimeAsync(limits.SIGNALING_PATIENCE_S * 1000);
    expect(await asked).toEqual(servers);
    expect([signaling.connected, signaling.reaches("ada"), signaling.settled]).toEqual([false, false, false]);
    socket.say({ type: "ice", ice_servers: [] });
    expect([signaling.connected, signaling.settled]).toEqual([true, true]);
    expect(signaling.snapshot()).toMatchObject({ peers: [{ peer: "ada", types: "t" }], catalog: { t: TYPES } });
  });

  it("about the room are asked again after a restart", async () => {
    const [signaling, socket] = await joined();
    const heard: Delta[] = [];
    signaling.watch((delta) => heard.push(delta));
    socket.say({ type: "events", events: [] });
    socket.end(1006, "");
    await vi.advanceTimersByTimeAsync(1000);
    await sockets[1]!.welcome();
    expect(sockets[1]!.sent.at(-1)).toEqual({ type: "watch" });
    expect(heard).toEqual([{ type: "events", events: [] }]);
  });
});
