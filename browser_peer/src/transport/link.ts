/** A proven way to one peer, over one connection: first the proof, then a session. */

import { Deferred } from "../deferred";
import { LinkError, ProtocolError } from "../errors";
import limits from "../generated/limits.json";
import { decodeFrame, encodeFrame, LANES, Lane } from "../protocol/codec";
import type { Grant } from "../protocol/grants";
import type { Handshake } from "../protocol/handshake";
import { Session } from "../protocol/session";
import type { Connection, ConnectionEvents, Path } from "./connection";

/** What a link measured of itself. Bytes are those of frames, by lane. */
export interface Measured {
  rtt_ms: number | null;
  sent: readonly number[];
  received: readonly number[];
  engine: string;
  path: Path;
}

export interface LinkEvents {
  /** A message came; throwing closes the link. */
  onMessage(link: Link, lane: Lane, message: Uint8Array): void;
  /** The link is gone; without a reason where this side closed it. */
  onGone(link: Link, reason: string | null): void;
  /** The other side is proven; comes before its first message. */
  onProven(link: Link): void;
  onCandidate(candidate: RTCIceCandidateInit): void;
}

interface Waiting {
  message: Uint8Array;
  sent: Deferred<void>;
}

/** While it lives, messages of a lane arrive whole, once and in order. */
export class Link implements ConnectionEvents {
  name = "";
  grant!: Grant;
  private readonly provenBy = new Deferred<void>();
  private connection: Connection | null = null;
  private handshake: Handshake | null = null;
  private session: Session | null = null;
  private greeted = false;
  private closing = false;
  private gone: string | null = null;
  /** Frames that came while a proof is being checked, in their order. */
  private proving: Promise<void> = Promise.resolve();
  private provingBytes = 0;
  private readonly waiting: Waiting[][] = LANES.map(() => []);
  private pumping = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private timerAt = Infinity;
  private readonly sent = LANES.map(() => 0);
  private readonly received = LANES.map(() => 0);
  private path: Path = "unknown";
  private settled: () => void = () => undefined;
  private readonly ended = new Deferred<void>();
  private finished: Promise<void> = Promise.resolve();

  constructor(
    readonly peer: string,
    private readonly events: LinkEvents,
  ) {
    this.provenBy.promise.catch(() => undefined); // seen, also where nobody waits for it any more
  }

  // What the negotiation does

  /** The connection that this link will stand on, and close. */
  own(connection: Connection): void {
    this.connection = connection;
    if (this.gone !== null) connection.close();
  }

  /** The proof that it needs, before its channels can open. */
  expect(handshake: Handshake): void {
    this.handshake = handshake;
  }

  /** Rejects with LinkError where the link cannot be made. */
  get proven(): Promise<void> {
    return this.provenBy.promise;
  }

  /** What the link is waiting for on its way to `proven`. */
  get step(): string {
    if (this.connection === null || this.handshake === null) return "signaling";
    return this.greeted ? "handshake" : this.connection.step;
  }

  /** Gives the link up at once. */
  abandon(reason: string): void {
    this.lose(reason, false);
  }

  // What everybody does

  /** Resolves when the message is on its way; callers are served in order. Rejects with LinkError when the link is gone. */
  send(lane: Lane, message: Uint8Array): Promise<void> {
    if (this.session === null || this.closing || this.gone !== null) {
      return Promise.reject(new LinkError("link", this.gone ?? "it is not open"));
    }
    const sent = new Deferred<void>();
    this.waiting[lane]!.push({ message, sent });
    this.admit(this.session, lane);
    this.pumpSoon();
    return sent.promise;
  }

  stats(): Measured {
    const rtt = this.session?.rtt ?? null;
    return {
      rtt_ms: rtt === null ? null : rtt * 1e3,
      sent: [...this.sent],
      received: [...this.received],
      engine: "browser",
      path: this.path,
    };
  }

  /** Waits, not for long, until everything was acknowledged, then closes, without `onLost` of Links. Safe twice. */
  async close(): Promise<void> {
    this.closing = true;
    if (this.session !== null && this.gone === null && !this.session.settled) {
      await within(limits.CLOSE_TIMEOUT_S, new Promise<void>((resolve) => (this.settled = resolve)));
    }
    if (this.gone === null) {
      this.sayClose("closed", "the other side closed the link");
      this.lose("this side closed the link", true);
    }
    await this.finished;
  }

  // ConnectionEvents

  opened(): void {
    if (this.greeted || this.handshake === null || this.gone !== null) return;
    this.greeted = true;
    this.timer = setTimeout(
      () => this.lose("the other side did not prove itself", true),
      limits.HANDSHAKE_TIMEOUT_S * 1e3,
    );
    this.attempt(() => this.connection!.send(Lane.CONTROL, this.handshake!.start()));
  }

  frame(lane: Lane, frame: Uint8Array | string): void {
    if (this.gone !== null) {
      this.endedBy(frame);
      return;
    }
    if (typeof frame === "string") {
      this.fail(new ProtocolError("bad-frame", "a text frame"));
      return;
    }
    this.received[lane]! += frame.length;
    if (this.session !== null) {
      this.attempt(() => this.take(this.session!, lane, frame));
      return;
    }
    this.provingBytes += frame.length;
    this.proving = this.proving.then(() => this.prove(lane, frame)).catch((error) => this.trouble(error));
  }

  writable(): void {
    this.pumpSoon();
  }

