/** The links of this peer: one to each other peer, made when it is asked for; as in mesh/transport/links.py. */

import { Deferred } from "../deferred";
import { LinkError } from "../errors";
import limits from "../generated/limits.json";
import type { Lane } from "../protocol/codec";
import type { Me } from "../protocol/handshake";
import type { Link } from "./link";
import { Attempt, type Relayed, type Terms } from "./negotiation";

const WAITING_FOR: { [step: string]: string } = {
  signaling: "no description of its end of the connection came",
  ice: "no network path to it was found",
  dtls: "a network path was found, but no encrypted connection came of it",
  channel: "the connection stands, but its channels did not open",
  handshake: "the channels opened, but it did not prove itself",
};

export interface LinksOptions {
  me: Me;
  /** Brings data to another peer's `relay`. */
  sendRelay(peer: string, data: Relayed): void | Promise<void>;
  /** Asked at every build of a connection. */
  iceServers(): Promise<RTCIceServer[]>;
  /** A message came; throwing closes the link. */
  onMessage(link: Link, lane: Lane, message: Uint8Array): void;
  /** A link is gone, not by `close`; there are no more messages of it. */
  onLost(link: Link, reason: string): void;
  /** There is a new link, made by either side; comes before its first message. */
  onLink(link: Link): void;
}

/** `get` makes or finds the link to a peer; what signaling relays for us goes to `relay`. */
export class Links {
  private readonly terms: Terms;
  private readonly makings = new Map<string, Making>();
  private readonly standing = new Map<string, Attempt>();
  private readonly early = new Map<string, { connection: string; candidate: RTCIceCandidateInit }[]>();
  private saying: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(private readonly options: LinksOptions) {
    this.terms = {
      me: options.me,
      say: (peer, data) => this.say(peer, data),
      onMessage: options.onMessage,
      onGone: (link, reason) => this.gone(link, reason),
      onProven: (link) => this.proven(link),
    };
  }

  /** The link to `peer`; concurrent callers share the making of it. Rejects with LinkError within LINK_TIMEOUT_S. */
  async get(peer: string): Promise<Link> {
    const link = this.existing(peer);
    if (link !== null) return link;
    let making = this.makings.get(peer);
    if (making === undefined) {
      making = this.begin(peer);
      if (this.options.me.peer < peer) making.run(() => this.offer(making!));
      else this.say(peer, { kind: "want" });
    }
    return making.made.promise;
  }

  /** The link to `peer`, if there is one now. */
  existing(peer: string): Link | null {
    return this.standing.get(peer)?.link ?? null;
  }

  /** Takes what signaling relayed from `sender` (docs/wire.md, 6); what makes no sense is ignored. */
  relay(sender: string, data: unknown): void {
    if (this.closed || typeof data !== "object" || data === null) return;
    const { kind, connection, sdp, candidate, message } = data as Relayed;
    if (kind === "want" && this.options.me.peer < sender) this.wanted(sender);
    else if (kind === "refuse" && typeof message === "string") this.refused(sender, connection, message);
    else if (typeof connection !== "string") return;
    else if (kind === "offer" && typeof sdp === "string" && sender < this.options.me.peer) {
      this.offered(sender, connection, sdp);
    } else if (kind === "answer" && typeof sdp === "string") this.attempt(sender, connection)?.answered(sdp);
    else if (kind === "candidate" && isCandidate(candidate)) this.candidate(sender, connection, candidate);
  }

  /** Closes every link in good order, and gives up those in the making. */
  async close(): Promise<void> {
    this.closed = true;
    for (const making of this.makings.values()) this.fail(making, new LinkError("link", "this peer leaves"), false);
    await Promise.all(Array.from(this.standing.values(), (attempt) => attempt.link.close()));
  }

  // Making a link

  private begin(peer: string): Making {
    if (this.closed || peer === this.options.me.peer) {
      throw new LinkError("link", this.closed ? "this peer leaves" : "a peer has no link to itself");
    }
    const peers = new Set([...this.standing.keys(), ...this.makings.keys(), peer]);
    if (peers.size > limits.MAX_LINKS) throw new LinkError("link", `this peer has ${limits.MAX_LINKS} links already`);
    const making = new Making(peer, (error) => this.fail(making, error, true));
    this.makings.set(peer, making);
    return making;
  }

  private async offer(making: Making): Promise<void> {
    const servers = await this.options.iceServers();
    await this.newAttempt(making, crypto.randomUUID()).offer(servers);
  }

  private newAttempt(making: Making, connection: string): Attempt {
    making.attempt?.link.abandon("another attempt took its place");
    making.attempt = new Attempt(this.terms, making.peer, connection);
    return making.attempt;
  }

  private proven(link: Link): void {
    const making = this.makings.get(link.peer);
    if (making?.attempt?.link !== link) return;
    this.makings.delete(link.peer);
    const before = this.existing(link.peer);
    this.standing.set(link.peer, making.attempt);
    making.succeed(link);
    before?.abandon("another link took its place");
    this.options.onLink(link);
  }

