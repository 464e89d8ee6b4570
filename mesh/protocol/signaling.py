"""What the signaling server says to its clients (docs/wire.md, 6)."""

from typing import Any, Final

import msgspec

from mesh.errors import SignalingError

VERSION: Final = 1
POLICY_VIOLATION: Final = 1008  # RFC 6455, 7.4.1: how the server closes, with ``code: text`` as the reason

type Record = dict[str, Any]


class Challenge(msgspec.Struct, tag_field="type", tag="challenge"):
    version: int
    nonce: str


class Joined(msgspec.Struct, tag_field="type", tag="joined"):
    peer: str
    name: str
    room: str
    can: list[str]
    ice_servers: list[dict[str, Any]]
    peers: list[Record]
    catalog: dict[str, list[dict[str, Any]]]


class Presence(msgspec.Struct, tag_field="type", tag="presence"):
    left: list[dict[str, str]]
    joined: list[Record]
    updated: list[Record]
    catalog: dict[str, list[dict[str, Any]]]


class Relay(msgspec.Struct, tag_field="type", tag="relay"):
    sender: str = msgspec.field(name="from")
    data: dict[str, Any]


class Ice(msgspec.Struct, tag_field="type", tag="ice"):
    ice_servers: list[dict[str, Any]]


class Plan(msgspec.Struct, tag_field="type", tag="plan"):
    id: int
    name: str | None = None
    graph: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    faults: list[dict[str, str]] | None = None
    refused: dict[str, Any] | None = None

    def answer(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in ("name", "graph", "plan", "faults", "refused")}
        return {name: value for name, value in fields.items() if value is not None}


class Error(msgspec.Struct, tag_field="type", tag="error"):
    code: str
    message: str
    id: int | None = None


type Message = Challenge | Joined | Presence | Relay | Ice | Plan | Error

_DECODER: Final = msgspec.json.Decoder(Message)


def decode(data: str | bytes) -> Message:
    try:
        message: Message = _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise SignalingError("bad-message", f"the server says what this peer does not understand: {error}") from None
    return message


def expect[M](kind: type[M], data: str | bytes) -> M:
    """The message, which must be of ``kind``; raises the SignalingError that came in its place."""
    message = decode(data)
    if isinstance(message, Error):
        raise SignalingError(message.code, message.message)
    if not isinstance(message, kind):
        raise SignalingError("bad-message", f"the server said {type(message).__name__} where {kind.__name__} was due")
    return message
