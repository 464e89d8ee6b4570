"""The nodes of a run on one peer, sans-IO: events in, instructions out.

The caller carries out every instruction, in order: it makes the calls on the instances of the nodes, sends frames,
credit and errors to the peers that the plan names, and reports what happens through the methods below, each of which
answers further instructions. Edges between two nodes of the fragment never leave it. To cancel, drop the object.

Memory is bounded: an edge holds at most its credit (docs/wire.md, 4), a node one answer and one input, a join one seq,
a stateful node its snapshot and the inputs since.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from mesh.errors import ProtocolError
from mesh.ids import NodeId
from mesh.limits import EDGE_CREDIT_BYTES
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.run.events import Emit, Frame, GiveCredit, Instruction
from mesh.run.execution import NodeExecution, State
from mesh.run.inbox import Gather, Inbox, Port, Stream
from mesh.run.outbox import Outbox


class Fragment:
    """``local`` names the nodes of ``graph`` that run here, each in one instance, which the caller made beforehand.

    ``first_seq`` is the first that comes in; the stateful nodes then have the ``states`` of the seq before.
    """

    def __init__(
        self,
        graph: Graph,
        local: Collection[NodeId],
        *,
        first_seq: int = 0,
        states: Mapping[NodeId, bytes] = MappingProxyType({}),
        credit_bytes: int = EDGE_CREDIT_BYTES,
    ) -> None:
        here = frozenset(local)
        inbound: defaultdict[NodeId | None, dict[int, Edge]] = defaultdict(dict)
        outbound: defaultdict[NodeId | None, dict[int, Edge]] = defaultdict(dict)
        for number, edge in enumerate(graph.edges):
            inbound[edge.target][number] = edge
            outbound[edge.source][number] = edge
        self._nodes = {
            node.id: NodeExecution(
                node,
                _inbox(node, inbound[node.id], first_seq, credit_bytes),
                _outboxes(outbound[node.id], credit_bytes),
                first_seq=first_seq,
                state=states.get(node.id),
            )
            for node in graph.nodes
            if node.id in here
        }
        self._receivers = {edge: node for node in self._nodes.values() for edge in node.inbox.ports}
        self._senders = {box.edge: (node, box) for node in self._nodes.values() for box in node.outboxes}

    # From the network

    def frame(self, frame: Frame) -> list[Instruction]:
        """A frame came in. Raises ProtocolError("bad-message"), and changes nothing, where it is impossible."""
        node = self._receivers.get(frame.edge)
        if node is None or frame.edge in self._senders:
            raise ProtocolError("bad-message", f"edge {frame.edge} does not lead into this fragment")
        node.inbox.accept(frame)
        return self._settle(node, [])

    def credit(self, edge: int, amount: int) -> list[Instruction]:
        """Credit came back, in bytes. Raises ProtocolError("bad-message") for what cannot be."""
        node, box = self._senders.get(edge, (None, None))
        if node is None or box is None or edge in self._receivers:
            raise ProtocolError("bad-message", f"edge {edge} does not lead out of this fragment")
        box.give(amount)
        return self._settle(node, [])

    # From the runtime

    def answered(self, node: NodeId, parts: Sequence[bytes], more: bool) -> list[Instruction]:
        """A ``process``, ``next`` or ``finish`` made ``parts``; ``more``: ask for further ones with ``next``."""
        return self._event(node, lambda each: each.answered(parts, more))

    def snapshotted(self, node: NodeId, snapshot: bytes) -> list[Instruction]:
        """A ``snapshot`` was made."""
        return self._event(node, lambda each: each.snapshotted(snapshot))

    def restored(self, node: NodeId) -> list[Instruction]:
        """A ``restore`` is done."""
        return self._event(node, NodeExecution.restored)

    def recreated(self, node: NodeId) -> list[Instruction]:
        """A Recreate is done."""
        return self._event(node, NodeExecution.recreated)

    def failed(self, node: NodeId, kind: str, cause: str) -> list[Instruction]:
        """A call, or a Recreate, failed. After ``timeout``, ``trapped`` and ``crashed`` the instance is gone."""
        return self._event(node, lambda each: each.failed(kind, cause))

    # For people

    def queued(self) -> dict[NodeId, int]:
        """How many frames wait before each node."""
        return {name: node.inbox.queued for name, node in self._nodes.items()}

    def dropped(self) -> dict[int, int]:
        """How many seqs each edge that drops has dropped."""
        return {edge: box.dropped for edge, (_, box) in self._senders.items() if box.dropped}

    def outstanding(self) -> dict[int, int]:
        """How many bytes are out on each edge that begins here: sent or waiting to be, and not yet consumed."""
        return {edge: box.outstanding for edge, (_, box) in self._senders.items()}

    def states(self) -> dict[NodeId, State]:
        """What each node is doing."""
        return {name: node.state for name, node in self._nodes.items()}

    # Inside

    def _event(self, name: NodeId, event: Callable[[NodeExecution], list[Instruction]]) -> list[Instruction]:
        node = self._nodes[name]
        return self._settle(node, event(node))

    def _settle(self, first: NodeExecution, instructions: list[Instruction]) -> list[Instruction]:
        """Carries frames and credit between the nodes, and lets them act, until nothing moves."""
        todo = {first: None}  # a set in the order of insertion
        while todo:
            node = next(iter(todo))
            del todo[node]
            instructions += node.advance()
            for neighbour in (*self._send(node, instructions), *self._give_back(node, instructions)):
                todo[neighbour] = None
        return instructions

    def _send(self, node: NodeExecution, instructions: list[Instruction]) -> list[NodeExecution]:
        """What the node made goes on; answers the nodes here that received some of it."""
        receivers = []
        for box in node.outboxes:
            for frame in box.take():
                receiver = self._receivers.get(frame.edge)
                if receiver is None:
                    instructions.append(Emit(frame))
                else:
                    receiver.inbox.accept(frame)
                    receivers.append(receiver)
        return receivers

    def _give_back(self, node: NodeExecution, instructions: list[Instruction]) -> list[NodeExecution]:
        """The credit for what the node consumed goes back; answers the nodes here that received some of it."""
        senders = []
        for edge, port in node.inbox.ports.items():
            amount = port.due()
            if not amount:
                continue
            sender, box = self._senders.get(edge, (None, None))
            if sender is None or box is None:
                instructions.append(GiveCredit(edge, amount))
            else:
                box.give(amount)
                senders.append(sender)
        return senders


def _inbox(node: GraphNode, edges: Mapping[int, Edge], first_seq: int, credit_bytes: int) -> Inbox:
    ports = [Port(number, first_seq=first_seq, credit_bytes=credit_bytes) for number in edges]
    if node.join:
        return Gather(edges, ports, optional=frozenset(node.optional), first_seq=first_seq)
    return Stream(*ports)


def _outboxes(edges: Mapping[int, Edge], credit_bytes: int) -> list[Outbox]:
    return [
        Outbox(number, drops=edge.overflow == "drop_oldest", credit_bytes=credit_bytes)
        for number, edge in edges.items()
    ]
