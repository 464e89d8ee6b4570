"""A run on this peer: its fragment, its place in the plan, and the way of every frame and credit in and out."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from mesh.errors import ProtocolError
from mesh.ids import NodeId, PeerId, RunId
from mesh.limits import CREDIT_AFTER_S, CREDIT_EVERY_BYTES
from mesh.manifest.graph import Graph
from mesh.peer.host import Host, Runtimes
from mesh.run.events import (
    Checkpoint,
    Emit,
    FailRun,
    Frame,
    GiveCredit,
    HandOver,
    Instruction,
    ReportError,
    Through,
)
from mesh.run.placement import Placement, Seat, Step, Strand
from mesh.run.retention import Resumption


class RunKey(NamedTuple):
    """A run is named by its driver and its id together, so that two drivers cannot collide."""

    driver: PeerId
    run: RunId


class Ends(Protocol):
    """What the driver's own peer adds to a site: the items' and the results' end of the graph."""

    def frame(self, frame: Frame) -> None: ...
    def credit(self, edge: int, seq: int, amount: int) -> None: ...


class Outside(Protocol):
    """What a site needs of the rest of the mesh."""

    def send_frame(self, site: "Site", to: PeerId, frame: Frame) -> None: ...
    def send_credit(self, site: "Site", to: PeerId, credit: GiveCredit) -> None: ...
    def item_failed(self, site: "Site", error: ReportError) -> None: ...
    def state_saved(self, site: "Site", saved: Checkpoint) -> None: ...
    def handed_over(self, site: "Site", state: HandOver) -> None: ...
    def through(self, site: "Site") -> None: ...
    def run_failed(self, site: "Site", reason: str) -> None: ...


