"""A session: messages on two lanes over channels that carry frames (docs/wire.md, 2). Sans-IO.

``send`` queues a message; ``next_frame`` gives what to hand to a channel, as long as it has room; ``receive`` takes
what came; ``tick`` is due at ``deadline``. Messages are kept until they are acknowledged, so a session outlives its
connections: ``resume`` goes on over a new one.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from mesh.errors import ProtocolError
from mesh.limits import (
    ACK_AFTER_S,
    ACK_EVERY_BYTES,
    HEARTBEAT_S,
    MAX_CONTROL_MESSAGE_BYTES,
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    PROBE_S,
    SESSION_WINDOW_BYTES,
    SUSPECT_AFTER_S,
)
from mesh.protocol.codec import (
    CHUNK_BYTES,
    Ack,
    Chunk,
    Close,
    Lane,
    Ping,
    Pong,
    Record,
    Resume,
    decode_frame,
    encode_frame,
)

_U32: Final = 0xFFFFFFFF  # numbers of messages and tokens wrap around
_SMALL_RECORDS_BYTES: Final = 64  # more than a RESUME, an ACK, a PING and a PONG take together
_LONGEST: Final = {Lane.CONTROL: MAX_CONTROL_MESSAGE_BYTES, Lane.DATA: MAX_MESSAGE_BYTES}


@dataclass(slots=True)
class Delivered:
    """A whole message."""

    lane: Lane
    message: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The other side closes the link."""

    code: str
    text: str


Event = Delivered | Closed