  private gone(link: Link, reason: string | null): void {
    if (this.existing(link.peer) === link) this.standing.delete(link.peer);
    if (reason !== null) this.options.onLost(link, reason);
  }

  /** Ends a making. The other side is told, unless it hears so on the channel, where nobody else can say it. */
  private fail(making: Making, error: LinkError, tell: boolean): void {
    if (this.makings.get(making.peer) !== making) return;
    this.makings.delete(making.peer);
    if (tell && error.step !== "handshake") {
      const connection = making.attempt && { connection: making.attempt.id };
      this.say(making.peer, { kind: "refuse", message: error.message.slice(0, limits.MAX_CAUSE_CHARS), ...connection });
    }
    making.fail(error);
  }

  // What the other side says

  /** Also where a link stands: the other side may have lost it. It stays until the new one is proven. */
  private wanted(peer: string): void {
    if (this.makings.has(peer)) return;
    const making = this.beginOrRefuse(peer, {});
    making?.run(() => this.offer(making));
  }

  /** A further offer takes the place of the one before. */
  private offered(peer: string, connection: string, sdp: string): void {
    if (this.attempt(peer, connection) !== null) return;
    const making = this.makings.get(peer) ?? this.beginOrRefuse(peer, { connection });
    if (making === null) return;
    const attempt = this.newAttempt(making, connection);
    making.run(async () => attempt.answer(await this.options.iceServers(), sdp));
    const early = this.early.get(peer) ?? [];
    this.early.delete(peer);
    for (const each of early) if (each.connection === connection) attempt.candidate(each.candidate);
  }

  private beginOrRefuse(peer: string, connection: object): Making | null {
    try {
      return this.begin(peer);
    } catch (error) {
      this.say(peer, { kind: "refuse", message: (error as Error).message, ...connection });
      return null;
    }
  }

  /** The attempt that `connection` names, also one that became a link: candidates may still come for it. */
  private attempt(peer: string, connection: string): Attempt | null {
    const attempts = [this.makings.get(peer)?.attempt, this.standing.get(peer)];
    return attempts.find((attempt) => attempt?.id === connection) ?? null;
  }

  private candidate(peer: string, connection: string, candidate: RTCIceCandidateInit): void {
    const attempt = this.attempt(peer, connection);
    if (attempt !== null) {
      attempt.candidate(candidate);
      return;
    }
    if (!this.early.has(peer) && this.early.size >= limits.MAX_LINKS) return;
    const early = this.early.get(peer) ?? [];
    this.early.set(peer, [...early, { connection, candidate }].slice(-limits.MAX_ICE_CANDIDATES));
  }

  private refused(peer: string, connection: unknown, message: string): void {
    const making = this.makings.get(peer);
    if (making === undefined || connection !== making.attempt?.id) return;
    this.fail(making, new LinkError("refused", `${peer} gave up: ${message.slice(0, limits.MAX_CAUSE_CHARS)}`), false);
  }

  private say(peer: string, data: Relayed): void {
    this.saying = this.saying.then(async () => {
      try {
        await this.options.sendRelay(peer, data);
      } catch (error) {
        const making = this.makings.get(peer);
        if (making) this.fail(making, new LinkError("signaling", (error as Error).message), false);
      }
    });
  }
}

/** A link in the making. Attempts follow one another until one is proven, the last one fails, or the time is up. */
class Making {
  readonly made = new Deferred<Link>();
  attempt: Attempt | null = null;
  private work = 0;
  private readonly timer: ReturnType<typeof setTimeout>;

  constructor(
    readonly peer: string,
    private readonly onFailed: (error: LinkError) => void,
  ) {
    this.made.promise.catch(() => undefined); // seen, also where nobody waits for this link
    this.timer = setTimeout(() => this.expired(), limits.LINK_TIMEOUT_S * 1e3);
  }

  /** Goes on with `work`, in place of what was under way. */
  run(work: () => Promise<void>): void {
    this.work += 1;
    const mine = this.work;
    work().catch((error) => {
      const reason = error instanceof LinkError ? error : new LinkError("signaling", (error as Error).message);
      if (mine === this.work) this.onFailed(reason);
    });
  }

  private expired(): void {
    const step = this.attempt?.step ?? "signaling";
    this.onFailed(
      new LinkError(step, `no link to ${this.peer} within ${limits.LINK_TIMEOUT_S} s: ${WAITING_FOR[step]}`),
    );
  }

  succeed(link: Link): void {
    clearTimeout(this.timer);
    this.made.resolve(link);
  }

  fail(error: LinkError): void {
    clearTimeout(this.timer);
    this.attempt?.link.abandon(error.message);
    this.made.reject(error);
  }
}

function isCandidate(value: unknown): value is RTCIceCandidateInit {
  return typeof value === "object" && value !== null && "candidate" in value && typeof value.candidate === "string";
}
