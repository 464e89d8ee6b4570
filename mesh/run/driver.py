"""The driver's end of a run, sans-IO: items in at the sources, results out of the sinks, in order.

The caller asks ``can_admit`` before it takes an item from its source, and hands it over with ``admit``; at the end of
the source it calls ``finish_input``. Frames and credit of the source and sink edges, and item errors that peers report,
come in through ``frame``, ``credit`` and ``error``. All of them, and ``taken``, answer instructions. At most one
``Result`` is out at a time: ``taken`` says that the application has it, and brings the next. ``Finished`` comes last.

Memory is bounded: RUN_WINDOW_SEQS and RUN_WINDOW_BYTES (exceeded by at most one item) are in flight, a sink edge holds
at most its credit, and several sinks one seq more.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mesh.errors import ProtocolError
from mesh.ids import DRIVER, NodeId
from mesh.limits import EDGE_CREDIT_BYTES, RUN_WINDOW_BYTES, RUN_WINDOW_SEQS
from mesh.manifest.graph import Graph
from mesh.run.events import Emit, Flag, Frame, GiveCredit
from mesh.run.inbox import Gather, Inbox, Input, Port, Stream
from mesh.run.outbox import Outbox

type OnError = Literal["stop", "continue"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An item error, as the driver learnt of it; ``peer`` is where the node ran."""

    seq: int
    node: NodeId
    kind: str
    cause: str
    peer: str