class Session:
    """One end. The data lane opens when the other end was heard: until then it may not have seen our proof."""

    def __init__(self, now: float) -> None:
        self._out = {lane: _Outbound() for lane in Lane}
        self._in = {lane: _Inbound(_LONGEST[lane]) for lane in Lane}
        self._token = 0
        self.rtt_s: float | None = None
        self._begin(now)
        self._resume_due = self._resuming = False

    def _begin(self, now: float) -> None:
        self._heard = now
        self.silent = False
        self._greeted = False
        self._pinged = now - HEARTBEAT_S
        self._ping_due = False
        self._pong: int | None = None
        self._ack_at: float | None = None

    def resume(self, now: float) -> None:
        """A new connection takes the place of the one before, of which nothing may be received any more.

        The first frame of the control lane says what has arrived; everything else waits until the other side said so.
        """
        self._begin(now)
        self._resume_due = self._resuming = True
        for inbound in self._in.values():
            inbound.ack()

    def send(self, lane: Lane, message: bytes) -> None:
        """Queues a message; ``backlog`` grows by its length. Raises ProtocolError("too-large")."""
        if not 0 < len(message) <= _LONGEST[lane]:
            raise ProtocolError("too-large", f"a message of {len(message)} bytes on the {lane.name.lower()} lane")
        self._out[lane].queue(message)

    def backlog(self, lane: Lane) -> int:
        """Bytes queued on the lane that no frame took yet."""
        return self._out[lane].backlog

    def is_idle(self, lane: Lane) -> bool:
        """Whether everything that was sent on the lane has been acknowledged."""
        out = self._out[lane]
        return not (out.backlog or out.unacknowledged)

    @property
    def settled(self) -> bool:
        """Whether both lanes are idle."""
        return self.is_idle(Lane.CONTROL) and self.is_idle(Lane.DATA)

    @property
    def deadline(self) -> float:
        """When ``tick`` is to be called next, at the latest."""
        times = [self._pinged + HEARTBEAT_S]
        if not self.silent:
            times.append(self._heard + SUSPECT_AFTER_S)
        if self._ack_at is not None:
            times.append(self._ack_at)
        return min(times)

    def tick(self, now: float) -> bool:
        """Time has come to ``now``. True: the other side has fallen silent; that is said once, until it is heard."""
        if now > self.deadline + SUSPECT_AFTER_S / 2:
            self._heard = now  # it was this side that stood still, and what came meanwhile was not read yet
        if self._ack_at is not None and now >= self._ack_at:
            self._ack_at = None
            for inbound in self._in.values():
                inbound.ack_due = inbound.unacknowledged > 0
        if now >= self._pinged + HEARTBEAT_S:
            self._token = (self._token + 1) & _U32
            self._pinged, self._ping_due = now, True
        falls_silent = not self.silent and now >= self._heard + SUSPECT_AFTER_S
        self.silent = self.silent or falls_silent
        return falls_silent

    def probe(self, now: float) -> None:
        """There is reason to doubt that the other side lives: it has PROBE_S to be heard."""
        self._heard = min(self._heard, now - SUSPECT_AFTER_S + PROBE_S)
        self._token = (self._token + 1) & _U32
        self._pinged, self._ping_due = now, True

    def has_frame(self, lane: Lane) -> bool:
        """Whether ``next_frame`` is worth asking: there is something to send, though perhaps no window for it."""
        if self._out[lane].backlog or self._in[lane].ack_due:
            return True
        return lane is Lane.CONTROL and (self._resume_due or self._ping_due or self._pong is not None)

    def next_frame(self, lane: Lane) -> bytes | None:
        """The next frame for the lane's channel; None if there is nothing that may go now."""
        chunks: list[Record] = []
        room = MAX_FRAME_BYTES - _SMALL_RECORDS_BYTES
        while room > CHUNK_BYTES and (chunk := self._next_chunk(lane, room - CHUNK_BYTES)) is not None:
            chunks.append(chunk)
            room -= CHUNK_BYTES + len(chunk.data)
        records = self._small_records(lane, along=bool(chunks)) + chunks
        return encode_frame(records) if records else None

    def receive(self, lane: Lane, frame: bytes, now: float) -> list[Event]:
        """Takes a frame that came on the lane's channel; raises ProtocolError, after which the link must be closed."""
        records = decode_frame(frame)
        self._heard, self.silent = now, False
        if lane is Lane.CONTROL:
            self._greeted = True
        events = [event for record in records if (event := self._take(lane, record, now)) is not None]
        if self._ack_at is None and self._in[lane].unacknowledged:
            self._ack_at = now + ACK_AFTER_S
        return events

    def _small_records(self, lane: Lane, *, along: bool) -> list[Record]:
        """An ACK that is not due yet goes along with what goes anyway."""
        records: list[Record] = []
        if lane is Lane.CONTROL:
            if self._resume_due:
                records.append(Resume(self._in[Lane.CONTROL].ack(), self._in[Lane.DATA].ack()))
            if self._ping_due:
                records.append(Ping(self._token))
            if self._pong is not None:
                records.append(Pong(self._pong))
            self._resume_due, self._ping_due, self._pong = False, False, None
        inbound = self._in[lane]
        if inbound.ack_due or (along and inbound.unacknowledged):
            records.append(inbound.ack())
        return records

    def _next_chunk(self, lane: Lane, room: int) -> Chunk | None:
        if self._resuming or (lane is Lane.DATA and not self._greeted):
            return None
        return self._out[lane].chunk(room)

    def _take(self, lane: Lane, record: Record, now: float) -> Event | None:
        if self._resuming and lane is Lane.CONTROL:
            self._take_up(record)
            return None
        match record:
            case Chunk():
                message = self._in[lane].chunk(record)
                return None if message is None else Delivered(lane, message)
            case Ack():
                self._out[lane].acknowledged(record)
            case Ping(token) if lane is Lane.CONTROL:
                self._pong = token
            case Pong(token) if lane is Lane.CONTROL:
                if token == self._token and not self._ping_due:
                    self._round_trip(now - self._pinged)
            case Close(code, text) if lane is Lane.CONTROL:
                return Closed(code, text)
            case _:
                name = type(record).__name__.upper()
                raise ProtocolError("bad-record", f"{name} on the {lane.name.lower()} lane of a proven link")
        return None

    def _take_up(self, record: Record) -> None:
        if type(record) is not Resume:
            raise ProtocolError("out-of-order", f"{type(record).__name__.upper()} came before RESUME")
        self._resuming = False
        self._out[Lane.CONTROL].resume(record.control)
        self._out[Lane.DATA].resume(record.data)

    def _round_trip(self, sample: float) -> None:
        """Smoothed as TCP does it (RFC 6298, 2)."""
        self.rtt_s = sample if self.rtt_s is None else 0.875 * self.rtt_s + 0.125 * sample


