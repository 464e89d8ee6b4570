/** The page of test_browser_links.py: links of the browser, driven and watched by the test. */

import { ProtocolError } from "../src/errors";
import type { Link } from "../src/transport/link";
import { Links } from "../src/transport/links";

declare global {
  interface Window {
    relayOut(to: string, data: object): Promise<void>;
    member: Member;
  }
}

/** Of these tests: `submit+work` is a grant for both; `forged` is none. */
async function verify(text: string) {
  if (text === "forged") throw new ProtocolError("bad-grant", "not signed by the owner of the room");
  return { room: "room", subject: "someone", can: new Set(text.split("+")), expires: 2 ** 31, id: "1" } as never;
}

class Member {
  readonly got: [lane: number, length: number, first: number, uniform: boolean][] = [];
  readonly suspected: string[] = [];
  readonly lost: string[] = [];
  private readonly links: Links;

  constructor(peer: string, key: number[], grant: string) {
    this.links = new Links({
      me: { peer, name: "tab", roomKey: Uint8Array.from(key), grant, verify },
      sendRelay: (to, data) => window.relayOut(to, data),
      iceServers: async () => [],
      onMessage: (_link, lane, message) => {
        this.got.push([lane, message.length, message[0]!, message.every((byte) => byte === message[0])]);
      },
      onSuspect: (_link, reason) => this.suspected.push(reason),
      onLost: (_link, reason) => this.lost.push(reason),
      onResumed: () => undefined,
      onLink: () => undefined,
    });
  }

  relayIn(sender: string, data: unknown): void {
    this.links.relay(sender, data);
  }

  /** Milliseconds until the link stands, and what it says of the other side; or the error. */
  async open(peer: string): Promise<object> {
    const start = performance.now();
    try {
      const { name, grant } = await this.links.get(peer);
      return { ms: performance.now() - start, name, can: [...grant.can] };
    } catch (error) {
      return { error: (error as Error).message };
    }
  }

  /** Sends messages of one repeated byte, one after the other. */
  async send(peer: string, lane: number, messages: [fill: number, length: number][]): Promise<void> {
    const link = await this.links.get(peer);
    for (const [fill, length] of messages) await link.send(lane, new Uint8Array(length).fill(fill));
  }

  stats(peer: string): ReturnType<Link["stats"]> | undefined {
    return this.links.existing(peer)?.stats();
  }

  /** Closes the connection under the link, as a browser does that lost its network. */
  cut(peer: string): void {
    this.links.existing(peer)?.carrier?.connection?.close();
  }

  close(): Promise<void> {
    return this.links.close();
  }
}

Object.assign(window, {
  start: (peer: string, key: number[], grant: string) => {
    window.member = new Member(peer, key, grant);
  },
});
