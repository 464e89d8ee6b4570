"""Frames and records (docs/wire.md, 2): typed records in, bytes out, and back.

Every malformed frame is a ProtocolError with its code; nothing else is ever raised by what comes from outside.
"""

import json
import struct
from collections.abc import Callable, Iterable
from enum import IntEnum
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgpack

from mesh.errors import ProtocolError
from mesh.limits import MAX_CAUSE_CHARS, MAX_FRAME_BYTES, MAX_HELLO_BYTES, MAX_MESSAGE_MEMBERS

REGISTRY: Final[dict[str, Any]] = json.loads(files("mesh.protocol").joinpath("registry.json").read_text("utf-8"))

RECORD_BYTES: Final = 4  # the header of a record
CHUNK_BYTES: Final = RECORD_BYTES + 8  # the headers of a first chunk, the longest ones

_CHUNK: Final[int] = REGISTRY["records"]["CHUNK"]
_ACK: Final[int] = REGISTRY["records"]["ACK"]
_FIRST: Final[int] = REGISTRY["chunk_flags"]["FIRST"]
_LAST: Final[int] = REGISTRY["chunk_flags"]["LAST"]
_HEADER: Final = struct.Struct("<BBH")
_CHUNK_HEAD: Final = struct.Struct("<BBHI")
_FIRST_HEAD: Final = struct.Struct("<BBHII")
_U32: Final = struct.Struct("<I")
_TWO_U32: Final = struct.Struct("<II")
_FOUR_U32: Final = struct.Struct("<IIII")


class Lane(IntEnum):
    """One of the two data channels of a link, by its id."""

    CONTROL = REGISTRY["lanes"]["control"]
    DATA = REGISTRY["lanes"]["data"]


class Chunk(NamedTuple):
    """A slice of a message. ``total``, the length of the message in bytes, comes with its first chunk only."""

    message: int
    total: int | None
    data: bytes
    last: bool


class Ack(NamedTuple):
    """Everything on this lane before byte ``offset`` of ``message`` has arrived."""

    message: int
    offset: int


class Ping(NamedTuple):
    """Asks for a Pong with the same token."""

    token: int


class Pong(NamedTuple):
    """Answers a Ping."""

    token: int


class Hello(NamedTuple):
    """Who speaks: an encoded map, read by ``mesh.protocol.handshake``."""

    body: bytes


class Proof(NamedTuple):
    """That it is so: an encoded map."""

    body: bytes


class Close(NamedTuple):
    """The sender will close the link, for the reason with this code."""

    code: str
    text: str


class Resume(NamedTuple):
    """What has arrived of the session so far, on each lane: the other side goes on from there."""

    control: Ack
    data: Ack


Record = Chunk | Ack | Ping | Pong | Hello | Proof | Close | Resume


def encode_frame(records: Iterable[Record]) -> bytes:
    """One frame of these records; the caller keeps it within MAX_FRAME_BYTES."""
    return b"".join(map(_encode, records))


