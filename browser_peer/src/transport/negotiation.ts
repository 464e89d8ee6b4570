/** One attempt at a link: descriptions, candidates, connection, proof (docs/wire.md, 6); as in mesh/transport/negotiation.py. */

import { Deferred } from "../deferred";
import { LinkError } from "../errors";
import limits from "../generated/limits.json";
import { canonical, fingerprint } from "../protocol/fingerprint";
import { Handshake, type Me, NONCE_BYTES, type Role, SESSION_BYTES } from "../protocol/handshake";
import { Connection } from "./connection";
import { Link, type LinkEvents } from "./link";

/** What is relayed between two peers. */
export type Relayed = { kind: string; [field: string]: unknown };

/** What all attempts of this peer share. `say` relays to the other peer, in order. */
export interface Terms extends Omit<LinkEvents, "onCandidate"> {
  me: Me;
  say(peer: string, data: Relayed): void;
}

/** One RTCPeerConnection until its link is proven; `id` names it in what is relayed. */
export class Attempt {
  readonly link: Link;
  private connection: Connection | null = null;
  private readonly answerCame = new Deferred<string>();
  /** The other side knows the connection, and so where candidates belong. */
  private introduced = false;
  private readonly found: RTCIceCandidateInit[] = [];
  /** The engine knows the other side's description, and takes its candidates. */
  private described = false;
  private readonly early: RTCIceCandidateInit[] = [];
  private candidates = 0;

  constructor(
    private readonly terms: Terms,
    private readonly peer: string,
    readonly id: string,
  ) {
    this.link = new Link(peer, { ...terms, onCandidate: (candidate) => this.candidateFound(candidate) });
  }

  /** Makes the offer. Resolves when the link is proven; when it cannot be, gives it up and rejects with LinkError. */
  offer(iceServers: RTCIceServer[]): Promise<void> {
    return this.mapped(async () => {
      const connection = this.connect(iceServers);
      const sdp = await connection.createOffer();
      this.introduce({ kind: "offer", connection: this.id, sdp });
      const answer = description(await this.answerCame.promise);
      this.bind("offerer", sdp, answer);
      await connection.acceptAnswer(answer);
      this.takeEarly(connection);
    });
  }

  /** Answers the other side's offer; otherwise as `offer`. */
  answer(iceServers: RTCIceServer[], offer: string): Promise<void> {
    return this.mapped(async () => {
      const remote = description(offer);
      const connection = this.connect(iceServers);
      const sdp = await connection.acceptOffer(remote);
      this.bind("answerer", sdp, remote);
      this.introduce({ kind: "answer", connection: this.id, sdp });
      this.takeEarly(connection);
    });
  }

  /** What is being waited for: `signaling`, `ice`, `dtls`, `channel` or `handshake`. */
  get step(): string {
    return this.link.step;
  }

  /** The other side's answer came; a second one is ignored. */
  answered(sdp: string): void {
    this.answerCame.resolve(sdp);
  }

  /** A candidate of the other side came; it is kept while its description is not there. */
  candidate(candidate: RTCIceCandidateInit): void {
    this.candidates += 1;
    if (this.candidates > limits.MAX_ICE_CANDIDATES) return;
    if (this.described && this.connection !== null) add(this.connection, candidate);
    else this.early.push(candidate);
  }

  /** Whatever ends an attempt gives its link up, and is a LinkError that names the step. */
  private async mapped(make: () => Promise<void>): Promise<void> {
    try {
      await Promise.race([make().then(() => this.link.proven), this.link.proven]);
    } catch (error) {
      const step = this.step;
      this.link.abandon(error instanceof Error ? error.message : String(error));
      throw error instanceof LinkError
        ? error
        : new LinkError(step, error instanceof Error ? error.message : String(error));
    }
  }

  private connect(iceServers: RTCIceServer[]): Connection {
    this.connection = new Connection(this.link, iceServers);
    this.link.own(this.connection);
    return this.connection;
  }

  /** Sets up the proof, before the channels can open. */
  private bind(role: Role, local: string, remote: string): void {
    const handshake = new Handshake(this.terms.me, {
      peer: this.peer,
      role,
      localFingerprint: fingerprint(local),
      remoteFingerprint: fingerprint(remote),
      session: crypto.getRandomValues(new Uint8Array(SESSION_BYTES)),
      nonce: crypto.getRandomValues(new Uint8Array(NONCE_BYTES)),
    });
    this.link.expect(handshake);
  }

  private candidateFound(candidate: RTCIceCandidateInit): void {
    if (!this.introduced) this.found.push(candidate);
    else this.terms.say(this.peer, { kind: "candidate", connection: this.id, candidate });
  }

  private introduce(description: Relayed): void {
    this.terms.say(this.peer, description);
    this.introduced = true;
    for (const candidate of this.found) this.candidateFound(candidate);
  }

  private takeEarly(connection: Connection): void {
    this.described = true;
    for (const candidate of this.early) add(connection, candidate);
  }
}

/** Not awaited: of a connection that is closed meanwhile, the browser never says how it went. */
function add(connection: Connection, candidate: RTCIceCandidateInit): void {
  connection.addCandidate(candidate).catch(() => undefined); // whatever the browser thinks of it: one candidate less
}

/** What came as a description, fit for the browser: canonical, and of data channels that carry our frames only. */
function description(sdp: string): string {
  const clean = canonical(sdp);
  const media = Array.from(clean.matchAll(/^m=(\S+)/gm), (match) => match[1]);
  if (media.length !== 1 || media[0] !== "application") {
    throw new LinkError("signaling", "the session description is not of data channels alone");
  }
  const limit = Number(/^a=max-message-size:(\d{1,18})\r$/m.exec(clean)?.[1] ?? 0);
  if (limit > 0 && limit < limits.MAX_FRAME_BYTES) {
    throw new LinkError(
      "signaling",
      `the other side takes messages of ${limit} bytes, not of ${limits.MAX_FRAME_BYTES}`,
    );
  }
  return clean;
}
