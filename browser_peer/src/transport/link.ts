/** A proven way to one peer: a session over one connection after another. */

import { Deferred, within } from "../deferred";
import { LinkError } from "../errors";
import limits from "../generated/limits.json";
import { LANES, type Lane } from "../protocol/codec";
import type { Grant } from "../protocol/grants";
import type { Remote } from "../protocol/handshake";
import { Session } from "../protocol/session";
import type { Connection } from "./connection";
import type { Path } from "./ice";
import type { Carrier, Receiver } from "./negotiation";

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
  /** Its connection broke or fell silent, and the link asks for another one. */
  onSuspended(link: Link): void;
  /** Nothing has been heard for long, which a connection that breaks need not mean. */
  onSilent(link: Link, reason: string): void;
  /** Its connection, which was silent, is heard again. */
  onHeard(link: Link): void;
  /** The link is gone; without a reason where this side closed it. */
  onGone(link: Link, reason: string | null): void;
}

interface Waiting {
  message: Uint8Array;
  sent: Deferred<void>;
}

/**
 * While it lives, messages of a lane arrive whole, once and in order. It begins with `standOn`, its first connection. When
 * that breaks or falls silent the link is `suspended`: what is sent then waits for another one. A silent connection is kept
 * until that stands: a process that was stopped may be heard on it again, and there may be nobody else to carry offers to it.
 * When the link is suspended for RESUME_TIMEOUT_S, it is lost.
 */
export class Link implements Receiver {
  readonly peer: string;
  readonly name: string;
  readonly grant: Grant;
  /** The other side's end of the session. */
  readonly remoteSession: Uint8Array;
  carrier: Carrier | null = null;
  private readonly session = new Session(seconds());
  private closing = false;
  private gone: string | null = null;
  private readonly waiting: Waiting[][] = LANES.map(() => []);
  private pumping = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private timerAt = Infinity;
  private patience: ReturnType<typeof setTimeout> | undefined;
  private readonly sent = LANES.map(() => 0);
  private readonly received = LANES.map(() => 0);
  private path: Path = "unknown";
  private lookUp: ReturnType<typeof setTimeout> | undefined;
  private settled: () => void = () => undefined;
  private finished: Promise<void> = Promise.resolve();

  constructor(
    remote: Remote,
    /** This side's end of the session. */
    readonly localSession: Uint8Array,
    private readonly events: LinkEvents,
  ) {
    this.peer = remote.peer;
    this.name = remote.name;
    this.grant = remote.grant;
    this.remoteSession = remote.session;
  }

  // What everybody does

  /** Resolves when the message is on its way; callers are served in order. Rejects with LinkError when the link is gone. */
  send(lane: Lane, message: Uint8Array): Promise<void> {
    if (this.closing || this.gone !== null) {
      return Promise.reject(new LinkError("link", this.gone ?? "it is not open"));
    }
    const sent = new Deferred<void>();
    this.waiting[lane]!.push({ message, sent });
    this.admit(lane);
    this.pumpSoon();
    return sent.promise;
  }

  stats(): Measured {
    const { rtt } = this.session;
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
    if (this.gone === null && !this.session.settled) {
      await within(limits.CLOSE_TIMEOUT_S, new Promise<void>((resolve) => (this.settled = resolve)));
    }
    this.leave("the other side closed the link");
    await this.finished;
  }

  /** Closes at once; what was sent may be lost. The other side hears `text`. */
  leave(text: string): void {
    this.closing = true;
    if (this.gone !== null) return;
    this.carrier?.sayClose("closed", text);
    this.finished = this.carrier?.finish() ?? Promise.resolve();
    this.lose("this side closed the link");
  }

  // Connections

  /** Whether the link lives without a connection on which something is heard. */
  get suspended(): boolean {
    return this.patience !== undefined;
  }

  /** Whether nothing has been heard for long. */
  get silent(): boolean {
    return this.session.silent;
  }

  /** The connection that carries the session from now on. */
  standOn(carrier: Carrier, connection: Connection): void {
    this.carrier = carrier;
    carrier.receiver = this;
    this.lookUp = setTimeout(() => this.watchPath(connection), limits.PATH_SETTLES_S * 1e3);
    queueMicrotask(() => this.tick()); // what is sent by those who hear of the link goes along
  }

  /** Likewise, in the place of the connection before, which the other side may still stand on for a moment. */
  resumeOn(carrier: Carrier, connection: Connection): void {
    void this.carrier?.finish();
    this.stopTimers();
    this.trust();
    this.session.resume(seconds());
    this.standOn(carrier, connection);
  }

