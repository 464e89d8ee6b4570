"""The receiving end of the edges of a node, or of the driver: frames in, inputs out, and the credit owed for them."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mesh.errors import ProtocolError
from mesh.limits import EDGE_CREDIT_BYTES, MAX_JOIN_BYTES, MAX_JOIN_PARTS
from mesh.manifest.graph import Edge
from mesh.run.events import Flag, Frame
from mesh.run.outbox import cost
from mesh.run.placement import Placement, Seat, first_of_both
from mesh.values import pack_list, pack_map

_KNOWN: Final = Flag.END | Flag.FINAL | Flag.FAILED | Flag.DROPPED | Flag.CHECKPOINT


@dataclass(slots=True)
class Input:
    """One thing to do: a part to process (``payload``), the end of its seq (``Flag.END``), or both at once.

    ``fault`` says why the parts of this seq cannot be joined, and ``port`` at which port.
    """

    seq: int
    flags: int
    payload: bytes | None
    fault: str = ""
    port: str = ""


@dataclass(slots=True)
class _Strand:
    """From one seat; ``seq``: of the next frame, None where there is none any more."""

    seq: int | None
    frames: deque[Frame] = field(default_factory=deque)
    outstanding: int = 0  # received, and not given back
    owed: int = 0  # consumed, and not given back
    consumed: int = 0  # the seq of the last frame that was consumed
    part: int = 0
    seq_flags: int = Flag.NONE


class Port:
    """One edge into one seat: its frames, in order from ``first_seq`` on, until they are consumed.

    The strands of an edge run at their own pace; ``head`` goes from one to the other as the seqs do. Memory is bounded
    by the credit of each.

    No deadlock: let s be the lowest seq of which anything is still to be sent or consumed anywhere. Every strand has
    its seqs in ascending order, and what is below s is consumed, so its credit has come back: s is the next to go on
    each of its strands, and ``head`` of each of its ports wants nothing else first. Later seqs hold credit of other
    strands only, or come behind s in its own. So whoever has s may send it, down to the sinks.
    """

    def __init__(
        self,
        placement: Placement,
        edge: int,
        seat: Seat,
        *,
        first_seq: int = 0,
        credit_bytes: int = EDGE_CREDIT_BYTES,
    ) -> None:
        self.edge = edge
        self.queued = 0  # frames that were not consumed
        self._placement, self._seat = placement, seat
        self._first_seq = first_seq
        self._credit_bytes = credit_bytes
        self._strands: dict[Seat, _Strand] = {}
        self._turn = seat.first(first_seq)
        self._current: _Strand | None = None  # that of the turn, once it was looked up
        self._owes = False
        self._final: int | None = None

    def accept(self, frame: Frame) -> None:
        """Takes the next frame of a strand; raises ProtocolError, and changes nothing, if it cannot be the next."""
        source = self._placement.source(self.edge, frame.seq)
        strand = self._strands.get(source)
        if strand is None:
            strand = _Strand(first_of_both(source, self._seat, self._first_seq))
        fault = self._fault(strand, frame)
        if fault:
            raise ProtocolError("bad-message", f"edge {self.edge}, seq {frame.seq}, part {frame.part}: {fault}")
        self._strands[source] = strand
        strand.outstanding += cost(frame)
        strand.part += 1
        strand.seq_flags = frame.flags & Flag.OF_SEQ
        if frame.flags & Flag.END:
            strand.seq, strand.part = first_of_both(source, self._seat, frame.seq + 1), 0
        if frame.flags & Flag.FINAL:
            self._final = frame.seq
        strand.frames.append(frame)
        self.queued += 1

    def _fault(self, strand: _Strand, frame: Frame) -> str:
        flags, empty = frame.flags, frame.payload is None
        if self._final is not None and frame.seq > self._final:
            return "nothing follows the final seq"
        if (frame.seq, frame.part) != (strand.seq, strand.part):
            return f"expected seq {strand.seq}, part {strand.part}"
        if flags & ~_KNOWN or (empty and not flags & Flag.END):
            return "impossible flags"
        if flags & (Flag.FAILED | Flag.DROPPED) and not empty:
            return "a failed or dropped end has no payload"
        if flags & Flag.DROPPED and (frame.part or flags & (Flag.FINAL | Flag.FAILED)):
            return "only whole seqs are dropped, and the final one never"
        if flags & Flag.OF_SEQ == Flag.OF_SEQ:
            return "the final seq has no checkpoint"
        if frame.part and flags & Flag.OF_SEQ != strand.seq_flags:
            return "a seq is final, or has a checkpoint, from its first part on, or not at all"
        if strand.outstanding and strand.outstanding + cost(frame) > self._credit_bytes:
            return f"beyond the credit of {self._credit_bytes} bytes"
        return ""

    @property
    def is_over(self) -> bool:
        """Whether everything that the seat serves was consumed."""
        return self._turn is None or self._seat.first(self._turn) is None

    def is_past(self, seq: int) -> bool:
        """Whether everything below ``seq`` was consumed."""
        return self._turn is None or self._turn >= seq

    @property
    def through(self) -> int:
        """All seqs below were consumed; only for a port whose seat serves every seq."""
        assert self._turn is not None
        return self._turn

    def forget(self) -> None:
        """Drops the strands from seats that the placement has forgotten."""
        self._strands = {seat: each for seat, each in self._strands.items() if self._placement.knows(seat)}
        self._current = None

    def head(self) -> Frame | None:
        """The frame whose turn it is, if it is there."""
        if not self.queued or self._turn is None:
            return None
        if self._current is None:
            self._current = self._strands.get(self._placement.source(self.edge, self._turn))
        return self._current.frames[0] if self._current is not None and self._current.frames else None

    def consume(self) -> Frame:
        """Takes the head; its credit is owed from now on."""
        if self._current is None:
            self.head()
        strand = self._current
        assert strand is not None
        frame = strand.frames.popleft()
        strand.owed += cost(frame)
        strand.consumed = frame.seq
        self.queued -= 1
        self._owes = True
        if frame.flags & Flag.END:
            self._turn, self._current = self._seat.first(frame.seq + 1), None
        return frame

    def cancel(self, seq: int, *, but_head: bool) -> None:
        """What waits of a seq loses its payload, and the credit of that is owed."""
        strand = self._strands.get(self._placement.source(self.edge, seq))
        if strand is None:
            return
        spared = self.head() if but_head else None
        for index, frame in enumerate(strand.frames):
            if frame.seq == seq and frame.payload is not None and frame is not spared:
                strand.owed += len(frame.payload)
                strand.consumed = seq
                self._owes = True
                strand.frames[index] = replace(frame, payload=None)

    def due(self) -> list[tuple[int, int]]:
        """Credit to give back now: a seq of the strand, and bytes.

        Less than a quarter is kept back while there is more of the strand to be consumed.
        """
        dues: list[tuple[int, int]] = []
        if not self._owes:
            return dues
        self._owes = False
        for strand in self._strands.values():
            if strand.frames and strand.owed < self._credit_bytes // 4:
                self._owes = self._owes or strand.owed > 0
            elif strand.owed:
                dues.append((strand.consumed, strand.owed))
                strand.outstanding -= strand.owed
                strand.owed = 0
        return dues


class Inbox(ABC):
    """Makes inputs of the frames on ``ports`` (by edge); ``head`` is the oldest, until ``done`` says it is consumed."""

    ports: Mapping[int, Port]

    def accept(self, frame: Frame) -> None:
        """A frame came in; raises ProtocolError, and changes nothing, where it is impossible."""
        self.ports[frame.edge].accept(frame)

    @property
    def queued(self) -> int:
        """How many frames wait here."""
        return sum(port.queued for port in self.ports.values())

    def is_past(self, seq: int) -> bool:
        """Whether everything below ``seq`` was consumed at every port."""
        return all(port.is_past(seq) for port in self.ports.values())

    @abstractmethod
    def head(self) -> Input | None:
        """The oldest input, if it is complete."""

    @abstractmethod
    def done(self) -> None:
        """The oldest input was consumed."""

    def cancel(self, seq: int, *, but_head: bool) -> None:
        """Lets the payloads go that wait here for a seq, but for those of ``head`` where that is in use."""
        for port in self.ports.values():
            port.cancel(seq, but_head=but_head)


class Stream(Inbox):
    """A single edge: every frame is an input, and its credit is owed when it was consumed."""

    def __init__(self, port: Port) -> None:
        self.ports = {port.edge: port}
        self._port = port
        self._head: Input | None = None

    def cancel(self, seq: int, *, but_head: bool) -> None:
        super().cancel(seq, but_head=but_head)
        if not but_head:
            self._head = None

    def head(self) -> Input | None:
        if self._head is None and (frame := self._port.head()) is not None:
            self._head = Input(frame.seq, frame.flags, frame.payload)
        return self._head

    def done(self) -> None:
        self._head = None
        self._port.consume()


class Whole(Inbox):
    """A single edge, whose parts are inputs only once their seq has ended: so they all come from one execution.

    Every input of a seq that failed has ``Flag.FAILED``. The parts of one seq are bounded as those of a join are.
    """

    def __init__(self, port: Port, name: str) -> None:
        self.ports = {port.edge: port}
        self._port, self._name = port, name
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._bad: int = Flag.NONE
        self._whole = False
        self._fault = ""

    def accept(self, frame: Frame) -> None:
        super().accept(frame)
        self._gather()

    def _gather(self) -> None:
        while not self._whole and self._port.head() is not None:
            frame = self._port.consume()
            self._bytes += len(frame.payload or b"")
            self._bad |= frame.flags & Flag.FAILED
            self._whole = bool(frame.flags & Flag.END)
            if not self._fault:
                self._frames.append(frame)
            if len(self._frames) > MAX_JOIN_PARTS or self._bytes > MAX_JOIN_BYTES:
                self._fault = f"more than {MAX_JOIN_PARTS} parts or {MAX_JOIN_BYTES} bytes of one seq to hold back"
                self._frames.clear()
            if self._fault and self._whole:
                end = frame.flags & Flag.OF_SEQ | Flag.END | Flag.FAILED
                self._frames.append(Frame(frame.edge, frame.seq, 0, end, None))

    def head(self) -> Input | None:
        if not self._whole:
            return None
        frame = self._frames[0]
        return Input(frame.seq, frame.flags | self._bad, frame.payload, self._fault, self._name)

    def done(self) -> None:
        self._frames.popleft()
        if not self._frames:
            self._bytes, self._bad, self._whole, self._fault = 0, Flag.NONE, False, ""
            self._gather()


class Gather(Inbox):
    """Several edges: an input for each seq, once all have ended it; its payload is the map of the ports with parts.

    What belongs to the seq being gathered is consumed as it comes in, so no edge can hold up another. There is no
    payload where a port that is not ``optional`` has no part, where no port has any, and where the seq failed.
    """

    def __init__(self, edges: Mapping[int, Edge], ports: Sequence[Port], *, optional: frozenset[str]) -> None:
        self.ports = {port.edge: port for port in ports}
        self._edges = edges
        self._optional = optional
        self._start()

    def _start(self) -> None:
        self._seq = 0  # known when something of it came
        self._head: Input | None = None
        self._flags: int = Flag.NONE
        self._open = set(self.ports)
        self._parts: dict[int, list[bytes]] = {edge: [] for edge in self.ports}
        self._count = self._bytes = 0
        self._fault = self._fault_port = ""

    def accept(self, frame: Frame) -> None:
        super().accept(frame)
        self._gather(frame.edge)

    def _gather(self, edge: int) -> None:
        port = self.ports[edge]
        while edge in self._open and port.head() is not None:
            frame = port.consume()
            self._seq = frame.seq
            self._flags |= frame.flags & ~Flag.END
            if frame.payload is not None and not self._fault:
                self._add(edge, frame.payload)
            if frame.flags & Flag.END:
                self._open.discard(edge)

    def _add(self, edge: int, payload: bytes) -> None:
        self._count += 1
        self._bytes += len(payload)
        self._parts[edge].append(payload)
        if self._count > MAX_JOIN_PARTS or self._bytes > MAX_JOIN_BYTES:
            self._refuse(edge, f"more than {MAX_JOIN_PARTS} parts or {MAX_JOIN_BYTES} bytes of one seq to join")
        elif len(self._parts[edge]) > 1 and not self._edges[edge].is_list:
            self._refuse(edge, "a second part in one seq, for a port that takes one value")

    def _refuse(self, edge: int, fault: str) -> None:
        self._fault_port = self._edges[edge].port
        self._fault = f"port {self._fault_port!r}: {fault}"
        self._parts = {each: [] for each in self.ports}

    def cancel(self, seq: int, *, but_head: bool) -> None:
        super().cancel(seq, but_head=but_head)
        if seq == self._seq and not but_head:
            self._head = None
            self._fault = "cancelled"  # so nothing more is kept
            self._parts = {each: [] for each in self.ports}

    def head(self) -> Input | None:
        if self._head is None and not self._open:
            flags = self._flags | Flag.END
            if flags & Flag.FAILED:
                self._head = Input(self._seq, flags, None)
            elif self._fault:
                self._head = Input(self._seq, flags, None, self._fault, self._fault_port)
            else:
                self._head = Input(self._seq, flags, self._joined())
            self._parts.clear()
        return self._head

    def _joined(self) -> bytes | None:
        entries: list[tuple[str, bytes]] = []
        for number, parts in self._parts.items():
            edge = self._edges[number]
            if parts:
                entries.append((edge.port, pack_list(parts) if edge.is_list else parts[0]))
            elif edge.port not in self._optional:
                return None
        return pack_map(entries) if entries else None

    def done(self) -> None:
        self._start()
        for edge in self.ports:
            self._gather(edge)