class _Outbound:
    """One lane's messages on their way out: ``_queued`` until whole in frames, ``_kept`` until acknowledged."""

    def __init__(self) -> None:
        self._queued: deque[bytes] = deque()
        self._offset = 0  # bytes of _queued[0] in frames
        self._number = 0  # of _queued[0]
        self._kept: deque[bytes] = deque()
        self._acked = 0  # bytes of the oldest message, kept or queued, that have arrived
        self.backlog = 0
        self.unacknowledged = 0

    def queue(self, message: bytes) -> None:
        self._queued.append(message)
        self.backlog += len(message)

    def chunk(self, room: int) -> Chunk | None:
        """The next slice, of at most ``room`` bytes and within the window."""
        size = min(room, SESSION_WINDOW_BYTES - self.unacknowledged)
        if not self._queued or size <= 0:
            return None
        message, start = self._queued[0], self._offset
        data = message[start : start + size]
        last = start + len(data) == len(message)
        chunk = Chunk(self._number, None if start else len(message), data, last)
        self.backlog -= len(data)
        self.unacknowledged += len(data)
        self._offset += len(data)
        if last:
            self._kept.append(self._queued.popleft())
            self._offset, self._number = 0, (self._number + 1) & _U32
        return chunk

    def acknowledged(self, ack: Ack) -> None:
        """Lets go of what has arrived."""
        whole = (ack.message - self._number + len(self._kept)) & _U32
        if whole > len(self._kept):
            raise ProtocolError("bad-record", f"ACK of message {ack.message}, which is not under way")
        reached = self._offset if whole == len(self._kept) else len(self._kept[whole])
        if ack.offset > reached or (whole == 0 and ack.offset < self._acked):
            raise ProtocolError(
                "bad-record", f"ACK of byte {ack.offset} of message {ack.message}, which is not under way"
            )
        for _ in range(whole):
            self.unacknowledged -= len(self._kept.popleft()) - self._acked
            self._acked = 0
        self.unacknowledged -= ack.offset - self._acked
        self._acked = ack.offset

    def resume(self, arrived: Ack) -> None:
        """Goes on behind what has arrived, whatever was sent since."""
        self.acknowledged(arrived)
        self._number = (self._number - len(self._kept)) & _U32
        self._queued.extendleft(reversed(self._kept))
        self._kept.clear()
        self._offset = self._acked
        self.backlog += self.unacknowledged
        self.unacknowledged = 0


class _Inbound:
    """One lane's message on its way in, in a buffer that grows with what arrives and not by what was announced."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._number = 0
        self._total: int | None = None
        self._buffer = bytearray()
        self.unacknowledged = 0
        self.ack_due = False

    def chunk(self, chunk: Chunk) -> bytes | None:
        """The message, if this chunk ends it."""
        if chunk.message != self._number or (chunk.total is None) != (self._total is not None):
            raise ProtocolError("out-of-order", f"a chunk of message {chunk.message} while {self._number} is expected")
        if chunk.total is not None:
            if not 0 < chunk.total <= self._longest:
                raise ProtocolError(
                    "too-large", f"a message of {chunk.total} bytes; at most {self._longest} are allowed"
                )
            self._total = chunk.total
        received = len(self._buffer) + len(chunk.data)
        if not chunk.data or chunk.last != (received == self._total) or received > (self._total or 0):
            raise ProtocolError("bad-record", f"a chunk ends at byte {received} of a message of {self._total}")
        self.unacknowledged += len(chunk.data)
        self.ack_due = self.ack_due or self.unacknowledged >= ACK_EVERY_BYTES
        whole = chunk.data
        if not (chunk.total is not None and chunk.last):
            self._buffer += chunk.data
            if not chunk.last:
                return None
            whole = bytes(self._buffer)
        self._buffer, self._total = bytearray(), None
        self._number = (self._number + 1) & _U32
        return whole

    def ack(self) -> Ack:
        self.unacknowledged, self.ack_due = 0, False
        return Ack(self._number, len(self._buffer))
