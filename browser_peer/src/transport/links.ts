/** The links of this peer: one to each other peer, made when it is asked for; as in mesh/transport/links.py. */

import { Deferred } from "../deferred";
import { LinkError } from "../errors";
import limits from "../generated/limits.json";
import type { Lane } from "../protocol/codec";
import { type Me, type Remote, SESSION_BYTES } from "../protocol/handshake";
import type { Connection } from "./connection";
import { withoutTurn } from "./ice";
import { Link } from "./link";
import { Carrier, type Ends, type Relayed, type Terms } from "./negotiation";

const WAITING_FOR: { [step: string]: string } = {
  signaling: "no description of its end of the connection came",
  ice: "no network path to it was found",
  dtls: "a network path was found, but no encrypted connection came of it",
  channel: "the connection stands, but its channels did not open",
  handshake: "the channels opened, but it did not prove itself",
};

/** The steps at which another path may help. */
const NETWORK = new Set(["ice", "dtls", "channel"]);

export interface LinksOptions {
  me: Me;
  /** Brings data to another peer's `relay`. */
  sendRelay(peer: string, data: Relayed): void | Promise<void>;
  /** Asked at every build of a connection. */
  iceServers(): Promise<RTCIceServer[]>;
  /** A message came; throwing closes the link. */
  onMessage(link: Link, lane: Lane, message: Uint8Array): void;
  /**
   * Nothing is heard of a peer. The link stays, takes what is sent, and either goes on, over a new connection, which both sides
   * ask for at once, or over the one that was silent, or is lost after RESUME_TIMEOUT_S. A connection that breaks and is made
   * anew before is no event.
   */
  onSuspect(link: Link, reason: string): void;
  /** A link goes on. */
  onResumed(link: Link): void;
  /** A link is gone, not by `close`; there are no more messages of it. */
  onLost(link: Link, reason: string): void;
  /** There is a new link, made by either side; comes before its first message. */
  onLink(link: Link): void;
}

/** `get` makes or finds the link to a peer; what signaling relays for us goes to `relay`. */
export class Links {
  private readonly terms: Terms;
  private readonly makings = new Map<string, Making>();
  private readonly standing = new Map<string, Link>();
  private readonly early = new Map<string, { connection: string; candidate: RTCIceCandidateInit }[]>();
  private saying: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(private readonly options: LinksOptions) {
    this.terms = {
      me: options.me,
      say: (peer, data) => this.say(peer, data),
      onProven: (carrier, remote, connection) => this.proven(carrier, remote, connection),
    };
  }

  /** The link to `peer`; concurrent callers share the making of it. Rejects with LinkError within LINK_TIMEOUT_S. */
  async get(peer: string): Promise<Link> {
    return this.existing(peer) ?? this.make(peer).made.promise;
  }

  /** The link to `peer`, if there is one now; it may be without a connection for a while. */
  existing(peer: string): Link | null {
    return this.standing.get(peer) ?? null;
  }

  /** The links that have a connection now. */
  connected(): Link[] {
    return [...this.standing.values()].filter((link) => !link.suspended);
  }

  /** Whether there is a link to `peer` that is not silent. */
  hears(peer: string): boolean {
    return this.existing(peer)?.silent === false;
  }

  /** The peer left the room: a link to it is lost at once if it has lost its connection, and else is probed. */
  left(peer: string): void {
    const link = this.existing(peer);
    if (link?.suspended) link.lose("its connection is gone, and it left the room");
    else this.probe(peer);
  }

  /** Doubts the connection of a link, if it has one: the link is suspected unless the peer is heard soon. */
  probe(peer: string): void {
    const link = this.existing(peer);
    if (link?.suspended === false) link.probe();
  }

  /** Takes what signaling relayed from `sender` (docs/wire.md, 6); what makes no sense is ignored. */
  relay(sender: string, data: unknown): void {
    if (this.closed || typeof data !== "object" || data === null) return;
    const { kind, connection, sdp, candidate, message } = data as Relayed;
    if (kind === "want" && this.options.me.peer < sender) this.wanted(sender);
    else if (kind === "refuse" && typeof message === "string") this.refused(sender, connection, message);
    else if (typeof connection !== "string") return;
    else if (kind === "offer" && typeof sdp === "string" && sender < this.options.me.peer) {
      this.offered(sender, connection, sdp, (data as Relayed).direct === true);
    } else if (kind === "answer" && typeof sdp === "string") this.carrier(sender, connection)?.answered(sdp);
    else if (kind === "candidate" && isCandidate(candidate)) this.candidate(sender, connection, candidate);
  }

