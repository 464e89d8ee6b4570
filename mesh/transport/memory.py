"""Connections within one process, with seeded delay and faults, so that a whole mesh can be tested without WebRTC."""

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from mesh.errors import LinkError
from mesh.transport.link import Connection, ConnectionEvents, IceServer, Lane, Path


class MemoryNetwork:
    """Where memory connections meet; its ``connect`` is an engine for Links.

    ``connections`` are the ends that are open.
    Every frame takes between ``delay_s`` and twice that, by the seed; a lane keeps its order.
    """

    def __init__(self, *, seed: int = 0, delay_s: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._delay_s = delay_s
        self._ends: dict[str, MemoryConnection] = {}
        self.connections: list[MemoryConnection] = []
        self.silent = False

    def connect(self, events: ConnectionEvents, ice_servers: Sequence[IceServer]) -> "MemoryConnection":
        """An engine (``mesh.transport.negotiation.Engine``); the servers are of no use here."""
        return MemoryConnection(self, events, ice_servers)

    def add(self, end: "MemoryConnection") -> str:
        """Makes ``end`` known; answers its description."""
        digest = secrets.token_hex(32).upper()
        mark = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
        self._ends[mark] = end
        return f"v=0\r\nm=application 9 memory 0\r\na=fingerprint:sha-256 {mark}\r\n"

    def find(self, sdp: str) -> "MemoryConnection":
        """The end that a description describes."""
        mark = sdp.rsplit(" ", 1)[-1].strip()
        if mark not in self._ends:
            raise LinkError("ice", "there is no such memory connection")
        return self._ends[mark]

    def delay(self) -> float:
        """Seconds for one frame."""
        return self._delay_s * (1 + self._random.random())

    def cut(self) -> None:
        """From now on nothing arrives any more, and nobody is told: what a killed process looks like."""
        self.silent = True

    def heal(self) -> None:
        """Undoes ``cut``: what was under way arrives."""
        self.silent = False
        for connection in self.connections:
            connection.deliver()

    def break_one(self) -> None:
        """Breaks a connection, by the seed: what is under way is gone, and one end or both are told."""
        if self.connections:
            end = self._random.choice(self.connections)
            end.fail(tell_other=self._random.random() < 0.5)


class MemoryConnection(Connection):
    engine = "memory"

    def __init__(self, network: MemoryNetwork, events: ConnectionEvents, _ice_servers: Sequence[IceServer]) -> None:
        self._network, self._events = network, events
        self._loop = asyncio.get_running_loop()
        self._other: MemoryConnection | None = None
        self._buffered = dict.fromkeys(Lane, 0)
        self._under_way: dict[Lane, deque[bytes]] = {lane: deque() for lane in Lane}
        self._last = dict.fromkeys(Lane, 0.0)
        self._open = False

    async def create_offer(self) -> str:
        return self._network.add(self)

    async def accept_offer(self, sdp: str) -> str:
        self._other = self._network.find(sdp)
        return self._network.add(self)

    async def accept_answer(self, sdp: str) -> None:
        self._other = self._network.find(sdp)
        if self._network.silent:
            return  # the packets that would open it are lost
        for end in (self, self._other):
            end._open = True
            self._network.connections.append(end)
            self._loop.call_soon(end._events.opened)

    async def add_candidate(self, candidate: Mapping[str, Any]) -> None:
        pass

    def send(self, lane: Lane, frame: bytes) -> None:
        if not self._open:
            raise LinkError("channel", "the memory connection is closed")
        self._buffered[lane] += len(frame)
        self._last[lane] = max(self._last[lane], self._loop.time() + self._network.delay())
        self._under_way[lane].append(frame)
        self._loop.call_at(self._last[lane], self._arrive, lane)

    def _arrive(self, lane: Lane) -> None:
        if self._network.silent or self._other is None or not self._under_way[lane]:
            return
        frame = self._under_way[lane].popleft()
        self._buffered[lane] -= len(frame)
        if self._other._open:
            self._other._events.frame(lane, frame)
        self._events.writable(lane)

    def deliver(self) -> None:
        """Everything that is under way arrives."""
        for lane, frames in self._under_way.items():
            for _ in range(len(frames)):
                self._loop.call_soon(self._arrive, lane)

    def fail(self, *, tell_other: bool) -> None:
        """Breaks the connection; this end is told, the other one perhaps."""
        for end in (self, self._other):
            for frames in end._under_way.values() if end is not None else ():
                frames.clear()
        self._shut()
        self._events.closed("the connection is failed")
        if self._other is not None and tell_other:
            self._loop.call_soon(self._other._ended)

    def _shut(self) -> None:
        self._open = False
        self._network.connections.remove(self)

    def buffered(self, lane: Lane) -> int:
        return self._buffered[lane]

    async def path(self) -> Path:
        return "direct"

    async def close(self) -> None:
        if self._open:
            self._shut()
            if self._other is not None and not self._network.silent:
                self._loop.call_soon(self._other._ended)

    def _ended(self) -> None:
        if self._open:
            self._shut()
            self._events.closed("the channel was closed")