def decode_frame(frame: bytes) -> list[Record]:
    """The records of a frame, at least one; raises ProtocolError ``too-large``, ``bad-frame`` or ``bad-record``."""
    if len(frame) > MAX_FRAME_BYTES:
        raise ProtocolError("too-large", f"a frame of {len(frame)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    if not frame:
        raise ProtocolError("bad-frame", "the frame is empty")
    records: list[Record] = []
    at, size = 0, len(frame)
    while at < size:
        if size - at < RECORD_BYTES:
            raise ProtocolError("bad-frame", "the header of a record is cut short")
        kind, flags, length = _HEADER.unpack_from(frame, at)
        at += RECORD_BYTES
        if size - at < length:
            raise ProtocolError("bad-frame", f"a record of {length} bytes is cut short")
        records.append(_decode(kind, flags, frame[at : at + length]))
        at += length
    return records


def _encode(record: Record) -> bytes:
    match record:
        case Chunk(message, None, data, last):
            return _CHUNK_HEAD.pack(_CHUNK, _LAST * last, 4 + len(data), message) + data
        case Chunk(message, total, data, last):
            return _FIRST_HEAD.pack(_CHUNK, _FIRST | _LAST * last, 8 + len(data), message, total) + data
        case Ack(message, offset):
            return _FIRST_HEAD.pack(_ACK, 0, 8, message, offset)
        case Ping(token) | Pong(token):
            body = _U32.pack(token)
        case Hello(body) | Proof(body):
            pass
        case Close(code, text):
            body = msgpack.packb([code, text[:MAX_CAUSE_CHARS]])
        case Resume(control, data):
            body = _FOUR_U32.pack(*control, *data)
    return _HEADER.pack(_TYPES[type(record)], 0, len(body)) + body


def _decode(kind: int, flags: int, body: bytes) -> Record:
    read = _READERS.get(kind)
    if read is None:
        raise ProtocolError("bad-record", f"there is no record type {kind}")
    if flags and (read is not _read_chunk or flags > (_FIRST | _LAST)):
        raise ProtocolError("bad-record", f"record type {kind} has no flags {flags:#x}")
    try:
        return read(flags, body)
    except struct.error:
        raise ProtocolError("bad-record", f"{len(body)} bytes are no body of record type {kind}") from None


def _read_chunk(flags: int, body: bytes) -> Chunk:
    last = bool(flags & _LAST)
    if flags & _FIRST:
        message, total = _TWO_U32.unpack_from(body)
        return Chunk(message, total, body[8:], last)
    (message,) = _U32.unpack_from(body)
    return Chunk(message, None, body[4:], last)


def _read_ack(_flags: int, body: bytes) -> Ack:
    return Ack(*_TWO_U32.unpack(body))


def _read_ping(_flags: int, body: bytes) -> Ping:
    return Ping(*_U32.unpack(body))


def _read_pong(_flags: int, body: bytes) -> Pong:
    return Pong(*_U32.unpack(body))


def _read_hello(_flags: int, body: bytes) -> Hello:
    return Hello(_bounded(body))


def _read_proof(_flags: int, body: bytes) -> Proof:
    return Proof(_bounded(body))


def _read_close(_flags: int, body: bytes) -> Close:
    match unpack(body, "bad-record"):
        case [str(code), str(text)] if len(code) <= MAX_CAUSE_CHARS and len(text) <= MAX_CAUSE_CHARS:
            return Close(code, text)
    raise ProtocolError("bad-record", "the body of CLOSE is [code, text]")


def _read_resume(_flags: int, body: bytes) -> Resume:
    message, offset, *data = _FOUR_U32.unpack(body)
    return Resume(Ack(message, offset), Ack(*data))


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_HELLO_BYTES:
        raise ProtocolError("too-large", f"{len(body)} bytes; HELLO and PROOF have at most {MAX_HELLO_BYTES}")
    return body


def unpack(body: bytes, code: str) -> Any:
    """One msgpack object, of an untrusted body; raises ProtocolError with ``code``. Map keys are text."""
    try:
        return msgpack.unpackb(
            body, object_pairs_hook=_text_keys, max_array_len=MAX_MESSAGE_MEMBERS, max_map_len=MAX_MESSAGE_MEMBERS
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ProtocolError(code, f"not one msgpack object: {error}") from None


def _text_keys(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs) or not all(type(key) is str for key in mapping):
        raise ValueError("the keys of a map are distinct texts")
    return mapping


_CLASSES: Final[dict[str, type[Record]]] = {
    "CHUNK": Chunk, "ACK": Ack, "PING": Ping, "PONG": Pong, "HELLO": Hello, "PROOF": Proof, "CLOSE": Close,
    "RESUME": Resume,
}  # fmt: skip
_TYPES: Final[dict[type[Record], int]] = {kind: REGISTRY["records"][name] for name, kind in _CLASSES.items()}
_READERS: Final[dict[int, Callable[[int, bytes], Record]]] = {
    _TYPES[Chunk]: _read_chunk,
    _TYPES[Ack]: _read_ack,
    _TYPES[Ping]: _read_ping,
    _TYPES[Pong]: _read_pong,
    _TYPES[Hello]: _read_hello,
    _TYPES[Proof]: _read_proof,
    _TYPES[Close]: _read_close,
    _TYPES[Resume]: _read_resume,
}