  /** Closes every link in good order, and gives up those in the making. */
  async close(): Promise<void> {
    this.closed = true;
    for (const making of this.makings.values()) this.fail(making, new LinkError("link", "this peer leaves"), false);
    await Promise.all(Array.from(this.standing.values(), (link) => link.close()));
  }

  /** Closes every link at once. */
  leave(text: string): void {
    this.closed = true;
    for (const link of this.standing.values()) link.leave(text);
  }

  // Making a link

  /** The making of a link or connection to `peer`; the one with the smaller id offers. */
  private make(peer: string): Making {
    const present = this.makings.get(peer);
    if (present !== undefined) return present;
    const making = this.begin(peer);
    if (this.options.me.peer < peer) making.run(() => this.offer(making));
    else this.say(peer, { kind: "want" });
    return making;
  }

  private begin(peer: string): Making {
    if (this.closed || peer === this.options.me.peer) {
      throw new LinkError("link", this.closed ? "this peer leaves" : "a peer has no link to itself");
    }
    const peers = new Set([...this.standing.keys(), ...this.makings.keys(), peer]);
    if (peers.size > limits.MAX_LINKS) throw new LinkError("link", `this peer has ${limits.MAX_LINKS} links already`);
    const timeout = this.existing(peer)?.suspended ? limits.RESUME_ATTEMPT_S : limits.LINK_TIMEOUT_S;
    const making = new Making(peer, timeout, (error) => this.fail(making, error, true));
    this.makings.set(peer, making);
    return making;
  }

  private async offer(making: Making): Promise<void> {
    const servers = await this.options.iceServers();
    await this.newCarrier(making, crypto.randomUUID()).offer(servers);
  }

  private newCarrier(making: Making, connection: string): Carrier {
    making.carrier?.abandon("another attempt took its place");
    const link = this.existing(making.peer);
    const ends: Ends = link
      ? { session: link.localSession, resume: link.remoteSession }
      : { session: crypto.getRandomValues(new Uint8Array(SESSION_BYTES)), resume: null };
    making.carrier = new Carrier(this.terms, making.peer, connection, ends);
    return making.carrier;
  }

  /** The link goes on where both sides know its session, and is a new one where one of them began anew. */
  private proven(carrier: Carrier, remote: Remote, connection: Connection): void {
    const making = this.makings.get(carrier.peer);
    if (making?.carrier !== carrier) throw new LinkError("link", "another attempt took its place");
    const before = this.existing(carrier.peer);
    if (remote.resumed && before?.localSession !== carrier.ends.session) {
      throw new LinkError("handshake", "this side lost the link meanwhile");
    }
    this.makings.delete(carrier.peer);
    if (remote.resumed && before !== null) {
      const wasSilent = before.silent;
      before.resumeOn(carrier, connection);
      making.succeed(before);
      if (wasSilent) this.options.onResumed(before);
      return;
    }
    const link = this.newLink(remote, carrier.ends.session);
    this.standing.set(carrier.peer, link);
    link.standOn(carrier, connection);
    making.succeed(link);
    before?.lose("another link took its place");
    this.options.onLink(link);
  }

  private newLink(remote: Remote, session: Uint8Array): Link {
    return new Link(remote, session, {
      onMessage: this.options.onMessage,
      onSuspended: (link) => this.rebuild(link),
      onSilent: this.options.onSuspect,
      onHeard: this.options.onResumed,
      onGone: (link, reason) => this.gone(link, reason),
    });
  }

  private rebuild(link: Link): void {
    if (link.suspended && !this.closed) this.make(link.peer);
  }

  private gone(link: Link, reason: string | null): void {
    if (this.existing(link.peer) === link) {
      this.standing.delete(link.peer);
      const making = this.makings.get(link.peer);
      if (making) this.fail(making, new LinkError("link", reason ?? "this side closed the link"), true);
    }
    if (reason !== null) this.options.onLost(link, reason);
  }

