"""The driver's end of a run, sans-IO: items in at the sources, results out of the sinks, in order.

The caller asks ``can_admit`` before it takes an item from its source, and hands it over with ``admit``; at the end of
the source it calls ``finish_input``. Frames and credit of the source and sink edges, and item errors that peers report,
come in through ``frame``, ``credit`` and ``error``. All of them, and ``taken``, answer instructions. At most one
``Result`` is out at a time: ``taken`` says that the application has it, and brings the next. ``Finished`` comes last.

When a part of the run is lost, ``interrupt`` says where a new epoch begins, and ``resume``, once everything is set up
anew, emits again what is not finished. What the application has had already is dropped when it comes again. Downstream
of what may come out differently (nodes that are not deterministic, edges that drop) a seq is held back until it is
whole, so that it comes from one epoch. Items that peers may have died of go out alone (``mesh.run.suspects``).

Memory is bounded: of items as ``mesh.run.retention`` says; a sink edge holds at most its credit, and several sinks, or
one that holds back, one seq more.
"""

from collections import deque
from collections.abc import Sequence
from typing import Literal

from mesh.errors import ProtocolError
from mesh.ids import DRIVER, NodeId
from mesh.limits import EDGE_CREDIT_BYTES, RUN_WINDOW_SEQS
from mesh.manifest.graph import Graph
from mesh.run.events import CancelSeq, Emit, Flag, Frame, GiveCredit
from mesh.run.inbox import Gather, Inbox, Input, Port, Stream, Whole
from mesh.run.outbox import Outbox
from mesh.run.outcome import Counts, DriverInstruction, Failure, Finished, Result, SeqFailed
from mesh.run.placement import Placement
from mesh.run.retention import Resumption, Retention
from mesh.run.suspects import Death, Suspects

type OnError = Literal["stop", "continue"]