  /** Doubts the connection. */
  probe(): void {
    this.session.probe(seconds());
    this.pumpSoon();
  }

  broken(reason: string, final: boolean): void {
    if (final) {
      this.lose(reason);
      return;
    }
    this.carrier?.abandon(reason);
    this.carrier = null;
    this.stopTimers();
    this.suspend(reason);
    if (this.gone === null) this.arm(this.session.deadline); // it may fall silent yet
  }

  /** The session waits for another connection, or to hear of this one again. */
  private suspend(reason: string): void {
    if (this.closing) this.lose(reason);
    if (this.gone !== null || this.suspended) return;
    const late = `${reason}, and no new connection stood within ${limits.RESUME_TIMEOUT_S} s`;
    this.patience = setTimeout(() => this.lose(late), limits.RESUME_TIMEOUT_S * 1e3);
    this.events.onSuspended(this);
  }

  private trust(): void {
    clearTimeout(this.patience);
    this.patience = undefined;
  }

  // Session

  frame(lane: Lane, frame: Uint8Array): void {
    this.received[lane]! += frame.length;
    const wasSilent = this.silent;
    const events = this.session.receive(lane, frame, seconds());
    if (wasSilent) {
      this.trust();
      this.events.onHeard(this);
    }
    for (const event of events) {
      if (this.gone !== null) return;
      if (event.type === "closed") {
        this.lose(event.code === "closed" ? event.text : `the other side says ${event.code}: ${event.text}`);
        return;
      }
      this.events.onMessage(this, event.lane, event.message);
    }
    this.pumpSoon();
  }

  writable(): void {
    this.pumpSoon();
  }

  /** Not at once: what is sent in the same turn of the loop shares frames. */
  private pumpSoon(): void {
    if (this.pumping || this.carrier === null) return;
    this.pumping = true;
    queueMicrotask(() => {
      this.pumping = false;
      this.pump();
    });
  }

  private pump(): void {
    if (this.carrier?.connection == null) return;
    try {
      for (const lane of LANES) this.fill(this.carrier, this.carrier.connection, lane);
    } catch (error) {
      this.broken((error as Error).message, !(error instanceof LinkError));
      return;
    }
    if (this.session.settled) this.settled();
    this.arm(this.session.deadline);
  }

  private fill(carrier: Carrier, connection: Connection, lane: Lane): void {
    while (connection.buffered(lane) <= limits.LANE_HIGH_WATER_BYTES - limits.MAX_FRAME_BYTES) {
      const frame = this.session.nextFrame(lane);
      if (frame === null) break;
      carrier.send(lane, frame);
      this.sent[lane]! += frame.length;
      this.admit(lane);
    }
  }

  /** Messages enter the session while its backlog is low; their senders wait for that. */
  private admit(lane: Lane): void {
    const waiting = this.waiting[lane]!;
    while (waiting.length > 0 && this.session.backlog(lane) <= limits.LANE_HIGH_WATER_BYTES) {
      const { message, sent } = waiting.shift()!;
      try {
        this.session.send(lane, message);
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
    if (this.gone !== null) return;
    if (this.session.tick(seconds())) this.fallSilent();
    if (this.carrier !== null) this.pump();
    else if (this.gone === null) this.arm(this.session.deadline);
  }

  private fallSilent(): void {
    const reason = "nothing was heard of it any more";
    this.suspend(reason);
    if (this.gone === null) this.events.onSilent(this, reason);
  }

  /** A browser may find a better path while the connection stands. */
  private watchPath(connection: Connection): void {
    connection.path().then(
      (path) => (this.path = path),
      () => undefined, // it stays as it was
    );
    this.lookUp = setTimeout(() => this.watchPath(connection), limits.PATH_INTERVAL_S * 1e3);
  }

  private stopTimers(): void {
    clearTimeout(this.timer);
    clearTimeout(this.lookUp);
    this.timerAt = Infinity;
  }

  /** The link is gone, and its session with it. */
  lose(reason: string): void {
    if (this.gone !== null) return;
    this.gone = reason;
    this.stopTimers();
    this.trust();
    for (const { sent } of this.waiting.flat()) sent.reject(new LinkError("link", reason));
    this.settled();
    this.carrier?.abandon(reason);
    this.carrier = null;
    this.events.onGone(this, this.closing ? null : reason);
  }
}

function seconds(): number {
  return performance.now() / 1e3;
}