  /** Ends a making. The other side is told, unless it hears so on the channel, where nobody else can say it. */
  private fail(making: Making, error: LinkError, tell: boolean): void {
    if (this.makings.get(making.peer) !== making) return;
    this.makings.delete(making.peer);
    if (tell && error.step !== "handshake") {
      const connection = making.carrier && { connection: making.carrier.id };
      this.say(making.peer, { kind: "refuse", message: error.message.slice(0, limits.MAX_CAUSE_CHARS), ...connection });
    }
    making.fail(error);
    const link = this.existing(making.peer);
    if (link !== null) setTimeout(() => this.rebuild(link), limits.RESUME_PAUSE_S * 1e3);
  }

  // What the other side says

  /** Also where a link stands: the other side may have lost it. It stays until the new one is proven. */
  private wanted(peer: string): void {
    if (this.makings.has(peer)) return;
    const making = this.beginOrRefuse(peer, {});
    making?.run(() => this.offer(making));
  }

  /** A further offer takes the place of the one before. */
  private offered(peer: string, connection: string, sdp: string, direct: boolean): void {
    if (this.carrier(peer, connection) !== null) return;
    const making = this.makings.get(peer) ?? this.beginOrRefuse(peer, { connection });
    if (making === null) return;
    const carrier = this.newCarrier(making, connection);
    making.run(() => this.answer(carrier, sdp, direct));
    const early = this.early.get(peer) ?? [];
    this.early.delete(peer);
    for (const each of early) if (each.connection === connection) carrier.takeCandidate(each.candidate);
  }

  /** Where both try without TURN first, the other side offers anew when that leads to nothing. */
  private async answer(carrier: Carrier, sdp: string, direct: boolean): Promise<void> {
    const servers = await this.options.iceServers();
    try {
      await carrier.answer(direct ? withoutTurn(servers) : servers, sdp);
    } catch (error) {
      if (!direct || !(error instanceof LinkError) || !NETWORK.has(error.step)) throw error;
    }
  }

  private beginOrRefuse(peer: string, connection: object): Making | null {
    try {
      return this.begin(peer);
    } catch (error) {
      this.say(peer, { kind: "refuse", message: (error as Error).message, ...connection });
      return null;
    }
  }

  /** The one that `connection` names, also when it carries a link already: candidates may still come for it. */
  private carrier(peer: string, connection: string): Carrier | null {
    const carriers = [this.makings.get(peer)?.carrier, this.standing.get(peer)?.carrier];
    return carriers.find((carrier) => carrier?.id === connection) ?? null;
  }

  private candidate(peer: string, connection: string, candidate: RTCIceCandidateInit): void {
    const carrier = this.carrier(peer, connection);
    if (carrier !== null) {
      carrier.takeCandidate(candidate);
      return;
    }
    if (!this.early.has(peer) && this.early.size >= limits.MAX_LINKS) return;
    const early = this.early.get(peer) ?? [];
    this.early.set(peer, [...early, { connection, candidate }].slice(-limits.MAX_ICE_CANDIDATES));
  }

  private refused(peer: string, connection: unknown, message: string): void {
    const making = this.makings.get(peer);
    if (making === undefined || connection !== making.carrier?.id) return;
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
  carrier: Carrier | null = null;
  private work = 0;
  private readonly timer: ReturnType<typeof setTimeout>;

  constructor(
    readonly peer: string,
    private readonly timeout: number,
    private readonly onFailed: (error: LinkError) => void,
  ) {
    this.made.promise.catch(() => undefined); // seen, also where nobody waits for this link
    this.timer = setTimeout(() => this.expired(), timeout * 1e3);
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
    const step = this.carrier?.step ?? "signaling";
    this.onFailed(new LinkError(step, `no link to ${this.peer} within ${this.timeout} s: ${WAITING_FOR[step]}`));
  }

  succeed(link: Link): void {
    clearTimeout(this.timer);
    this.made.resolve(link);
  }

  fail(error: LinkError): void {
    clearTimeout(this.timer);
    this.carrier?.abandon(error.message);
    this.made.reject(error);
  }
}

function isCandidate(value: unknown): value is RTCIceCandidateInit {
  return typeof value === "object" && value !== null && "candidate" in value && typeof value.candidate === "string";
}
