"""The receiving end of the edges of a node, or of the driver: frames in, inputs out, and the credit owed for them."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mesh.errors import ProtocolError
from mesh.limits import EDGE_CREDIT_BYTES, MAX_JOIN_BYTES, MAX_JOIN_PARTS
from mesh.manifest.graph import Edge
from mesh.run.events import Flag, Frame
from mesh.run.outbox import cost
from mesh.values import pack_list, pack_map

_KNOWN: Final = Flag.END | Flag.FINAL | Flag.FAILED | Flag.DROPPED | Flag.CHECKPOINT


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to do: a part to process (``payload``), the end of its seq (``Flag.END``), or both at once.

    ``fault`` says why the parts of this seq cannot be joined, and ``port`` at which port.
    """

    seq: int
    flags: int
    payload: bytes | None
    fault: str = ""
    port: str = ""


class Port:
    """One edge: its frames, in order from ``first_seq`` on, until they are consumed.

    Memory is bounded by the credit of the sender.
    """

    def __init__(self, edge: int, *, first_seq: int = 0, credit_bytes: int = EDGE_CREDIT_BYTES) -> None:
        self.edge = edge
        self.frames: deque[Frame] = deque()
        self._credit_bytes = credit_bytes
        self._outstanding = 0  # received, and not given back
        self._owed = 0  # consumed, and not given back
        self._seq = first_seq
        self._part = 0
        self._seq_flags: int = Flag.NONE
        self._ended = False

    def accept(self, frame: Frame) -> None:
        """Takes the next frame of the edge; raises ProtocolError, and changes nothing, if it cannot be the next."""
        fault = self._fault(frame)
        if fault:
            raise ProtocolError("bad-message", f"edge {self.edge}, seq {frame.seq}, part {frame.part}: {fault}")
        self._outstanding += cost(frame)
        self._part += 1
        self._seq_flags = frame.flags & Flag.OF_SEQ
        if frame.flags & Flag.END:
            self._seq, self._part = self._seq + 1, 0
            self._ended = bool(frame.flags & Flag.FINAL)
        self.frames.append(frame)

    def _fault(self, frame: Frame) -> str:
        flags, empty = frame.flags, frame.payload is None
        if self._ended:
            return "nothing follows the final seq"
        if (frame.seq, frame.part) != (self._seq, self._part):
            return f"expected seq {self._seq}, part {self._part}"
        if flags & ~_KNOWN or (empty and not flags & Flag.END):
            return "impossible flags"
        if flags & (Flag.FAILED | Flag.DROPPED) and not empty:
            return "a failed or dropped end has no payload"
        if flags & Flag.DROPPED and (frame.part or flags & (Flag.FINAL | Flag.FAILED)):
            return "only whole seqs are dropped, and the final one never"
        if flags & Flag.OF_SEQ == Flag.OF_SEQ:
            return "the final seq has no checkpoint"
        if frame.part and flags & Flag.OF_SEQ != self._seq_flags:
            return "a seq is final, or has a checkpoint, from its first part on, or not at all"
        if self._outstanding and self._outstanding + cost(frame) > self._credit_bytes:
            return f"beyond the credit of {self._credit_bytes} bytes"
        return ""

    def consume(self) -> Frame:
        """The oldest frame; its credit is owed from now on."""
        frame = self.frames.popleft()
        self._owed += cost(frame)
        return frame

    def due(self) -> int:
        """Credit to give back now, in bytes; less than a quarter is kept back while there is more to be consumed."""
        if self.frames and self._owed < self._credit_bytes // 4:
            return 0
        due, self._owed = self._owed, 0
        self._outstanding -= due
        return due


class Inbox(ABC):
    """Makes inputs of the frames on ``ports`` (by edge); ``head`` is the oldest, until ``done`` says it is consumed."""

    ports: Mapping[int, Port]

    def accept(self, frame: Frame) -> None:
        """A frame came in; raises ProtocolError, and changes nothing, where it is impossible."""
        self.ports[frame.edge].accept(frame)

    @property
    def queued(self) -> int:
        """How many frames wait here."""
        return sum(len(port.frames) for port in self.ports.values())

    @abstractmethod
    def head(self) -> Input | None:
        """The oldest input, if it is complete."""

    @abstractmethod
    def done(self) -> None:
        """The oldest input was consumed."""


class Stream(Inbox):
    """A single edge: every frame is an input, and its credit is owed when it was consumed."""

    def __init__(self, port: Port) -> None:
        self.ports = {port.edge: port}
        self._port = port

    def head(self) -> Input | None:
        if not self._port.frames:
            return None
        frame = self._port.frames[0]
        return Input(frame.seq, frame.flags, frame.payload)

    def done(self) -> None:
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
        while self._port.frames and not self._whole:
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

    def __init__(
        self, edges: Mapping[int, Edge], ports: Sequence[Port], *, optional: frozenset[str], first_seq: int = 0
    ) -> None:
        self.ports = {port.edge: port for port in ports}
        self._edges = edges
        self._optional = optional
        self._start(first_seq)

    def _start(self, seq: int) -> None:
        self._seq = seq
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
        while port.frames and edge in self._open:
            frame = port.consume()
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
        self._start(self._seq + 1)
        for edge in self.ports:
            self._gather(edge)
