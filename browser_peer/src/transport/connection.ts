/** One RTCPeerConnection with the two channels of docs/wire.md, 2. */

import { LinkError } from "../errors";
import limits from "../generated/limits.json";
import { LANES, Lane } from "../protocol/codec";
import { type Path, pathOf } from "./ice";

/** What a connection tells its owner. */
export interface ConnectionEvents {
  /** Both channels can send. */
  opened(): void;
  /** A frame came; text is a fault of the other side. */
  frame(lane: Lane, frame: Uint8Array | string): void;
  /** What the channel buffers fell to half of LANE_HIGH_WATER_BYTES. */
  writable(): void;
  candidate(candidate: RTCIceCandidateInit): void;
  /** The connection failed or was closed; may come late, or never. */
  closed(reason: string): void;
}

export class Connection {
  /** What is being waited for. */
  step: "ice" | "dtls" | "channel" = "ice";
  /** Both channels have been open: then a state of "failed" is not the end, it may come back. */
  private open = false;
  private readonly pc: RTCPeerConnection;
  private readonly channels: RTCDataChannel[];

  constructor(
    private readonly events: ConnectionEvents,
    iceServers: RTCIceServer[],
  ) {
    this.pc = new RTCPeerConnection({ iceServers });
    this.pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) events.candidate(candidate.toJSON());
    };
    this.pc.oniceconnectionstatechange = () => this.stateChanged();
    this.pc.onconnectionstatechange = () => this.stateChanged();
    this.channels = LANES.map((lane) => this.makeChannel(lane));
  }

  private makeChannel(lane: Lane): RTCDataChannel {
    const label = lane === Lane.CONTROL ? "control" : "data";
    const channel = this.pc.createDataChannel(label, { negotiated: true, id: lane });
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = limits.LANE_HIGH_WATER_BYTES / 2;
    channel.onopen = () => {
      if (!this.channels.every((each) => each.readyState === "open")) return;
      this.open = true;
      this.events.opened();
    };
    channel.onmessage = ({ data }) => this.events.frame(lane, typeof data === "string" ? data : new Uint8Array(data));
    channel.onbufferedamountlow = () => this.events.writable();
    channel.onclose = () => this.events.closed("the channel was closed");
    return channel;
  }

  private stateChanged(): void {
    if (["connected", "completed"].includes(this.pc.iceConnectionState)) {
      this.step = this.pc.connectionState === "connected" ? "channel" : "dtls";
    }
    const { connectionState: state } = this.pc;
    if (state === "closed" || (state === "failed" && !this.open)) this.events.closed(`the connection is ${state}`);
  }

  async createOffer(): Promise<string> {
    await this.pc.setLocalDescription();
    return this.localSdp();
  }

  /** Returns the answer. `sdp` is canonical, here and below. */
  async acceptOffer(sdp: string): Promise<string> {
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    await this.pc.setLocalDescription();
    return this.localSdp();
  }

  private localSdp(): string {
    if (this.pc.localDescription === null) throw new LinkError("signaling", "the connection was closed");
    return this.pc.localDescription.sdp;
  }

  async acceptAnswer(sdp: string): Promise<void> {
    await this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  async addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
    await this.pc.addIceCandidate(candidate);
  }

  /** Hands a frame to a channel that is open; throws LinkError where that fails. */
  send(lane: Lane, frame: Uint8Array<ArrayBuffer>): void {
    try {
      this.channels[lane]!.send(frame);
    } catch (error) {
      throw new LinkError("channel", String(error));
    }
  }

  /** Bytes that the channel has not sent yet. */
  buffered(lane: Lane): number {
    return this.channels[lane]!.bufferedAmount;
  }

  /** How the packets travel. */
  async path(): Promise<Path> {
    return pathOf(await this.pc.getStats());
  }

  /** Ends it at once; safe to call twice. */
  close(): void {
    this.pc.close();
  }
}
