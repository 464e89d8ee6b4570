"""Peers of a room in this process, with a relay between them that can be made to lie."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from mesh.errors import ProtocolError, SignalingError
from mesh.ids import PeerId, PeerName
from mesh.limits import CLOSE_TIMEOUT_S
from mesh.protocol.grants import Grant
from mesh.transport.link import Lane, Link
from mesh.transport.links import Links, Me
from mesh.transport.negotiation import Engine

KEY = bytes(range(32))
ANA, BOB, EVE = (PeerId(digit * 16) for digit in "abe")

type Relayed = dict[str, Any]
type Tamper = Callable[[PeerId, PeerId, Relayed], Awaitable[Relayed | None]]


def verify(text: str) -> Grant:
    """Of these tests: ``submit+work`` is a grant for both; ``forged`` is none."""
    if text == "forged":
        raise ProtocolError("bad-grant", "not signed by the owner of the room")
    return Grant("room", "someone", frozenset(text.split("+")), 2**31, "1")


class Member:
    """A peer with its links, and everything that they reported."""

    def __init__(self, room: "Room", peer: PeerId, engine: str | Engine, key: bytes, grant: str) -> None:
        self.peer = peer
        self.got: dict[Lane, list[bytes]] = {lane: [] for lane in Lane}
        self.suspected: list[tuple[PeerId, str]] = []
        self.resumed: list[PeerId] = []
        self.lost: list[tuple[PeerId, str]] = []
        self.linked: list[Link] = []
        self.news = asyncio.Event()
        self.handle: Callable[[bytes], None] | None = None
        self.links = Links(
            Me(peer, PeerName(f"peer-{peer[0]}"), key, grant, verify),
            send_relay=lambda to, data: room.relay(peer, to, data),
            ice_servers=room.ice_servers,
            engine=engine,
            on_message=self._message,
            on_suspect=self._suspect,
            on_resumed=self._resumed,
            on_lost=self._lost,
            on_link=self._link,
            on_path=lambda _link: self.news.set(),
        )

    def _message(self, link: Link, lane: Lane, message: bytes) -> None:
        assert link in self.linked
        self.got[lane].append(message)
        self.news.set()
        if self.handle is not None:
            self.handle(message)

    def _suspect(self, link: Link, reason: str) -> None:
        self.suspected.append((link.peer, reason))
        self.news.set()

    def _resumed(self, link: Link) -> None:
        self.resumed.append(link.peer)
        self.news.set()

    def _lost(self, link: Link, reason: str) -> None:
        self.lost.append((link.peer, reason))
        self.news.set()

    def _link(self, link: Link) -> None:
        self.linked.append(link)
        self.news.set()

    async def until(self, met: Callable[[], bool], *, within_s: float = 10.0) -> None:
        """Waits until something reported makes ``met`` true."""
        async with asyncio.timeout(within_s):
            while not met():
                self.news.clear()
                await self.news.wait()


class Room:
    """``async with Room() as room``; everything relayed passes ``tamper``, which may change or swallow it."""

    def __init__(self) -> None:
        self.members: dict[PeerId, Member] = {}
        self.tamper: Tamper | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, peer: PeerId, engine: str | Engine, *, key: bytes = KEY, grant: str = "submit+work") -> Member:
        self.members[peer] = member = Member(self, peer, engine, key, grant)
        return member

    async def relay(self, sender: PeerId, to: PeerId, data: Relayed) -> None:
        if to not in self.members:
            raise SignalingError("unknown-peer", f"no peer {to} is in the room")
        changed = data if self.tamper is None else await self.tamper(sender, to, data)
        if changed is not None:
            task = asyncio.create_task(self.members[to].links.relay(sender, changed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def ice_servers(self) -> list[dict[str, Any]]:
        return []

    async def __aenter__(self) -> "Room":
        return self

    async def __aexit__(self, *_: object) -> None:
        async with asyncio.timeout(4 * CLOSE_TIMEOUT_S):
            await asyncio.gather(*(member.links.close() for member in self.members.values()))
            await asyncio.gather(*self._tasks)


async def pair(room: Room, first: str | Engine, second: str | Engine) -> tuple[Member, Member, Link, Link]:
    """Two linked members, the offerer first, and their links."""
    ana, bob = room.add(ANA, first), room.add(BOB, second)
    to_bob = await ana.links.get(BOB)
    to_ana = await bob.links.get(ANA)
    return ana, bob, to_bob, to_ana
