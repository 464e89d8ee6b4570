/** One connection under a link: descriptions, candidates, proof (docs/wire.md, 3 and 6), then frames; as in mesh/transport/negotiation.py. */

import { Deferred, within } from "../deferred";
import { LinkError, ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { decodeFrame, encodeFrame, Lane } from "../protocol/codec";
import { canonical, fingerprint } from "../protocol/fingerprint";
import { Handshake, type Me, NONCE_BYTES, type Remote, type Role } from "../protocol/handshake";
import { Connection, type ConnectionEvents } from "./connection";

/** What is relayed between two peers. */
export type Relayed = { kind: string; [field: string]: unknown };

/** What all connections of this peer share. */
export interface Terms {
  me: Me;
  /** Relays to the other peer, in order. */
  say(peer: string, data: Relayed): void;
  /** Comes before the first frame behind the proof, and gives the carrier its `receiver`. */
  onProven(carrier: Carrier, remote: Remote, connection: Connection): void;
}

/** The link that a proven connection carries. */
export interface Receiver {
  /** A frame came; what this throws ends the connection, and the other side is told of all but a LinkError. */
  frame(lane: Lane, frame: Uint8Array): void;
  /** A channel may take frames again. */
  writable(): void;
  /** The connection is gone. `final`: for a fault, or an error of `frame`, that goes with the session. */
  broken(reason: string, final: boolean): void;
}

/** One end of a session: ours, and the other side's where it is to be resumed. */
export interface Ends {
  session: Uint8Array;
  resume: Uint8Array | null;
}

/** One RTCPeerConnection, until it is proven and then until its end; `id` names it in what is relayed. */
export class Carrier implements ConnectionEvents {
  receiver: Receiver | null = null;
  connection: Connection | null = null;
  private readonly provenBy = new Deferred<void>();
  private readonly answerCame = new Deferred<string>();
  /** The other side knows the connection, and so where candidates belong. */
  private introduced = false;
  private readonly found: RTCIceCandidateInit[] = [];
  /** The engine knows the other side's description, and takes its candidates. */
  private described = false;
  private readonly early: RTCIceCandidateInit[] = [];
  private candidates = 0;
  private handshake: Handshake | null = null;
  private greeted = false;
  private patience: ReturnType<typeof setTimeout> | undefined;
  /** Frames that came while a proof is being checked, in their order. */
  private proving: Promise<void> = Promise.resolve();
  private provingBytes = 0;
  private over = false;
  private readonly ended = new Deferred<void>();

  constructor(
    private readonly terms: Terms,
    readonly peer: string,
    readonly id: string,
    readonly ends: Ends,
  ) {
    this.provenBy.promise.catch(() => undefined); // seen, also where nobody waits for it any more
  }

  /** Makes the offer. Resolves when it is proven; when it cannot be, gives it up and rejects with LinkError. */
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
    if (this.connection === null || this.handshake === null) return "signaling";
    return this.greeted ? "handshake" : this.connection.step;
  }

  /** The other side's answer came; a second one is ignored. */
  answered(sdp: string): void {
    this.answerCame.resolve(sdp);
  }

  /** A candidate of the other side came; it is kept while its description is not there. */
  takeCandidate(candidate: RTCIceCandidateInit): void {
    this.candidates += 1;
    if (this.candidates > limits.MAX_ICE_CANDIDATES) return;
    if (this.described && this.connection !== null) add(this.connection, candidate);
    else this.early.push(candidate);
  }

  /** Whatever ends an attempt gives it up, and is a LinkError that names the step. */
  private async mapped(make: () => Promise<void>): Promise<void> {
    try {
      await Promise.race([make().then(() => this.provenBy.promise), this.provenBy.promise]);
    } catch (error) {
      const step = this.step;
      this.abandon(error instanceof Error ? error.message : String(error));
      throw error instanceof LinkError
        ? error
        : new LinkError(step, error instanceof Error ? error.message : String(error));
    }
  }

  private connect(iceServers: RTCIceServer[]): Connection {
    this.connection = new Connection(this, iceServers);
    if (this.over) this.connection.close();
    return this.connection;
  }

  /** Sets up the proof, before the channels can open. */
  private bind(role: Role, local: string, remote: string): void {
    this.handshake = new Handshake(this.terms.me, {
      peer: this.peer,
      role,
      localFingerprint: fingerprint(local),
      remoteFingerprint: fingerprint(remote),
      ...this.ends,
      nonce: crypto.getRandomValues(new Uint8Array(NONCE_BYTES)),
    });
  }

  candidate(candidate: RTCIceCandidateInit): void {
    if (!this.introduced) this.found.push(candidate);
    else this.terms.say(this.peer, { kind: "candidate", connection: this.id, candidate });
  }

  private introduce(description: Relayed): void {
    this.terms.say(this.peer, description);
    this.introduced = true;
    for (const candidate of this.found) this.candidate(candidate);
  }

  private takeEarly(connection: Connection): void {
    this.described = true;
    for (const candidate of this.early) add(connection, candidate);
  }

  // Proof

  opened(): void {
    if (this.greeted || this.handshake === null || this.over) return;
    this.greeted = true;
    const late = () => this.end("the other side did not prove itself", false);
    this.patience = setTimeout(late, limits.HANDSHAKE_TIMEOUT_S * 1e3);
    try {
      this.send(Lane.CONTROL, this.handshake.start());
    } catch (error) {
      this.trouble(error);
    }
  }

  private async prove(lane: Lane, frame: Uint8Array): Promise<void> {
    if (this.over) return;
    if (this.receiver !== null) {
      this.receiver.frame(lane, frame);
      return;
    }
    if (this.handshake === null || lane !== Lane.CONTROL || this.provingBytes > limits.SESSION_WINDOW_BYTES) {
      throw new ProtocolError("not-proven", `a frame on lane ${lane} came before the proof`);
    }
    this.opened(); // the other side's HELLO may overtake the word that the channels are open
    const answer = await this.handshake.receive(frame);
    if (this.over) return;
    if (answer !== null) this.send(Lane.CONTROL, answer);
    if (this.handshake.remote !== null) {
      clearTimeout(this.patience);
      this.terms.onProven(this, this.handshake.remote, this.connection!);
      this.provenBy.resolve();
    }
  }

  // Frames

  /** Hands a frame to the channel; throws LinkError where that fails. */
  send(lane: Lane, frame: Uint8Array<ArrayBuffer>): void {
    if (this.connection === null) throw new LinkError("channel", "there is no connection");
    this.connection.send(lane, frame);
  }

  frame(lane: Lane, frame: Uint8Array | string): void {
    if (this.over) this.endedBy(frame);
    else if (typeof frame === "string") this.refuse(new ProtocolError("bad-frame", "a text frame"));
    else if (this.receiver === null) {
      this.provingBytes += frame.length;
      this.proving = this.proving.then(() => this.prove(lane, frame)).catch((error) => this.trouble(error));
    } else {
      try {
        this.receiver.frame(lane, frame);
      } catch (error) {
        this.trouble(error);
      }
    }
  }

  writable(): void {
    this.receiver?.writable();
  }

  // The end

  closed(reason: string): void {
    this.ended.resolve();
    this.end(reason, false);
  }

  private trouble(error: unknown): void {
    if (error instanceof LinkError) this.end(error.message, false);
    else if (error instanceof ProtocolError) this.refuse(error);
    else this.refuse(new ProtocolError("bad-message", `it could not be handled: ${error}`));
  }

  /** The other side broke the rules: it is told so. */
  private refuse(error: ProtocolError): void {
    this.sayClose(error.code, error.reason);
    this.end(error.message, true);
  }

  /** The last words: `finish` waits until they were heard. */
  sayClose(code: string, text: string): void {
    try {
      this.send(Lane.CONTROL, encodeFrame([{ type: "CLOSE", code, text }]));
    } catch {
      // it cannot be told, and will find out
    }
  }

  /** Gives the connection up at once; its receiver hears nothing more. */
  abandon(reason: string): void {
    this.receiver = null;
    this.end(reason, false);
  }

  /** Ends the connection when the other side has, or after a second; its receiver hears nothing more. */
  finish(): Promise<void> {
    this.over = true;
    this.receiver = null;
    return this.close(true);
  }

  private end(reason: string, final: boolean): void {
    if (this.over) return;
    const step = this.step;
    this.over = true;
    clearTimeout(this.patience);
    void this.close(final);
    if (this.receiver !== null) this.receiver.broken(reason, final);
    else this.provenBy.reject(new LinkError(step, reason));
  }

  /** After our own CLOSE only one thing of the other side matters: that it says the same. */
  private endedBy(frame: Uint8Array | string): void {
    try {
      if (typeof frame !== "string" && decodeFrame(frame)[0]?.type === "CLOSE") this.ended.resolve();
    } catch {
      // nonsense at the end
    }
  }

  /** What was said last must arrive, so the other side, having heard it, closes first. */
  private async close(wait: boolean): Promise<void> {
    if (wait && this.greeted) await within(limits.CLOSE_TIMEOUT_S, this.ended.promise);
    this.connection?.close();
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