class Driver:
    """One run, seen from the peer that submitted it."""

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        *,
        on_error: OnError = "stop",
        credit_bytes: int = EDGE_CREDIT_BYTES,
    ) -> None:
        self.counts = Counts()
        self._on_error = on_error
        self._graph, self._credit_bytes = graph, credit_bytes
        self._nodes = frozenset(node.id for node in graph.nodes)
        self._retention = Retention(graph)
        self._suspects = Suspects(graph.order)
        self._holds = _may_differ(graph)
        self._begin(placement, 0)
        self._counted = next(iter(self._sources))  # the source edge on which items are counted
        self._input_ended = False
        self._finished = False
        self._interrupted = False
        self._holding = False  # until all have made a cut
        self._held: deque[tuple[int, int, bytes | None]] = deque()  # for a new epoch, a cut, or suspects to be through
        self._committed: Inbox | None = None  # of an earlier epoch, with the rest of a seq of which some may be out
        self._turn = 0  # the seq whose results come out now
        self._parts = 0  # of it that came out
        self._heard = 0  # of it that this epoch made
        self._out: Input | None = None  # of which the result is out; None if that is of an earlier epoch
        self._result_out = False
        self._told = 0  # errors below this seq were told in an earlier epoch
        self._errors: dict[int, list[Failure]] = {}  # of seqs whose turn has not passed
        self._cancelled: set[int] = set()  # and kept for a while, because errors may come late

    def _begin(self, placement: Placement, first_seq: int) -> None:
        """Fresh ends of all edges of the graph."""
        self._placement, self._first_seq = placement, first_seq
        self._gone_out = first_seq  # the seqs below it, in this epoch
        self._sources = {
            number: Outbox(placement, number, drops=False, credit_bytes=self._credit_bytes)
            for number, edge in enumerate(self._graph.edges)
            if edge.source is None
        }
        self._sinks = self._make_sinks()

    def _make_sinks(self) -> Inbox:
        edges = {number: edge for number, edge in enumerate(self._graph.edges) if edge.target is None}
        here, first, credit = self._placement.seat(None, 0), self._first_seq, self._credit_bytes
        ports = [Port(self._placement, edge, here, first_seq=first, credit_bytes=credit) for edge in edges]
        if len(ports) == 1:
            return Whole(ports[0], edges[ports[0].edge].port) if self._holds else Stream(ports[0])
        return Gather(edges, ports, optional=frozenset(edge.port for edge in edges.values()))

    # Items

    def can_admit(self) -> bool:
        """Whether another item may be taken from the source now; asked again after every event."""
        return (
            not self._finished
            and not self._input_ended
            and not self._holding
            and not (self._errors and self._on_error == "stop")
            and self._retention.has_room
            and all(box.has_room(self.counts.items_in) for box in self._sources.values())
        )

    def admit(self, payload: bytes) -> Sequence[DriverInstruction]:
        """The next item, an encoded value. Only while ``can_admit``."""
        if not self.can_admit():
            raise RuntimeError("no item can be admitted now: ask can_admit first")
        flags = self._retention.keep(payload)
        self.counts.items_in += 1
        return self._put(self.counts.items_in - 1, Flag.END | flags, payload)

    def finish_input(self) -> Sequence[DriverInstruction]:
        """There are no more items: the nodes finish."""
        if self._input_ended or self._finished:
            return []
        self._input_ended = True
        return self._put(self.counts.items_in, Flag.END | Flag.FINAL, None)

    def outstanding(self) -> dict[int, int]:
        """How many bytes are out on each source edge: sent or waiting to be, and not yet consumed."""
        return {edge: box.outstanding for edge, box in self._sources.items()}

    # A new epoch

    @property
    def fault(self) -> str:
        """Why the run could not go on after a loss now; empty: it could."""
        return self._retention.fault

    def interrupt(self, deaths: Sequence[Death] = ()) -> Resumption:
        """A part of the run is lost: nothing of the present epoch may come in from now on, and nothing goes out.

        ``deaths``: of the peers that are lost, those that may have died of an item. May be called again before
        ``resume``.
        """
        self._interrupted, self._holding = True, False
        self._commit()
        if self._committed is None:
            self._out, self._heard = None, 0
        self._told = self._turn + (self._committed is not None)
        self._suspects.died(deaths, range(max(self._told, self._through), self._gone_out), self._placement)
        self._errors = {seq: errors for seq, errors in self._errors.items() if seq < self._told}
        self._errors |= {seq: [error] for seq, error in self._suspects.condemned.items() if seq >= self._told}
        resumption = self._retention.resumption()
        self._begin(self._placement, resumption.first_seq)
        self._held = deque((seq, Flag.END | flags, payload) for seq, flags, payload in self._retention.items())
        if self._input_ended:
            self._held.append((self.counts.items_in, Flag.END | Flag.FINAL, None))
        return resumption

    @property
    def _through(self) -> int:
        """All seqs below have ended at every sink in this epoch, and were taken from there."""
        return min(port.through for port in self._sinks.ports.values())

    def _commit(self) -> None:
        """A seq that is held back and whole stays as it is, because some of it may be out."""
        given = self._sinks.head() if self._holds and self._committed is None else None
        if given is not None and given.seq == self._turn and not self._awaits_error(given):
            self._committed = self._sinks

    def resume(self, placement: Placement) -> Sequence[DriverInstruction]:
        """Everything is set up as ``placement`` says, at the seq and with the states that ``interrupt`` told."""
        self._interrupted = False
        self._begin(placement, self._first_seq)
        return self._send()

    # A planned move

    @property
    def turn(self) -> int:
        """The lowest seq whose results are not all out."""
        return self._turn

    def hold(self) -> int | None:
        """Where a new step of the plan may begin: above all that was sent. Until ``go_on`` nothing goes out.

        None where all was sent.
        """
        if self._input_ended or self._interrupted or self._finished:
            return None
        self._holding = True
        return self.counts.items_in

    def go_on(self) -> Sequence[DriverInstruction]:
        """All have made the cut, or it was called off."""
        self._holding = False
        for box in self._sources.values():
            box.forget()
        for port in self._sinks.ports.values():
            port.forget()
        return self._send()

    def _put(self, seq: int, flags: int, payload: bytes | None) -> list[DriverInstruction]:
        self._held.append((seq, flags, payload))
        return self._send()

    def _send(self) -> list[DriverInstruction]:
        while self._held and self._may_go(self._held[0][0]):
            seq, flags, payload = self._held.popleft()
            if seq in self._suspects.condemned or seq in self._cancelled:
                flags, payload = flags | Flag.FAILED, None
            for edge, box in self._sources.items():
                box.put(Frame(edge, seq, 0, flags, payload))
        frames = [frame for box in self._sources.values() for frame in box.take()]
        for frame in frames:
            self._gone_out = max(self._gone_out, frame.seq + 1)
            if frame.edge == self._counted and frame.payload is not None:
                self.counts.replayed += self._retention.goes_out(frame.seq)
        return [Emit(frame) for frame in frames]

    def _may_go(self, seq: int) -> bool:
        return not (self._interrupted or self._holding) and self._suspects.may_go(seq, through=self._through)

    # From the network

    def credit(self, edge: int, seq: int, amount: int) -> Sequence[DriverInstruction]:
        """Credit came back for the strand of a seq on a source edge. Raises ProtocolError("bad-message")."""
        if edge not in self._sources:
            raise ProtocolError("bad-message", f"edge {edge} is no source edge")
        self._sources[edge].give(seq, amount)
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
        if kind != "lost" and (seq < self._told or seq in self._cancelled):
            return []
        if seq < self._turn:  # another node failed on it first, and its turn has passed
            return [self._finish("failed", failure) if kind == "lost" else SeqFailed(failure)]
        known = self._errors.setdefault(seq, [])
        if any(each.node == node for each in known):
            raise ProtocolError("bad-message", f"a second error of node {node!r} for seq {seq}")
        known.append(failure)
        return self._proceed()

    def cancel(self, seq: int) -> Sequence[DriverInstruction]:
        """The application does not want a seq any more: what it has not taken of it will not come.

        A stateful node may have seen it, and may not. Raises ValueError for a seq that was not admitted.
        """
        if not 0 <= seq < self.counts.items_in:
            raise ValueError(f"no item {seq} was taken in")
        if self._finished or seq < self._turn or seq in self._cancelled:
            return []
        self._cancelled = {each for each in self._cancelled if each > self._turn - RUN_WINDOW_SEQS} | {seq}
        self._sinks.cancel(seq, but_head=True)
        return [CancelSeq(seq), *self._proceed()]

    def checkpoint(self, node: NodeId, seq: int, state: bytes | None, fault: str = "") -> Sequence[DriverInstruction]:
        """A peer reports a node's state after a seq, or why there is none. Raises ProtocolError("bad-message")."""
        self._retention.reported(node, seq, state, fault)
        return []

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
        given, self._out = self._out, None
        if self._finished:
            return []
        return [*(self._pass(given) if given is not None else ()), *self._proceed()]

    def _proceed(self) -> list[DriverInstruction]:
        """Brings the next result, or the end, as far as it is known; gives back the credit of what is behind."""
        instructions: list[DriverInstruction] = []
        while not self._finished and not self._result_out:
            given = (self._committed or self._sinks).head()
            if given is None or self._awaits_error(given):
                break
            if given.payload is None or given.seq in self._cancelled or self._is_duplicate(given):
                instructions += self._pass(given)
            else:
                instructions.append(Result(given.seq, self._parts, given.payload))
                self._result_out, self._out = True, given
                self._parts += 1
                self.counts.results_out += 1
        if not self._finished:
            ports = self._sinks.ports.items()
            instructions += [GiveCredit(edge, seq, amount) for edge, port in ports for seq, amount in port.due()]
            instructions += self._send() if self._held else []  # suspects may be through
        return instructions

    def _is_duplicate(self, given: Input) -> bool:
        """Whether the application had this part in an earlier epoch; those are counted."""
        if given.seq == self._turn:
            self._heard += 1
            if self._heard > self._parts:
                return False
        self.counts.duplicates_dropped += 1
        return True

    def _awaits_error(self, given: Input) -> bool:
        """Whether a seq ended as failed, and the error itself, on its own way here, has not come yet."""
        if given.seq < self._turn or given.seq in self._cancelled:
            return False
        if given.fault:
            known = Failure(given.seq, NodeId(given.port), "overflow", given.fault, DRIVER)
            self._errors.setdefault(given.seq, [known])
        return bool(given.flags & Flag.FAILED) and given.seq not in self._errors

    def _pass(self, given: Input) -> list[DriverInstruction]:
        """An input is behind; with it perhaps its seq, and with that perhaps the run."""
        (self._committed or self._sinks).done()
        if not given.flags & Flag.END:
            return []
        self._committed, self._heard = None, 0
        if given.seq < self._turn:  # it ended in an earlier epoch
            return []
        final = bool(given.flags & Flag.FINAL)
        errors = self._errors.pop(given.seq, [])
        if given.seq in self._cancelled:
            errors = [each for each in errors if each.kind == "lost"]
        if not final:
            self._count(given, failed=bool(errors))
        self._turn, self._parts = given.seq + 1, 0
        self._retention.passed(self._turn)
        if errors and self._on_error == "stop":
            return [self._finish("failed", errors[0])]
        told: list[DriverInstruction] = [SeqFailed(each) for each in errors if each.kind != "lost"]
        lost = [each for each in errors if each.kind == "lost"]
        if lost:
            return [*told, self._finish("failed", lost[0])]
        return [*told, self._finish("done")] if final else told

    def _count(self, given: Input, *, failed: bool) -> None:
        if given.seq in self._cancelled:
            self.counts.cancelled += 1
        elif failed:
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


def _may_differ(graph: Graph) -> bool:
    """Whether a seq may come out otherwise when it is replayed."""
    return any(not node.deterministic for node in graph.nodes) or any(edge.overflow != "block" for edge in graph.edges)