  candidate(candidate: RTCIceCandidateInit): void {
    this.events.onCandidate(candidate);
  }

  closed(reason: string): void {
    this.ended.resolve();
    this.lose(reason, false);
  }

  // Proof

  private async prove(lane: Lane, frame: Uint8Array): Promise<void> {
    if (this.gone !== null) return;
    if (this.session !== null) {
      this.take(this.session, lane, frame);
      return;
    }
    if (this.handshake === null || lane !== Lane.CONTROL || this.provingBytes > limits.SESSION_WINDOW_BYTES) {
      throw new ProtocolError("not-proven", `a frame on lane ${lane} came before the proof`);
    }
    this.opened(); // the other side's HELLO may overtake the word that the channels are open
    const answer = await this.handshake.receive(frame);
    if (this.gone !== null) return;
    if (answer !== null) this.connection!.send(Lane.CONTROL, answer);
    if (this.handshake.remote !== null) this.begin(this.handshake.remote);
  }

  private begin(remote: { name: string; grant: Grant }): void {
    this.name = remote.name;
    this.grant = remote.grant;
    this.session = new Session(seconds());
    this.events.onProven(this);
    this.provenBy.resolve();
    this.tick();
    this.connection!.path().then(
      (path) => (this.path = path),
      () => undefined, // it stays unknown
    );
  }

  // Session

  private take(session: Session, lane: Lane, frame: Uint8Array): void {
    for (const event of session.receive(lane, frame, seconds())) {
      if (this.gone !== null) return;
      if (event.type === "closed") {
        this.lose(event.code === "closed" ? event.text : `the other side says ${event.code}: ${event.text}`, false);
        return;
      }
      this.events.onMessage(this, event.lane, event.message);
    }
    this.pumpSoon();
  }

  /** Not at once: what is sent in the same turn of the loop shares frames. */
  private pumpSoon(): void {
    if (this.pumping || this.gone !== null) return;
    this.pumping = true;
    queueMicrotask(() => {
      this.pumping = false;
      this.attempt(() => this.pump());
    });
  }

  private pump(): void {
    const { session, connection } = this;
    if (this.gone !== null || session === null || connection === null) return;
    for (const lane of LANES) {
      while (connection.buffered(lane) <= limits.LANE_HIGH_WATER_BYTES - limits.MAX_FRAME_BYTES) {
        const frame = session.nextFrame(lane);
        if (frame === null) break;
        connection.send(lane, frame);
        this.sent[lane]! += frame.length;
        this.admit(session, lane);
      }
    }
    if (session.settled) this.settled();
    this.arm(session.deadline);
  }

  /** Messages enter the session while its backlog is low; their senders wait for that. */
  private admit(session: Session, lane: Lane): void {
    const waiting = this.waiting[lane]!;
    while (waiting.length > 0 && session.backlog(lane) <= limits.LANE_HIGH_WATER_BYTES) {
      const { message, sent } = waiting.shift()!;
      try {
        session.send(lane, message);
        sent.resolve();
      } catch (error) {
        sent.reject(error as Error);
      }
    }
  }

  private arm(deadline: number): void {
    if (this.timerAt <= deadline) return;
    clearTimeout(this.timer);
    this.timerAt = deadline;
    this.timer = setTimeout(() => this.tick(), Math.max(0, (deadline - seconds()) * 1e3));
  }

  private tick(): void {
    clearTimeout(this.timer);
    this.timerAt = Infinity;
    if (this.session === null || this.gone !== null) return;
    if (this.session.tick(seconds())) this.lose(`nothing was heard for ${limits.SUSPECT_AFTER_S} s`, false);
    else this.attempt(() => this.pump());
  }

  // The end

  private attempt(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.trouble(error);
    }
  }

  private trouble(error: unknown): void {
    if (error instanceof LinkError) this.lose(error.message, false);
    else if (error instanceof ProtocolError) this.fail(error);
    else this.fail(new ProtocolError("bad-message", `it could not be handled: ${error}`));
  }

  /** The other side broke the rules: it is told so. */
  private fail(error: ProtocolError): void {
    this.sayClose(error.code, error.reason);
    this.lose(error.message, true);
  }

  private sayClose(code: string, text: string): void {
    try {
      this.connection?.send(Lane.CONTROL, encodeFrame([{ type: "CLOSE", code, text }]));
    } catch {
      // it cannot be told, and will find out
    }
  }

  private lose(reason: string, wait: boolean): void {
    if (this.gone !== null) return;
    const step = this.step;
    this.gone = reason;
    clearTimeout(this.timer);
    for (const { sent } of this.waiting.flat()) sent.reject(new LinkError("link", reason));
    this.settled();
    this.finished = this.closeConnection(wait);
    if (this.session === null) this.provenBy.reject(new LinkError(step, reason));
    else this.events.onGone(this, this.closing ? null : reason);
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
  private async closeConnection(wait: boolean): Promise<void> {
    if (wait && this.greeted) await within(limits.CLOSE_TIMEOUT_S, this.ended.promise);
    this.connection?.close();
  }
}

function seconds(): number {
  return performance.now() / 1e3;
}

/** Resolves with the promise, or after that many seconds. */
async function within(limit: number, promise: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  await Promise.race([promise, new Promise<void>((resolve) => (timer = setTimeout(resolve, limit * 1e3)))]);
  clearTimeout(timer);
}
