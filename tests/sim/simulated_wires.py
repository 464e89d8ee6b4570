"""The memory transport between simulated processes: packets take time, and wires can be cut, pair by pair."""

import random
from collections.abc import Callable, Sequence

from virtual_time import WORLD, Process, VirtualLoop, this_process

from mesh.errors import LinkError
from mesh.transport.link import ConnectionEvents, IceServer, Lane
from mesh.transport.memory import MemoryConnection, MemoryNetwork

DELAY_S = 0.002


class Wires(MemoryNetwork):
    """``slow`` multiplies the delay of a process's packets; nothing passes between the pairs in ``cut_pairs``."""

    def __init__(self, loop: VirtualLoop, rnd: random.Random, arrived: Callable[[str, str, Lane, int], None]) -> None:
        super().__init__(seed=rnd.getrandbits(32), delay_s=DELAY_S)
        self.loop = loop
        self.arrived = arrived
        self.slow: dict[str, float] = {}
        self.cut_pairs: set[frozenset[str]] = set()
        self._opening: list[Wire] = []  # ends whose packets do not pass yet; they try as long as they live

    def connect(self, events: ConnectionEvents, ice_servers: Sequence[IceServer]) -> "Wire":
        return Wire(self, events, ice_servers)

    def delay_between(self, a: str, b: str) -> float:
        return self.delay() * max(self.slow.get(a, 1.0), self.slow.get(b, 1.0))

    def carries(self, a: str, b: str) -> bool:
        return frozenset((a, b)) not in self.cut_pairs

    def cut_pair(self, a: str, b: str) -> None:
        """Packets between the two are lost, until ``heal_pair``."""
        self.cut_pairs.add(frozenset((a, b)))

    def heal_pair(self, a: str, b: str) -> None:
        self.cut_pairs.discard(frozenset((a, b)))
        for end in self.ends(a, b):
            end.deliver()
        opening, self._opening = self._opening, []
        for end in opening:
            end.open_both()

    def wait_to_open(self, end: "Wire") -> None:
        """Until its pair is healed."""
        self._opening.append(end)

    def ends(self, a: str, b: str) -> list["Wire"]:
        """The open ends of the connections between two processes."""
        return [
            end
            for end in self.connections
            if isinstance(end, Wire) and end.other is not None and {end.process.name, end.other.process.name} == {a, b}
        ]

    def break_between(self, a: str, b: str, *, tell_both: bool) -> None:
        """What is under way is gone; one end or both are told."""
        for end in self.ends(a, b)[:1]:
            end.break_off(tell_both=tell_both)


class Wire(MemoryConnection):
    """One end, at the process that made it. Events reach a process only while it runs."""

    _network: Wires

    def __init__(self, network: Wires, events: ConnectionEvents, ice_servers: Sequence[IceServer]) -> None:
        super().__init__(network, events, ice_servers)
        self.process: Process = this_process()
        self._given_up = False

    @property
    def other(self) -> "Wire | None":
        assert self._other is None or isinstance(self._other, Wire)
        return self._other

    async def accept_answer(self, sdp: str) -> None:
        self._other = self._network.find(sdp)
        self._loop.call_later(DELAY_S, self.open_both, context=WORLD)

    def open_both(self) -> None:
        """Unless the pair is cut: then when it is healed, if both still try."""
        other = self.other
        assert other is not None
        if self._given_up or other._given_up or not (self.process.alive and other.process.alive):
            return
        if not self._carried():
            self._network.wait_to_open(self)
            return
        for end in (self, other):
            end._open = True
            self._network.connections.append(end)
            end.process.call_soon(end._events.opened)

    def _carried(self) -> bool:
        return self.other is not None and self._network.carries(self.process.name, self.other.process.name)

    def send(self, lane: Lane, frame: bytes) -> None:
        if not self._open:
            raise LinkError("channel", "the memory connection is closed")
        assert self.other is not None
        delay_s = self._network.delay_between(self.process.name, self.other.process.name)
        self._buffered[lane] += len(frame)
        self._last[lane] = max(self._last[lane], self._loop.time() + delay_s)
        self._under_way[lane].append(frame)
        self._loop.call_at(self._last[lane], self._arrive, lane, context=WORLD)

    def _arrive(self, lane: Lane) -> None:
        if self._carried() and self._under_way[lane]:
            assert self.other is not None
            self.other.process.call_soon(self.other._take, lane, self._under_way[lane].popleft())

    def _take(self, lane: Lane, frame: bytes) -> None:
        assert self.other is not None
        if self._open:
            self._network.arrived(self.other.process.name, self.process.name, lane, len(frame))
            self._events.frame(lane, frame)
        self.other.process.call_soon(self.other._sent, lane, len(frame))

    def _sent(self, lane: Lane, size: int) -> None:
        self._buffered[lane] -= size
        self._events.writable(lane)

    def deliver(self) -> None:
        for lane, frames in self._under_way.items():
            for _ in range(len(frames)):
                self._loop.call_soon(self._arrive, lane, context=WORLD)

    def break_off(self, *, tell_both: bool) -> None:
        for end in (self, self.other):
            assert end is not None
            for frames in end._under_way.values():
                frames.clear()
        self.process.call_soon(self._ended)
        if tell_both and self.other is not None:
            self.other.process.call_soon(self.other._ended)

    async def close(self) -> None:
        self._given_up = True
        if self._open:
            self._shut()
            if self._carried() and self.other is not None:
                self.other.process.call_soon(self.other._ended)