class Site:
    """Frames of this peer's nodes are handed over without a copy; the others go out through ``outside``."""

    def __init__(
        self,
        key: RunKey,
        epoch: int,
        graph: Graph,
        placement: Placement,
        *,
        me: PeerId,
        runtimes: Runtimes,
        outside: Outside,
        ends: Ends | None = None,
        resumption: Resumption,
        before: "Site | None" = None,
    ) -> None:
        """``before``: the run's part here in the epoch before; what it counted is counted on."""
        self.key, self.epoch, self.graph, self.placement = key, epoch, graph, placement
        self._me = me
        self._outside = outside
        self._ends = ends
        self._todo: deque[Callable[[], None]] = deque()
        self._draining = False
        self._owed: dict[Strand, GiveCredit] = {}  # for other peers
        self._paying: asyncio.TimerHandle | None = None
        self._step: Step = {}  # to come
        self.since: int = before.since if before else epoch  # the epoch from which on is counted
        self.sent: Counter[PeerId] = before.sent if before else Counter()  # payload bytes, by the peer they went to
        self.host: Host = Host(
            graph,
            placement,
            me,
            runtimes,
            resumption=resumption,
            execute=self.execute,
            times=before.host.times if before else {},
        )

    def execute(self, instructions: Sequence[Instruction]) -> None:
        """Carries out what an engine wants done outside itself."""
        for instruction in instructions:
            match instruction:
                case Emit(frame):
                    self._route_frame(frame)
                case GiveCredit():
                    self._route_credit(instruction)
                case ReportError():
                    self._outside.item_failed(self, instruction)
                case Checkpoint():
                    self._outside.state_saved(self, instruction)
                case HandOver():
                    self._outside.handed_over(self, instruction)
                case Through():
                    self._outside.through(self)
                case FailRun(reason):
                    self._outside.run_failed(self, reason)
        self._drain()

    def _route_frame(self, frame: Frame) -> None:
        to = self.placement.target(frame.edge, frame.seq).peer
        if to == self._me:
            self._todo.append(lambda: self._take_frame(frame))
        else:
            self.sent[to] += len(frame.payload or b"")
            self._outside.send_frame(self, to, frame)

    def _route_credit(self, credit: GiveCredit) -> None:
        to = self.placement.source(credit.edge, credit.seq).peer
        if to == self._me:
            self._todo.append(lambda: self._take_credit(credit))
            return
        strand = self.placement.strand(credit.edge, credit.seq)
        owed = credit.bytes + (self._owed[strand].bytes if strand in self._owed else 0)
        self._owed[strand] = GiveCredit(credit.edge, credit.seq, owed)
        if owed >= CREDIT_EVERY_BYTES:
            self._pay(strand)
        elif self._paying is None:  # a message for every small item would cost as much as the item
            self._paying = asyncio.get_running_loop().call_later(CREDIT_AFTER_S, self._pay_all)

    def _pay_all(self) -> None:
        self._paying = None
        for strand in tuple(self._owed):
            self._pay(strand)

    def _pay(self, strand: Strand) -> None:
        _, sender, _ = strand
        self._outside.send_credit(self, sender.peer, self._owed.pop(strand))

    def _drain(self) -> None:
        """Local deliveries in a loop rather than by recursion: a long chain of nodes must not end in a deep stack."""
        if self._draining:
            return
        self._draining = True
        try:
            while self._todo:
                self._todo.popleft()()
        finally:
            self._draining = False

    def receive_frame(self, sender: PeerId, frame: Frame) -> None:
        """A frame from another peer; raises ProtocolError where the plan knows no such frame."""
        if self._peers(frame.edge, frame.seq) != (sender, self._me):
            raise ProtocolError("bad-message", f"edge {frame.edge} does not lead from {sender} to here")
        self._take_frame(frame)
        self._drain()

    def receive_credit(self, sender: PeerId, credit: GiveCredit) -> None:
        """Credit from another peer; raises ProtocolError where it is not that peer's to give.

        What comes late for an end that moved since is nobody's.
        """
        if 0 <= credit.edge < len(self.graph.edges) and not self.placement.remembers(credit.edge, credit.seq):
            return
        if self._peers(credit.edge, credit.seq) != (self._me, sender):
            raise ProtocolError("bad-message", f"credit for edge {credit.edge} is not {sender}'s to give")
        self._take_credit(credit)
        self._drain()

    def _peers(self, edge: int, seq: int) -> tuple[PeerId, PeerId] | None:
        """Who sends a seq on an edge, and who receives it; None where there is no such edge."""
        if not 0 <= edge < len(self.graph.edges) or seq < 0:
            return None
        return self.placement.source(edge, seq).peer, self.placement.target(edge, seq).peer

    def _take_frame(self, frame: Frame) -> None:
        if self.graph.edges[frame.edge].target is None:
            if self._ends is not None:
                self._ends.frame(frame)
        else:
            self.host.frame(frame)

    def _take_credit(self, credit: GiveCredit) -> None:
        if self.graph.edges[credit.edge].source is None:
            if self._ends is not None:
                self._ends.credit(credit.edge, credit.seq, credit.bytes)
        else:
            self.host.credit(credit.edge, credit.seq, credit.bytes)

    # A planned move

    def propose(self, nodes: object) -> list[Seat]:
        """What a step to come puts here, which the host must prepare; raises ProtocolError for what is no step."""
        self._step = self.placement.proposed(nodes)
        return [seat for seats in self._step.values() for seat in seats if seat.peer == self._me]

    def call_off(self) -> None:
        """The step that was prepared does not begin."""
        self._step = {}
        self.host.call_off()

    def cut(self, since: int) -> None:
        """The step that was prepared begins at ``since``; ``Outside.through`` is told when all below is over here."""
        self.placement.cut(since, self._step)
        self._step = {}
        self._owed = {strand: owed for strand, owed in self._owed.items() if all(map(self.placement.knows, strand[1:]))}
        self.host.cut(since)

    def take_state(self, node: NodeId, state: bytes) -> None:
        """A stateful node goes on here; raises ProtocolError("bad-message") where it awaits no state."""
        seats = self.placement.seats_of_last_step().get(node, ())
        if not seats or seats[0].peer != self._me:
            raise ProtocolError("bad-message", f"node {node!r} is not here")
        self.host.arrived(seats[0], state)

    def link_bytes(self, names: Mapping[PeerId, str]) -> dict[str, int]:
        """The bytes sent, as ``from->to``; a peer that came back may have another id, and the name that it had."""
        links: Counter[str] = Counter()
        for to, count in self.sent.items():
            links[f"{names.get(self._me, self._me)}->{names.get(to, to)}"] += count
        return dict(links)

    async def close(self) -> None:
        self._todo.clear()
        if self._paying is not None:
            self._paying.cancel()
        await self.host.close()
