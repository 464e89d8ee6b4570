/** Relays through a peer that two others have links to, as in tests/peer/test_neighbours_relaying.py. */

import { beforeEach, expect, test, vi } from "vitest";
import limits from "../../generated/limits.json";
import { importPair, type PeerKey } from "../../protocol/grants";
import type { Relay } from "../../protocol/messages";
import type { Link } from "../../transport/link";
import { Relays } from "./relaying";

const WANT = { kind: "want" };
const GRANT = { room: "room", subject: "someone", can: new Set(["work"]), expires: 2 ** 31, id: "1" };

const keys = Promise.all(
  Array.from({ length: 4 }, async () => {
    const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    return importPair(JSON.stringify(await crypto.subtle.exportKey("jwk", pair.privateKey)));
  }),
);

/** A peer; what it posts waits in `posted` until `deliver`. */
class Member {
  readonly links = new Map<string, { peer: string; grant: typeof GRANT }>();
  readonly heard: [string, unknown][] = [];
  readonly relays: Relays;
  carried = 0;

  constructor(readonly key: PeerKey) {
    this.relays = new Relays({
      key,
      roomKey: new Uint8Array(32),
      neighbours: () => [...this.links.values()] as unknown as Link[],
      post: (to, relay) => {
        if (relay.sender !== key.id) this.carried += 1;
        posted.push([key.id, to, relay]);
      },
      take: (sender, data) => this.heard.push([sender, data]),
    });
  }

  link(other: Member): void {
    this.links.set(other.key.id, { peer: other.key.id, grant: GRANT });
    other.links.set(this.key.id, { peer: this.key.id, grant: GRANT });
  }
}

let posted: [string, string, Relay][];
let members: [Member, Member, Member, Member];

beforeEach(async () => {
  posted = [];
  members = (await keys).map((key) => new Member(key)) as typeof members;
});

async function deliver(): Promise<void> {
  for (let next = posted.shift(); next !== undefined; next = posted.shift()) {
    const [sender, to, relay] = next;
    const receiver = members.find(({ key }) => key.id === to)!;
    receiver.relays.received(receiver.links.get(sender) as unknown as Link, relay);
  }
  await (members[0].relays as unknown as { hearing: Promise<void> }).hearing;
  await (members[1].relays as unknown as { hearing: Promise<void> }).hearing;
}

test("a common neighbour carries what two peers say, and the answer goes the same way", async () => {
  const [ana, bob, dan, eve] = members;
  for (const neighbour of [dan, eve]) neighbour.link(ana);
  dan.link(bob);
  expect(await ana.relays.send(bob.key.id, WANT)).toBe(true);
  await deliver();
  expect(bob.heard).toEqual([[ana.key.id, WANT]]);
  expect([bob.relays.heard(ana.key.id), ana.relays.heard(bob.key.id)]).toEqual([true, false]);
  await bob.relays.send(ana.key.id, { kind: "answer" });
  await deliver();
  expect(ana.heard).toEqual([[bob.key.id, { kind: "answer" }]]);
  expect([dan.carried, eve.carried]).toEqual([2, 0]);
});

test("without a neighbour there is nobody to try", async () => {
  const [ana, bob] = members;
  ana.link(bob); // whose own link is what is to be made
  expect(await ana.relays.send(bob.key.id, WANT)).toBe(false);
});

test("nobody carries in another's name, and what was heard or changed is not taken", async () => {
  const [ana, bob, dan, eve] = members;
  for (const each of [ana, bob, eve]) dan.link(each);
  await ana.relays.send(bob.key.id, WANT);
  const [from, to, relay] = posted[0]!;
  const changed = { ...relay, sealed: relay.sealed.map((byte, at) => (at === 20 ? byte ^ 1 : byte)) };
  posted = [
    [eve.key.id, to, relay],
    [from, to, changed],
    [from, to, relay],
    [from, to, relay],
  ];
  await deliver();
  expect(bob.heard).toEqual([[ana.key.id, WANT]]);
});

test.each([{ expires: 1 }, { can: new Set(["watch"]) }])(
  "only between peers whose grants are good: %o",
  async (more) => {
    const [ana, bob, dan] = members;
    for (const each of [ana, bob]) dan.link(each);
    dan.links.get(bob.key.id)!.grant = { ...GRANT, ...more };
    await ana.relays.send(bob.key.id, WANT);
    await deliver();
    expect(bob.heard).toEqual([]);
  },
);

test("a peer that relays too much is heard no more for a while", async () => {
  const now = vi.spyOn(performance, "now").mockReturnValue(1e6);
  const [ana, bob, dan] = members;
  for (const each of [ana, bob]) dan.link(each);
  await ana.relays.send(bob.key.id, WANT);
  const message = posted[0]!;
  const flood = async (count: number) => {
    posted = Array.from({ length: count }, () => message);
    await deliver();
  };
  await flood(limits.RELAY_BURST + 9);
  expect(dan.carried).toBe(limits.RELAY_BURST);
  now.mockReturnValue(1e6 + 1000);
  await flood(limits.RELAY_BURST);
  expect(dan.carried).toBe(limits.RELAY_BURST + limits.RELAYS_PER_S);
  now.mockRestore();
});
