"""Who runs what: the part of a plan that peers act on (docs/wire.md, 5).

A node may have several **seats**, each an instance of its own; its seqs go round them. What leads on one edge from one
seat to another is a **strand**: in order, with credit of its own. So a slow replica holds up only what is for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any, Self, cast, get_args

from mesh.errors import ProtocolError
from mesh.ids import NodeId, PeerId
from mesh.limits import MAX_REPLICAS
from mesh.manifest.graph import Graph
from mesh.nodes.spec import RuntimeName


@dataclass(eq=False, slots=True)
class Seat:
    """An instance of a node, on a peer.

    It serves every ``share``-th seq, those with the remainder ``index``, from ``since`` on and below ``until``.
    """

    node: NodeId
    peer: PeerId
    runtime: RuntimeName
    since: int = 0
    index: int = 0
    share: int = 1
    until: int | None = None

    def first(self, seq: int) -> int | None:
        """The first seq from ``seq`` on that it serves; None where there is none."""
        seq = max(seq, self.since)
        seq += (self.index - seq) % self.share
        return seq if self.until is None or seq < self.until else None

    def meets(self, other: Self) -> bool:
        """Whether there may be a seq that both serve."""
        since = max(self.since, other.since)
        ends = [each.until for each in (self, other) if each.until is not None]
        return (self.index - other.index) % gcd(self.share, other.share) == 0 and since < min(ends, default=since + 1)


def first_of_both(one: Seat, other: Seat, seq: int) -> int | None:
    """The first seq from ``seq`` on that both serve, of two seats that meet; at most ``share`` steps away."""
    if one.share == other.share == 1 and one.until is other.until is None:
        return max(seq, one.since, other.since)
    while True:
        first = one.first(seq)
        second = None if first is None else other.first(first)
        if second is None or first == second:
            return second
        seq = second


type Strand = tuple[int, Seat, Seat]  # the edge, who sends, who receives
type Step = Mapping[NodeId, tuple[Seat, ...]]


class Placement:
    """``seat(node, seq)``, and what follows from it for the edges of the graph."""

    def __init__(self, graph: Graph, driver: PeerId, steps: list[tuple[int, Step]]) -> None:
        self.driver = driver
        self._graph = graph
        self._end = Seat(NodeId(""), driver, "python")
        self._turns: dict[NodeId, list[tuple[Seat, ...]]] = {node.id: [] for node in graph.nodes}
        end: list[tuple[Seat, ...]] = [(self._end,)]
        self._sources = [end if edge.source is None else self._turns[edge.source] for edge in graph.edges]
        self._targets = [end if edge.target is None else self._turns[edge.target] for edge in graph.edges]
        for since, step in steps:
            self._add(since, step)

    @classmethod
    def from_plan(cls, graph: Graph, driver: PeerId, plan: object) -> "Placement":
        """Reads a plan that came from outside; raises ProtocolError("bad-message")."""
        try:
            steps = [_step(graph, each["from_seq"], each["nodes"]) for each in cast(Mapping[str, Any], plan)["steps"]]
            if not steps or steps[0][0] != 0 or sorted({start for start, _ in steps}) != [start for start, _ in steps]:
                raise ValueError("steps must begin at seq 0 and ascend")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError("bad-message", f"not a plan: {error}") from None
        return cls(graph, driver, steps)

    def proposed(self, nodes: object) -> Step:
        """Reads the places of a step to come, for ``cut``; raises ProtocolError("bad-message")."""
        try:
            _, step = _step(self._graph, 0, cast(Mapping[str, Any], nodes))
            moved = {node: seats for node, seats in step.items() if _places(seats) != _places(self._turns[node][-1])}
            mute = [each.id for each in self._graph.nodes if each.id in moved and each.stateful and not each.snapshots]
            if mute:
                raise ValueError(f"node {mute[0]!r} keeps state and makes no snapshots, so it stays")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError("bad-message", f"not a step: {error}") from None
        return moved

    def cut(self, since: int, step: Step) -> None:
        """From ``since`` on, which is above all that was sent, the nodes of ``step`` are where it says.

        All below the cut before this one was consumed everywhere (Through); where it was served is forgotten.
        """
        for turns in self._turns.values():
            del turns[:-1]
        self._add(since, step)

    def _add(self, since: int, step: Step) -> None:
        """A node that stays where it was keeps its instances."""
        for node, seats in step.items():
            turns = self._turns[node]
            if turns and _places(turns[-1]) == _places(seats):
                continue
            for seat in turns[-1] if turns else ():
                seat.until = since
            for seat in seats:
                seat.since = since
            turns.append(seats)

    def remembers(self, edge: int, seq: int) -> bool:
        """Whether both ends of a seq on an edge are still known."""
        return max(self._sources[edge][0][0].since, self._targets[edge][0][0].since) <= seq

    def knows(self, seat: Seat) -> bool:
        """Whether a seat is one of these."""
        return seat is self._end or any(seat in seats for seats in self._turns[seat.node])

    def seat(self, node: NodeId | None, seq: int) -> Seat:
        """Where a seq is served; without a node, at the driver, who sits at both ends of every graph."""
        return self._end if node is None else _at(self._turns[node], seq)

    def source(self, edge: int, seq: int) -> Seat:
        """Who sends a seq on an edge."""
        return _at(self._sources[edge], seq)

    def target(self, edge: int, seq: int) -> Seat:
        """Who receives a seq on an edge."""
        return _at(self._targets[edge], seq)

    def strand(self, edge: int, seq: int) -> Strand:
        """The way of a seq on an edge."""
        return edge, self.source(edge, seq), self.target(edge, seq)

    def seats(self, peer: PeerId | None = None) -> list[Seat]:
        """All instances, or those on a peer."""
        return [
            seat
            for turns in self._turns.values()
            for seats in turns
            for seat in seats
            if peer is None or seat.peer == peer
        ]

    def nodes(self, peer: PeerId) -> list[NodeId]:
        """What a peer runs."""
        return list(dict.fromkeys(seat.node for seat in self.seats(peer)))

    def seats_of_last_step(self) -> Mapping[NodeId, tuple[Seat, ...]]:
        """Where each node is in the end."""
        return {node: turns[-1] for node, turns in self._turns.items()}

    def peers(self) -> set[PeerId]:
        """Everyone with a node."""
        return {seat.peer for seat in self.seats()}

    def neighbours(self, peer: PeerId) -> set[PeerId]:
        """The other workers that ``peer`` exchanges results with."""
        pairs = {(one.peer, other.peer) for one, other in self._strands()}
        around = {b for a, b in pairs if a == peer} | {a for a, b in pairs if b == peer}
        return around - {peer, self.driver}

    def _strands(self) -> Iterator[tuple[Seat, Seat]]:
        for edge in self._graph.edges:
            if edge.source is not None and edge.target is not None:
                for senders in self._turns[edge.source]:
                    for receivers in self._turns[edge.target]:
                        yield from ((a, b) for a in senders for b in receivers if a.meets(b))


def _at(turns: list[tuple[Seat, ...]], seq: int) -> Seat:
    """Asked several times for every frame, so the last turn is tried first."""
    seats = turns[-1]
    if seats[0].since > seq:
        seats = next((each for each in reversed(turns) if each[0].since <= seq), turns[0])
    return seats[0] if len(seats) == 1 else seats[seq % len(seats)]


def _places(seats: tuple[Seat, ...]) -> list[tuple[PeerId, RuntimeName]]:
    return [(seat.peer, seat.runtime) for seat in seats]


def _step(graph: Graph, since: int, nodes: Mapping[str, Any]) -> tuple[int, Step]:
    if type(since) is not int or since < 0 or set(nodes) != {node.id for node in graph.nodes}:
        raise ValueError("a step needs from_seq and a place for every node")
    seats = {node.id: _seats(node.id, nodes[node.id]["on"]) for node in graph.nodes}
    shared = [node.id for node in graph.nodes if node.stateful and len(seats[node.id]) > 1]
    if shared:
        raise ValueError(f"node {shared[0]!r} keeps state and has several places")
    return since, seats


def _seats(node: NodeId, on: list[Mapping[str, Any]]) -> tuple[Seat, ...]:
    if not 1 <= len(on) <= MAX_REPLICAS:
        raise ValueError(f"a node has 1 to {MAX_REPLICAS} places")
    if any(seat["runtime"] not in get_args(RuntimeName) for seat in on):
        raise ValueError("unknown runtime")
    return tuple(
        Seat(node, PeerId(str(seat["peer"])), seat["runtime"], index=index, share=len(on))
        for index, seat in enumerate(on)
    )
