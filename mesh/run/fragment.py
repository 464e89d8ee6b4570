"""The nodes of a run on one peer, sans-IO: events in, instructions out.

The caller carries out every instruction, in order: it makes the calls on the instances of the nodes, sends frames,
credit and errors to the peers that the plan names, and reports what happens through the methods below, each of which
answers further instructions. Edges between two nodes of the fragment never leave it. To cancel, drop the object.

Memory is bounded: a strand holds at most its credit (docs/wire.md, 4), an instance one answer and one input for each
of its strands, a join one seq, a stateful node its snapshot and the inputs since.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from mesh.errors import ProtocolError
from mesh.ids import NodeId, PeerId
from mesh.limits import EDGE_CREDIT_BYTES
from mesh.manifest.graph import Edge, Graph
from mesh.run.events import Emit, Frame, GiveCredit, Instruction, Retire, Through
from mesh.run.execution import NodeExecution, State
from mesh.run.inbox import Gather, Port, Stream
from mesh.run.outbox import Outbox
from mesh.run.placement import Placement, Seat


class Fragment:
    """The instances that ``placement`` puts on the peer ``me``; the caller made them beforehand.

    ``first_seq`` is the first that comes in; the stateful nodes then have the ``states`` of the seq before.
    """

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        me: PeerId,
        *,
        first_seq: int = 0,
        states: Mapping[NodeId, bytes] = MappingProxyType({}),
        credit_bytes: int = EDGE_CREDIT_BYTES,
    ) -> None:
        self._graph, self._placement, self._me = graph, placement, me
        self._first_seq = first_seq
        self._credit_bytes = credit_bytes
        self._inbound: defaultdict[NodeId | None, dict[int, Edge]] = defaultdict(dict)
        self._outbound: defaultdict[NodeId | None, dict[int, Edge]] = defaultdict(dict)
        for number, edge in enumerate(graph.edges):
            self._inbound[edge.target][number] = edge
            self._outbound[edge.source][number] = edge
        self._nodes = {node.id: node for node in graph.nodes}
        self._since: int | None = None  # of the last cut, until all here is through
        self._retired: set[Seat] = set()
        self._instances = {seat: self._execution(seat, states.get(seat.node)) for seat in placement.seats(me)}

    def _execution(self, seat: Seat, state: bytes | None, *, moved: bool = False) -> NodeExecution:
        node = self._nodes[seat.node]
        edges, credit = self._inbound[node.id], self._credit_bytes
        ports = [
            Port(self._placement, number, seat, first_seq=self._first_seq, credit_bytes=credit) for number in edges
        ]
        inbox = Gather(edges, ports, optional=frozenset(node.optional)) if node.join else Stream(*ports)
        outboxes = {
            number: Outbox(self._placement, number, drops=edge.overflow == "drop_oldest", credit_bytes=credit)
            for number, edge in self._outbound[node.id].items()
        }
        awaits = moved and node.stateful
        return NodeExecution(node, seat, inbox, outboxes, first_seq=self._first_seq, state=state, awaits_state=awaits)

    # A planned move

    def cut(self, since: int) -> list[Instruction]:
        """The placement has a new step: new instances begin, and the old ones leave when they are through."""
        before, self._since = self._instances, since
        self._instances = {
            seat: before.get(seat) or self._execution(seat, None, moved=True)
            for seat in self._placement.seats(self._me)
        }
        self._retired &= self._instances.keys()
        instructions: list[Instruction] = []
        for each in self._instances.values():
            each.forget()
            self._settle(each, instructions)
        return self._perhaps_through(instructions)

    def arrived(self, seat: Seat, state: bytes) -> list[Instruction]:
        """A stateful node goes on here, in this state. Raises ProtocolError("bad-message") where it has begun."""
        execution = self._instances[seat]
        if execution.state is not State.AWAITING:
            raise ProtocolError("bad-message", f"node {seat.node!r} awaits no state here")
        return self._settle(execution, execution.arrived(state))

    # From the network

    def frame(self, frame: Frame) -> list[Instruction]:
        """A frame came in. Raises ProtocolError("bad-message"), and changes nothing, where it is impossible."""
        source, target = self._ends(frame.edge, frame.seq)
        if target is None or source is not None:
            raise ProtocolError("bad-message", f"edge {frame.edge} does not lead into this fragment")
        target.inbox.accept(frame)
        return self._settle(target, [])

    def credit(self, edge: int, seq: int, amount: int) -> list[Instruction]:
        """Credit came back, in bytes. Raises ProtocolError("bad-message") for what cannot be."""
        source, target = self._ends(edge, seq)
        if source is None or target is not None:
            raise ProtocolError("bad-message", f"edge {edge} does not lead out of this fragment")
        source.outboxes[edge].give(seq, amount)
        return self._settle(source, [])

    def _ends(self, edge: int, seq: int) -> tuple[NodeExecution | None, NodeExecution | None]:
        """Who sends a seq on an edge, and who receives it, as far as they are here."""
        if not 0 <= edge < len(self._graph.edges):
            return None, None
        placement, here = self._placement, self._instances
        return here.get(placement.source(edge, seq)), here.get(placement.target(edge, seq))

    def cancel(self, seq: int) -> list[Instruction]:
        """Nobody wants a seq any more, which may be on its way to here still."""
        instructions: list[Instruction] = []
        for seat, execution in self._instances.items():
            if seat.first(seq) == seq:
                instructions += execution.cancel(seq)
                self._settle(execution, instructions)
        return instructions

    # From the runtime

    def answered(self, seat: Seat, parts: Sequence[bytes], more: bool) -> list[Instruction]:
        """A ``process``, ``next`` or ``finish`` made ``parts``; ``more``: ask for further ones with ``next``."""
        return self._event(seat, lambda each: each.answered(parts, more))

    def snapshotted(self, seat: Seat, snapshot: bytes) -> list[Instruction]:
        """A ``snapshot`` was made."""
        return self._event(seat, lambda each: each.snapshotted(snapshot))

    def restored(self, seat: Seat) -> list[Instruction]:
        """A ``restore`` is done."""
        return self._event(seat, NodeExecution.restored)

    def recreated(self, seat: Seat) -> list[Instruction]:
        """A Recreate is done."""
        return self._event(seat, NodeExecution.recreated)

    def failed(self, seat: Seat, kind: str, cause: str) -> list[Instruction]:
        """A call, or a Recreate, failed. After ``timeout``, ``trapped`` and ``crashed`` the instance is gone."""
        return self._event(seat, lambda each: each.failed(kind, cause))

    # For others to see

    def progress(self) -> dict[Seat, tuple[int, bool]]:
        """Of each instance the lowest seq that was not ended there, and whether a call is under way."""
        return {seat: each.progress for seat, each in self._instances.items()}

    def queued(self) -> dict[NodeId, int]:
        """How many frames wait before each node."""
        counts: Counter[NodeId] = Counter()
        for each in self._instances.values():
            counts[each.node.id] += each.inbox.queued
        return dict(counts)

    def dropped(self) -> dict[int, int]:
        """How many seqs each edge that drops has dropped."""
        return {edge: count for edge, count in self._summed(lambda box: box.dropped).items() if count}

    def outstanding(self) -> dict[int, int]:
        """How many bytes are out on each edge that begins here: sent or waiting to be, and not yet consumed."""
        return self._summed(lambda box: box.outstanding)

    def _summed(self, count: Callable[[Outbox], int]) -> dict[int, int]:
        counts: Counter[int] = Counter()
        for each in self._instances.values():
            for edge, box in each.outboxes.items():
                counts[edge] += count(box)
        return dict(counts)

    def states(self) -> dict[Seat, State]:
        """What each instance is doing."""
        return {seat: each.state for seat, each in self._instances.items()}

    # Inside

    def _event(self, seat: Seat, event: Callable[[NodeExecution], list[Instruction]]) -> list[Instruction]:
        execution = self._instances[seat]
        return self._settle(execution, event(execution))

    def _settle(self, first: NodeExecution, instructions: list[Instruction]) -> list[Instruction]:
        """Carries frames and credit between the instances, and lets them act, until nothing moves."""
        todo = {first: None}  # a set in the order of insertion
        while todo:
            execution = next(iter(todo))
            del todo[execution]
            instructions += execution.advance()
            for neighbour in (*self._send(execution, instructions), *self._give_back(execution, instructions)):
                todo[neighbour] = None
            if execution.seat.until is not None and execution.is_over and execution.seat not in self._retired:
                self._retired.add(execution.seat)
                instructions.append(Retire(execution.seat))
        return instructions if self._since is None else self._perhaps_through(instructions)

    def _perhaps_through(self, instructions: list[Instruction]) -> list[Instruction]:
        since = self._since
        if since is not None and all(each.is_through(since) for each in self._instances.values()):
            self._since = None
            instructions.append(Through())
        return instructions

    def _send(self, execution: NodeExecution, instructions: list[Instruction]) -> list[NodeExecution]:
        """What it made goes on; answers the instances here that received some of it."""
        receivers = []
        for box in execution.outboxes.values():
            for frame in box.take():
                receiver = self._instances.get(self._placement.target(frame.edge, frame.seq))
                if receiver is None:
                    instructions.append(Emit(frame))
                else:
                    receiver.inbox.accept(frame)
                    receivers.append(receiver)
        return receivers

    def _give_back(self, execution: NodeExecution, instructions: list[Instruction]) -> list[NodeExecution]:
        """The credit for what it consumed goes back; answers the instances here that received some of it."""
        senders = []
        for edge, port in execution.inbox.ports.items():
            for seq, amount in port.due():
                sender = self._instances.get(self._placement.source(edge, seq))
                if sender is None:
                    instructions.append(GiveCredit(edge, seq, amount))
                else:
                    sender.outboxes[edge].give(seq, amount)
                    senders.append(sender)
        return senders
