/** How links are made, kept and lost, over connections within this process. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { Lane } from "../protocol/codec";
import type { Link } from "./link";
import { Links } from "./links";
import type { Relayed } from "./negotiation";

const [ANA, BOB, EVE] = ["a", "b", "e"].map((digit) => digit.repeat(16)) as [string, string, string];

/** A channel that hands its frames to the other connection's channel of the same id, in a later task. */
class FakeChannel {
  readyState = "connecting";
  bufferedAmount = 0;
  onopen?: () => void;
  onmessage?: (event: { data: ArrayBuffer }) => void;
  onclose?: () => void;
  onbufferedamountlow?: () => void;
  other: FakeChannel | null = null;

  constructor(private readonly network: { cut: boolean }) {}

  send(frame: Uint8Array<ArrayBuffer>): void {
    if (this.readyState !== "open") throw new Error("the channel is not open");
    const data = frame.slice().buffer;
    this.bufferedAmount += data.byteLength;
    setTimeout(() => {
      if (this.network.cut) return;
      this.bufferedAmount -= data.byteLength;
      if (this.other?.readyState === "open") this.other.onmessage?.({ data });
      this.onbufferedamountlow?.();
    });
  }

  end(): void {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    if (!this.network.cut) setTimeout(() => this.onclose?.());
  }
}

const network = { cut: false, connections: new Map<string, FakeConnection>() };

class FakeConnection {
  iceConnectionState = "new";
  connectionState = "new";
  localDescription: { sdp: string } | null = null;
  readonly added: string[] = [];
  private readonly channels: FakeChannel[] = [];
  private other: FakeConnection | null = null;

  constructor(readonly configuration: RTCConfiguration) {}

  createDataChannel(_label: string, { id }: { id: number }): FakeChannel {
    this.channels[id] = new FakeChannel(network);
    return this.channels[id];
  }

  async setLocalDescription(): Promise<void> {
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    const mark = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
      .join(":")
      .toUpperCase();
    network.connections.set(mark, this);
    this.localDescription = { sdp: `v=0\r\nm=application 9 fake 0\r\na=fingerprint:sha-256 ${mark}\r\n` };
  }

  async setRemoteDescription({ type, sdp }: { type: string; sdp: string }): Promise<void> {
    this.other = network.connections.get(/sha-256 (\S+)/.exec(sdp)![1]!)!;
    if (type === "offer" || network.cut) return;
    this.channels.forEach((channel, id) => {
      const opposite = this.other!.channels[id]!;
      [channel.other, opposite.other] = [opposite, channel];
      for (const each of [channel, opposite]) {
        each.readyState = "open";
        setTimeout(() => each.onopen?.());
      }
    });
  }

  async addIceCandidate({ candidate }: { candidate: string }): Promise<void> {
    if (this.other === null) throw new Error("the description is not there yet");
    this.added.push(candidate);
  }

  async getStats(): Promise<Map<string, object>> {
    return new Map();
  }

  close(): void {
    for (const channel of this.channels) {
      channel.end();
      channel.other?.end();
    }
  }
}

/** Of these tests: `forged` is no grant. */
async function verify(text: string) {
  if (text === "forged") throw new ProtocolError("bad-grant", "not signed by the owner of the room");
  return { room: "room", subject: "someone", can: new Set(["work"] as const), expires: 2 ** 31, id: "1" };
}

class Member {
  readonly got: string[] = [];
  readonly suspected: string[] = [];
  readonly lost: string[] = [];
  readonly linked: Link[] = [];
  readonly links: Links;
  handle: () => void = () => undefined;

  constructor(room: Room, peer: string, { key = 0, grant = "work" } = {}) {
    this.links = new Links({
      me: { peer, name: `peer-${peer[0]}`, roomKey: new Uint8Array(32).fill(key), grant, verify },
      sendRelay: (to, data) => room.relay(peer, to, data),
      iceServers: async () => room.iceServers,
      onMessage: (_link, lane, message) => {
        this.got.push(`${lane}:${new TextDecoder().decode(message)}`);
        this.handle();
      },
      onSuspect: (link, reason) => this.suspected.push(`${link.peer[0]}: ${reason}`),
      onLost: (link, reason) => this.lost.push(`${link.peer[0]}: ${reason}`),
      onResumed: () => undefined,
      onLink: (link) => this.linked.push(link),
    });
  }
}

class Room {
  iceServers: RTCIceServer[] = [];
  readonly members = new Map<string, Member>();
  tamper: (sender: string, to: string, data: Relayed) => Relayed | null = (_sender, _to, data) => data;

  add(peer: string, options = {}): Member {
    const member = new Member(this, peer, options);
    this.members.set(peer, member);
    return member;
  }

  relay(sender: string, to: string, data: Relayed): void {
    const member = this.members.get(to);
    if (member === undefined) throw new Error("unknown-peer");
    const changed = this.tamper(sender, to, data);
    if (changed !== null) setTimeout(() => member.links.relay(sender, changed));
  }
}

const text = (content: string) => new TextEncoder().encode(content);

