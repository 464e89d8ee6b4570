/** What this library throws on purpose, as in mesh/errors.py. */

/** The other side broke the protocol; `code` names the rule (mesh/protocol/registry.json). */
export class ProtocolError extends Error {
  constructor(
    readonly code: string,
    readonly reason: string,
  ) {
    super(`${code}: ${reason}`);
  }
}

/** The other side could not prove that it belongs to the room, or that the link is the one it meant. */
export class HandshakeError extends ProtocolError {}

/** A link could not be made, or is gone. `step` names what failed. */
export class LinkError extends Error {
  constructor(
    readonly step: string,
    message: string,
  ) {
    super(`${step}: ${message}`);
  }
}

/** The signaling server refused (with its code), or is not there ("away"). */
export class SignalingError extends Error {
  constructor(
    readonly code: string,
    readonly reason: string,
  ) {
    super(`${code}: ${reason}`);
  }
}