@dataclass(frozen=True, slots=True)
class Result:
    """One part of the single sink, or the map of several; call ``taken`` once the application has it."""

    seq: int
    part: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SeqFailed:
    """With ``continue``: an item failed. Where several nodes failed on one seq, each is told."""

    error: Failure


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over: done, or ended by an item error (with ``stop``; with ``continue`` by kind ``lost`` only), or by
    ``fail`` with its ``reason``.
    """

    status: Literal["done", "failed"]
    error: Failure | None = None
    reason: str = ""


@dataclass(slots=True)
class Counts:
    """For the receipt; the extra seq of finish counts in ``results_out`` only."""

    items_in: int = 0
    results_out: int = 0
    done: int = 0
    filtered: int = 0
    failed: int = 0
    dropped: int = 0


type DriverInstruction = Emit | GiveCredit | Result | SeqFailed | Finished


class Driver:
    """One run, seen from the peer that submitted it."""

    def __init__(self, graph: Graph, *, on_error: OnError = "stop", credit_bytes: int = EDGE_CREDIT_BYTES) -> None:
        self.counts = Counts()
        self._on_error = on_error
        self._nodes = frozenset(node.id for node in graph.nodes)
        self._sources = {
            number: Outbox(number, drops=False, credit_bytes=credit_bytes)
            for number, edge in enumerate(graph.edges)
            if edge.source is None
        }
        self._sinks = _sinks(graph, credit_bytes)
        self._input_ended = False
        self._finished = False
        self._sizes: deque[int] = deque()  # of the items in flight, the oldest first
        self._bytes = 0  # their sum
        self._turn = 0  # the seq whose results come out now
        self._parts = 0  # of it that came out
        self._result_out = False
        self._errors: dict[int, list[Failure]] = {}  # of seqs whose turn has not passed

    # Items

    def can_admit(self) -> bool:
        """Whether another item may be taken from the source now; asked again after every event."""
        return (
            not self._finished
            and not self._input_ended
            and not (self._errors and self._on_error == "stop")
            and len(self._sizes) < RUN_WINDOW_SEQS
            and self._bytes < RUN_WINDOW_BYTES
            and all(box.has_room for box in self._sources.values())
        )

    def admit(self, payload: bytes) -> Sequence[DriverInstruction]:
        """The next item, an encoded value. Only while ``can_admit``."""
        if not self.can_admit():
            raise RuntimeError("no item can be admitted now: ask can_admit first")
        self._sizes.append(len(payload))
        self._bytes += len(payload)
        self.counts.items_in += 1
        return self._put(self.counts.items_in - 1, Flag.END, payload)

    def finish_input(self) -> Sequence[DriverInstruction]:
        """There are no more items: the nodes finish."""
        if self._input_ended or self._finished:
            return []
        self._input_ended = True
        return self._put(self.counts.items_in, Flag.END | Flag.FINAL, None)

    def outstanding(self) -> dict[int, int]:
        """How many bytes are out on each source edge: sent or waiting to be, and not yet consumed."""
        return {edge: box.outstanding for edge, box in self._sources.items()}

    def _put(self, seq: int, flags: int, payload: bytes | None) -> list[DriverInstruction]:
        for edge, box in self._sources.items():
            box.put(Frame(edge, seq, 0, flags, payload))
        return self._send()

    def _send(self) -> list[DriverInstruction]:
        return [Emit(frame) for box in self._sources.values() for frame in box.take()]

    # From the network

    def credit(self, edge: int, amount: int) -> Sequence[DriverInstruction]:
        """Credit came back on a source edge. Raises ProtocolError("bad-message") for what cannot be."""
        if edge not in self._sources:
            raise ProtocolError("bad-message", f"edge {edge} is no source edge")
        self._sources[edge].give(amount)
        return self._send()

    def frame(self, frame: Frame) -> Sequence[DriverInstruction]:
        """A frame of a sink edge. Raises ProtocolError("bad-message"), and changes nothing, where it is impossible."""
        if frame.edge not in self._sinks.ports:
            raise ProtocolError("bad-message", f"edge {frame.edge} is no sink edge")
        self._check_seq(frame.seq, final=bool(frame.flags & Flag.FINAL))
        self._sinks.accept(frame)
        return self._proceed()

    def error(self, node: NodeId, seq: int, kind: str, cause: str, peer: str) -> Sequence[DriverInstruction]:
        """A peer reports an item error. Raises ProtocolError("bad-message") for what cannot be."""
        if node not in self._nodes:
            raise ProtocolError("bad-message", f"an error of node {node!r}, which is not in this run")
        self._check_seq(seq, final=self._input_ended and seq == self.counts.items_in)
        failure = Failure(seq, node, kind, cause, peer)
        if self._finished:
            return []
        if seq < self._turn:  # another node failed on it first, and its turn has passed
            return [self._finish("failed", failure) if kind == "lost" else SeqFailed(failure)]
        known = self._errors.setdefault(seq, [])
        if any(each.node == node for each in known):
            raise ProtocolError("bad-message", f"a second error of node {node!r} for seq {seq}")
        known.append(failure)
        return self._proceed()

    def _check_seq(self, seq: int, *, final: bool) -> None:
        admitted = self.counts.items_in
        if not (self._input_ended and seq == admitted if final else 0 <= seq < admitted):
            raise ProtocolError("bad-message", f"seq {seq} is not in flight")

    def fail(self, reason: str) -> Sequence[DriverInstruction]:
        """The run cannot go on: a peer is gone, or has an error of its own."""
        return [] if self._finished else [self._finish("failed", reason=reason)]

    # Results

    def taken(self) -> Sequence[DriverInstruction]:
        """The application has the result that was out."""
        if not self._result_out:
            raise RuntimeError("no result is out")
        self._result_out = False
        given = self._sinks.head()
        if self._finished or given is None:
            return []
        return [*self._pass(given), *self._proceed()]

    def _proceed(self) -> list[DriverInstruction]:
        """Brings the next result, or the end, as far as it is known; gives back the credit of what is behind."""
        instructions: list[DriverInstruction] = []
        while not self._finished and not self._result_out:
            given = self._sinks.head()
            if given is None or self._awaits_error(given):
                break
            if given.payload is None:
                instructions += self._pass(given)
            else:
                instructions.append(Result(given.seq, self._parts, given.payload))
                self._result_out = True
                self._parts += 1
                self.counts.results_out += 1
        if not self._finished:
            due = ((edge, port.due()) for edge, port in self._sinks.ports.items())
            instructions += [GiveCredit(edge, amount) for edge, amount in due if amount]
        return instructions

    def _awaits_error(self, given: Input) -> bool:
        """Whether a seq ended as failed, and the error itself, on its own way here, has not come yet."""
        if given.fault:
            known = Failure(given.seq, NodeId(given.port), "overflow", given.fault, DRIVER)
            self._errors.setdefault(given.seq, [known])
        return bool(given.flags & Flag.FAILED) and given.seq not in self._errors

    def _pass(self, given: Input) -> list[DriverInstruction]:
        """An input is behind; with it perhaps its seq, and with that perhaps the run."""
        self._sinks.done()
        if not given.flags & Flag.END:
            return []
        final = bool(given.flags & Flag.FINAL)
        errors = self._errors.pop(given.seq, [])
        if not final:
            self._count(given, failed=bool(errors))
        self._turn, self._parts = given.seq + 1, 0
        if errors and self._on_error == "stop":
            return [self._finish("failed", errors[0])]
        told: list[DriverInstruction] = [SeqFailed(each) for each in errors if each.kind != "lost"]
        lost = [each for each in errors if each.kind == "lost"]
        if lost:
            return [*told, self._finish("failed", lost[0])]
        return [*told, self._finish("done")] if final else told

    def _count(self, given: Input, *, failed: bool) -> None:
        self._bytes -= self._sizes.popleft()
        if failed:
            self.counts.failed += 1
        elif self._parts:
            self.counts.done += 1
        elif given.flags & Flag.DROPPED:
            self.counts.dropped += 1
        else:
            self.counts.filtered += 1

    def _finish(self, status: Literal["done", "failed"], error: Failure | None = None, reason: str = "") -> Finished:
        self._finished = True
        return Finished(status, error, reason)


def _sinks(graph: Graph, credit_bytes: int) -> Inbox:
    edges = {number: edge for number, edge in enumerate(graph.edges) if edge.target is None}
    ports = [Port(number, credit_bytes=credit_bytes) for number in edges]
    if len(ports) == 1:
        return Stream(*ports)
    return Gather(edges, ports, optional=frozenset(edge.port for edge in edges.values()))