let room: Room;
beforeEach(() => {
  room = new Room();
  network.cut = false;
  vi.stubGlobal("RTCPeerConnection", FakeConnection);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

async function pair(): Promise<[Member, Member, Link, Link]> {
  const [ana, bob] = [room.add(ANA), room.add(BOB)];
  const links = await Promise.all([ana.links.get(BOB), bob.links.get(ANA)]);
  return [ana, bob, ...links];
}

test("both ask at once, and share one link, over which messages go both ways in order", async () => {
  const [ana, bob, toBob, toAna] = await pair();
  expect([ana.linked, bob.linked]).toEqual([[toBob], [toAna]]);
  expect([toBob.name, toAna.name]).toEqual(["peer-b", "peer-a"]);
  const words = Array.from({ length: 50 }, (_, index) => `w${index}`);
  await Promise.all(words.flatMap((word) => [toBob.send(Lane.DATA, text(word)), toAna.send(Lane.CONTROL, text(word))]));
  await vi.waitUntil(() => ana.got.length === 50 && bob.got.length === 50);
  expect(bob.got).toEqual(words.map((word) => `${Lane.DATA}:${word}`));
  expect(ana.got).toEqual(words.map((word) => `${Lane.CONTROL}:${word}`));
});

test("to an offer without TURN the answer is without TURN, and a further offer takes its place", async () => {
  room.iceServers = [{ urls: "stun:a" }, { urls: "turn:b", username: "u", credential: "c" }];
  let offers = 0;
  room.tamper = (_sender, _to, data) => {
    if (data.kind !== "offer") return data;
    offers += 1;
    return { ...data, direct: offers === 1 };
  };
  const [, bob] = await pair();
  const first = bob.links.existing(ANA)!;
  const used = Array.from(network.connections.values(), ({ configuration }) => configuration.iceServers).slice(-2);
  expect(used).toEqual([room.iceServers, [{ urls: ["stun:a"] }]]);
  first.broken("the network changed", false);
  await vi.waitUntil(() => offers === 2 && !first.suspended);
  expect(Array.from(network.connections.values()).at(-1)!.configuration.iceServers).toEqual(room.iceServers);
});

test("what was sent before close arrives, and the closed link is forgotten by both", async () => {
  const [ana, bob, toBob] = await pair();
  const sent = toBob.send(Lane.DATA, text("x".repeat(600_000)));
  await sent;
  await toBob.close();
  await vi.waitUntil(() => bob.lost.length === 1);
  expect(bob.got[0]).toHaveLength(600_002);
  expect(bob.lost).toEqual(["a: the other side closed the link"]);
  expect(ana.lost).toEqual([]);
  expect([ana.links.existing(BOB), bob.links.existing(ANA)]).toEqual([null, null]);
  await expect(toBob.send(Lane.DATA, text("late"))).rejects.toThrow("this side closed the link");
});

test("a silent peer holds its sender, is suspected after three seconds, and lost half a minute later", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true }); // the proof takes real time
  const [ana, , toBob] = await pair();
  network.cut = true;
  let accepted = 0;
  const sending = (async () => {
    for (;;) {
      await toBob.send(Lane.DATA, new Uint8Array(65_536));
      accepted += 65_536;
    }
  })();
  const failed = expect(sending).rejects.toThrow("no new connection stood within 30 s");
  await vi.advanceTimersByTimeAsync(4500);
  expect(ana.suspected).toEqual(["b: nothing was heard of it any more"]);
  expect(ana.links.existing(BOB)).toBe(toBob);
  await vi.advanceTimersByTimeAsync(30_000);
  await failed;
  expect(accepted).toBeLessThan(limits.SESSION_WINDOW_BYTES + 2 * limits.LANE_HIGH_WATER_BYTES);
  expect(ana.lost).toEqual(["b: nothing was heard of it any more, and no new connection stood within 30 s"]);
  expect(ana.links.existing(BOB)).toBeNull();
});

test.each([
  ["another room key", { key: 1 }, "bad-proof"],
  ["a forged grant", { grant: "forged" }, "bad-grant"],
])("%s is refused by both", async (_what, options, code) => {
  const [ana, bob] = [room.add(ANA, options), room.add(BOB)];
  const results = await Promise.allSettled([ana.links.get(BOB), bob.links.get(ANA)]);
  for (const result of results) {
    expect(result.status).toBe("rejected");
    expect(String((result as PromiseRejectedResult).reason)).toMatch(new RegExp(`handshake: .*${code}`));
  }
  expect([ana.linked, bob.linked]).toEqual([[], []]);
});

test("a handler that throws ends the link, and the other side hears why", async () => {
  const [ana, bob, toBob] = await pair();
  bob.handle = () => {
    throw new ProtocolError("bad-message", "no such run");
  };
  await toBob.send(Lane.CONTROL, text("x"));
  await vi.waitUntil(() => ana.lost.length === 1 && bob.lost.length === 1);
  expect(ana.lost).toEqual(["b: the other side says bad-message: no such run"]);
});

/** Closes the connection under a link, as a browser does that lost its network. */
function cut(link: Link): void {
  link.carrier?.connection?.close();
}

