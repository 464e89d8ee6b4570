"""How long one item takes under a given placement: an event-driven simulation, without a clock.

A peer runs at most ``slots`` nodes at once and takes the most urgent ready one first; the directed link between two
peers carries one message after the other, and each arrives half a round trip after it was sent.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from mesh.ids import NodeId
from mesh.nodes.spec import RuntimeName

DRIVER_END = -1  # as a node's index in a wire: the driver's end of the graph


@dataclass(frozen=True, slots=True)
class Seat:
    """A place for a node: a peer by its index, a runtime there, and what that costs (ms). ``missed`` weighs the
    preferences that the peer does not meet; it counts in the choice and is no time.
    """

    peer: int
    runtime: RuntimeName
    compute_ms: float
    queue_ms: float = 0.0
    startup_ms: float = 0.0
    missed_ms: float = 0.0

    @property
    def busy_ms(self) -> float:
        return self.compute_ms + self.queue_ms

    @property
    def own_ms(self) -> float:
        """What speaks against it whatever the rest of the graph does."""
        return self.busy_ms + self.startup_ms + self.missed_ms


@dataclass(frozen=True, slots=True)
class Wire:
    """An edge by the indexes of its nodes, with the bytes of a typical part."""

    source: int
    target: int
    bytes: int


@dataclass(frozen=True)
class Problem:
    """A graph and the places that fit each of its nodes. ``slots`` is per peer; ``link(a, b)`` is ``(ms one way, ms a
    byte)``; ``driver`` is the driver's index. Nodes are in topological order.
    """

    nodes: tuple[NodeId, ...]
    seats: tuple[tuple[Seat, ...], ...]
    wires: tuple[Wire, ...]
    slots: tuple[int, ...]
    link: Callable[[int, int], tuple[float, float]]
    driver: int
    overhead_ms: float

    @cached_property
    def outgoing(self) -> list[list[Wire]]:
        """Wires by their source; the last entry (``DRIVER_END``) is the driver's items."""
        ends: list[list[Wire]] = [[] for _ in range(len(self.nodes) + 1)]
        for wire in self.wires:
            ends[wire.source].append(wire)
        return ends

    @cached_property
    def incoming(self) -> list[list[Wire]]:
        """Wires by their target; the last entry (``DRIVER_END``) is the driver's results."""
        ends: list[list[Wire]] = [[] for _ in range(len(self.nodes) + 1)]
        for wire in self.wires:
            ends[wire.target].append(wire)
        return ends

    def place(self, choice: Sequence[Seat], node: int) -> int:
        """The peer at which a wire's end is."""
        return self.driver if node == DRIVER_END else choice[node].peer

    def hop(self, a: int, b: int, size: int) -> tuple[float, float]:
        """``(ms the link is busy, ms until it arrives thereafter)`` of a message; nothing within a peer."""
        if a == b:
            return 0.0, 0.0
        one_way, per_byte = self.link(a, b)
        return self.overhead_ms + size * per_byte, one_way

    def transfer(self, choice: Sequence[Seat], wire: Wire) -> tuple[float, float]:
        """``hop`` of one part on a wire."""
        return self.hop(self.place(choice, wire.source), self.place(choice, wire.target), wire.bytes)


type Choice = Sequence[Seat]  # one seat for each node of a problem


def latency_ms(problem: Problem, choice: Choice) -> float:
    """From giving one item at the driver to its last result there."""
    return _Item(problem, choice).travel()


class _Item:
    """One item on its way. Events are ``(ms, kind, node)``; all those of one instant come before new nodes start."""

    ENDED, ARRIVED = 0, 1

    def __init__(self, problem: Problem, choice: Choice) -> None:
        self._problem, self._choice = problem, choice
        self._urgency = _urgency(problem, choice)
        self._waiting = [len(wires) for wires in problem.incoming[:-1]]
        self._busy: Counter[int] = Counter()  # slots taken, by peer
        self._ready: dict[int, list[tuple[float, int]]] = {}
        self._link_free: dict[tuple[int, int], float] = {}
        self._events: list[tuple[float, int, int]] = []

    def travel(self) -> float:
        for node, seat in enumerate(self._choice):
            if seat.startup_ms > 0:
                self._waiting[node] += 1
                heapq.heappush(self._events, (seat.startup_ms, self.ARRIVED, node))
        self._send(DRIVER_END, 0.0)
        now = 0.0
        while self._events:
            now = self._events[0][0]
            while self._events and self._events[0][0] == now:
                _, kind, node = heapq.heappop(self._events)
                self._end(node, now) if kind == self.ENDED else self._arrive(node)
            self._start_ready(now)
        return now

    def _arrive(self, node: int) -> None:
        if node == DRIVER_END:
            return
        self._waiting[node] -= 1
        if not self._waiting[node]:
            heapq.heappush(self._ready.setdefault(self._choice[node].peer, []), (-self._urgency[node], node))

    def _start_ready(self, now: float) -> None:
        for peer, ready in self._ready.items():
            while ready and self._busy[peer] < self._problem.slots[peer]:
                node = heapq.heappop(ready)[1]
                self._busy[peer] += 1
                heapq.heappush(self._events, (now + self._choice[node].busy_ms, self.ENDED, node))

    def _end(self, node: int, now: float) -> None:
        self._busy[self._choice[node].peer] -= 1
        self._send(node, now)

    def _send(self, node: int, now: float) -> None:
        for wire in sorted(self._problem.outgoing[node], key=lambda wire: -self._urgency[wire.target]):
            link = (self._problem.place(self._choice, node), self._problem.place(self._choice, wire.target))
            busy, on_the_way = self._problem.transfer(self._choice, wire)
            sent = max(now, self._link_free.get(link, 0.0)) + busy if busy else now
            self._link_free[link] = sent
            heapq.heappush(self._events, (sent + on_the_way, self.ARRIVED, wire.target))


def _urgency(problem: Problem, choice: Choice) -> list[float]:
    """For each node the longest way from its start to the driver's results (ms); the last entry is the driver's end."""
    urgency = [0.0] * (len(problem.nodes) + 1)
    for node in reversed(range(len(problem.nodes))):
        urgency[node] = choice[node].busy_ms + max(
            sum(problem.transfer(choice, wire)) + urgency[wire.target] for wire in problem.outgoing[node]
        )
    return urgency
