"""Who runs what: the part of a plan that peers act on (docs/wire.md, 5)."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from mesh.errors import ProtocolError
from mesh.ids import NodeId, PeerId
from mesh.manifest.graph import Graph
from mesh.nodes.spec import RuntimeName


@dataclass(frozen=True, slots=True)
class Seat:
    """A node's place: a peer, and the runtime there."""

    peer: PeerId
    runtime: RuntimeName


class Placement:
    """``seat(node, seq)``; the driver sits at both ends of every graph."""

    def __init__(self, graph: Graph, driver: PeerId, steps: list[tuple[int, dict[NodeId, tuple[Seat, ...]]]]) -> None:
        self.driver = driver
        self._graph = graph
        self._starts = [start for start, _ in steps]
        self._steps = [seats for _, seats in steps]

    @classmethod
    def from_plan(cls, graph: Graph, driver: PeerId, plan: object) -> "Placement":
        """Reads a plan that came from outside; raises ProtocolError("bad-message")."""
        try:
            steps = [_step(graph, step) for step in cast(Mapping[str, Any], plan)["steps"]]
            if not steps or steps[0][0] != 0 or sorted({start for start, _ in steps}) != [start for start, _ in steps]:
                raise ValueError("steps must begin at seq 0 and ascend")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError("bad-message", f"not a plan: {error}") from None
        return cls(graph, driver, steps)

    def seat(self, node: NodeId, seq: int) -> Seat:
        seats = self._steps[bisect_right(self._starts, seq) - 1][node]
        return seats[seq % len(seats)]

    def source(self, edge: int, seq: int = 0) -> PeerId:
        """The peer that sends on an edge."""
        node = self._graph.edges[edge].source
        return self.driver if node is None else self.seat(node, seq).peer

    def target(self, edge: int, seq: int = 0) -> PeerId:
        """The peer that receives on an edge."""
        node = self._graph.edges[edge].target
        return self.driver if node is None else self.seat(node, seq).peer

    def runtimes_on(self, peer: PeerId) -> dict[NodeId, RuntimeName]:
        """The nodes of a peer's fragment and where they run there."""
        return {
            node: seat.runtime
            for step in self._steps
            for node, seats in step.items()
            for seat in seats
            if seat.peer == peer
        }

    def seats_of_last_step(self) -> Mapping[NodeId, tuple[Seat, ...]]:
        """Where each node is in the end."""
        return self._steps[-1]

    def peers(self) -> set[PeerId]:
        """Everyone with a node."""
        return {seat.peer for step in self._steps for seats in step.values() for seat in seats}

    def neighbours(self, peer: PeerId) -> set[PeerId]:
        """The other workers that ``peer`` exchanges results with."""
        pairs = {(self.source(edge), self.target(edge)) for edge in range(len(self._graph.edges))}
        around = {b for a, b in pairs if a == peer} | {a for a, b in pairs if b == peer}
        return around - {peer, self.driver}


def _step(graph: Graph, step: Mapping[str, Any]) -> tuple[int, dict[NodeId, tuple[Seat, ...]]]:
    start, nodes = step["from_seq"], step["nodes"]
    if type(start) is not int or start < 0 or set(nodes) != {node.id for node in graph.nodes}:
        raise ValueError("a step needs from_seq and a place for every node")
    return start, {NodeId(node): _seats(place) for node, place in nodes.items()}


def _seats(place: Mapping[str, Any]) -> tuple[Seat, ...]:
    seats = tuple(Seat(PeerId(str(seat["peer"])), seat["runtime"]) for seat in place["on"])
    if len(seats) != 1:
        raise ValueError("a node has one place in this version")
    if any(seat.runtime not in get_args(RuntimeName) for seat in seats):
        raise ValueError("unknown runtime")
    return seats