test("connections that break lose, double and reorder nothing", async () => {
  const [ana, bob, toBob, toAna] = await pair();
  const words = Array.from({ length: 400 }, (_, index) => `w${index} ${"x".repeat((index % 7) * 3000)}`);
  const sending = words.flatMap((word) => [toBob.send(Lane.DATA, text(word)), toAna.send(Lane.CONTROL, text(word))]);
  for (const link of [toBob, toAna, toBob]) {
    await new Promise((resolve) => setTimeout(resolve, 15));
    cut(link);
  }
  await Promise.all(sending);
  await vi.waitUntil(() => ana.got.length >= words.length && bob.got.length >= words.length, { timeout: 5000 });
  expect(bob.got).toEqual(words.map((word) => `${Lane.DATA}:${word}`));
  expect(ana.got).toEqual(words.map((word) => `${Lane.CONTROL}:${word}`));
  expect(network.connections.size).toBeGreaterThan(2); // others than the first
  expect([ana.suspected, bob.suspected]).toEqual([[], []]);
  expect([ana.lost, bob.lost, ana.linked.length, bob.linked.length]).toEqual([[], [], 1, 1]);
});

test("who left the room is lost when its connection is gone, and not before", async () => {
  const [ana, , toBob] = await pair();
  ana.links.left(BOB);
  expect(ana.lost).toEqual([]);
  room.tamper = () => null;
  cut(toBob);
  await vi.waitUntil(() => ana.links.connected().length === 0);
  ana.links.left(BOB);
  expect(ana.lost).toEqual(["b: its connection is gone, and it left the room"]);
});

test("who left the room and is silent is suspected after a second", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true }); // the proof takes real time
  const [ana] = await pair();
  await vi.advanceTimersByTimeAsync(4500);
  ana.links.left(BOB);
  await vi.advanceTimersByTimeAsync(1500);
  expect(ana.suspected).toEqual([]);
  network.cut = true;
  await vi.advanceTimersByTimeAsync(500);
  ana.links.left(BOB);
  await vi.advanceTimersByTimeAsync(900);
  expect(ana.suspected).toEqual([]);
  await vi.advanceTimersByTimeAsync(200);
  expect(ana.suspected).toEqual(["b: nothing was heard of it any more"]);
});

test("a peer that lost its link gets a new one, which takes the old one's place", async () => {
  const [ana, , toBob] = await pair();
  const again = room.add(BOB);
  await again.links.get(ANA);
  await vi.waitUntil(() => ana.lost.length === 1);
  expect(ana.lost).toEqual(["b: another link took its place"]);
  expect(ana.links.existing(BOB)).not.toBe(toBob);
});

test("no answer is said to be signaling's, in time", async () => {
  const ana = room.add(ANA);
  room.add(BOB);
  room.tamper = () => null;
  vi.useFakeTimers();
  const failed = expect(ana.links.get(BOB)).rejects.toThrow(/^signaling: no link to b+ within 15 s/);
  await vi.advanceTimersByTimeAsync(limits.LINK_TIMEOUT_S * 1e3);
  await failed;
});

test("a peer that is not there fails at once", async () => {
  const ana = room.add(ANA);
  await expect(ana.links.get(EVE)).rejects.toThrow("signaling: unknown-peer");
  await expect(ana.links.get(ANA)).rejects.toThrow("no link to itself");
});

test("candidates that come before their description are kept", async () => {
  const [ana, bob] = [room.add(ANA), room.add(BOB)];
  room.tamper = (sender, to, data) => {
    if (data.kind === "offer" || data.kind === "answer") {
      const early = { kind: "candidate", connection: data.connection, candidate: { candidate: `of ${sender[0]}` } };
      room.members.get(to)!.links.relay(sender, early);
    }
    return data;
  };
  await Promise.all([ana.links.get(BOB), bob.links.get(ANA)]);
  const added = Array.from(network.connections.values(), (connection) => connection.added).filter(
    (each) => each.length,
  );
  expect(added).toEqual([["of b"], ["of a"]]);
});

test("nonsense from the relay is ignored", async () => {
  const [ana, bob, toBob] = await pair();
  const odd = [null, 1, "x", "x".repeat(70_000), [], {}, { candidate: "x" }, { candidate: 1 }];
  for (const kind of ["want", "offer", "answer", "candidate", "refuse", "", 7, null]) {
    for (const value of odd) {
      const data = { kind, connection: value, sdp: value, candidate: value, message: value };
      for (const sender of [ANA, BOB, EVE]) {
        ana.links.relay(sender, data);
        bob.links.relay(sender, value);
      }
    }
  }
  await toBob.send(Lane.DATA, text("still there"));
  await vi.waitUntil(() => bob.got.includes(`${Lane.DATA}:still there`));
});

test("descriptions of anything but data channels are refused", async () => {
  const ana = room.add(ANA);
  room.add(BOB);
  room.tamper = (_sender, _to, data) => (data.sdp ? { ...data, sdp: `${data.sdp}m=video 9 x y\r\n` } : data);
  await expect(ana.links.get(BOB)).rejects.toThrow("not of data channels alone");
});
