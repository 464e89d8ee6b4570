"""Peers of a room whose signaling server is gone: links are made and rebuilt through a common neighbour."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from processes import Room

from mesh.errors import LinkError
from mesh.ids import PeerId, PeerName, RunId
from mesh.peer.network import Network
from mesh.protocol import messages
from mesh.transport.link import Link
from mesh.transport.session_link import SessionLink
from signaling_server.server import Config, serve

OFFER: dict[str, Any] = {
    "kind": "server",
    "runtimes": [],
    "types": [],
    "caps": {"cores": 1, "arch": "x", "memory_gb": 1, "labels": {}},
    "slots": 1,
    "speed": {},
}
PIPELINE = {"version": "v1", "nodes": [{"id": "n", "node_type": "Nobody"}]}


class Member:
    """A peer, and what its network tells it."""

    def __init__(self, invite: str, name: str, engine: str) -> None:
        self.got: list[int] = []
        self.gone: list[PeerId] = []
        self.changes = 0
        self.network = Network(
            invite,
            name=PeerName(name),
            announce=OFFER,
            receiver=self,
            engine=engine,
            ice_servers=(),
            load=lambda: 0.0,
            log=lambda _: None,
        )

    @property
    def id(self) -> PeerId:
        return self.network.signaling.peer

    def received(self, link: Link, message: messages.RunMessage) -> None:
        assert isinstance(message, messages.Ready)
        self.got.append(message.epoch)

    def say(self, to: "Member", number: int) -> None:
        self.network.post(to.id, messages.Ready(self.id, RunId("r"), number))

    def suspected(self, peer: PeerId, reason: str, *, died: bool) -> None: ...

    def linked(self, peer: PeerId) -> None: ...

    def joined(self, peer: PeerId) -> None: ...

    def room_changed(self) -> None:
        self.changes += 1

    def lost(self, peer: PeerId, reason: str, *, died: bool) -> None:
        self.gone.append(peer)

    async def cut(self, other: "Member") -> None:
        """Closes the connection under the link, as an engine does it that lost its network."""
        assert self.network._links is not None
        link = self.network._links.existing(other.id)
        assert isinstance(link, SessionLink)
        await until(lambda: link.carrier is not None)
        assert link.carrier is not None
        assert link.carrier.connection is not None
        await link.carrier.connection.close()


@asynccontextmanager
async def introduced(invite: str, *engines: str) -> AsyncIterator[list[Member]]:
    """Peers that know one another; the first has links to all."""
    async with AsyncExitStack() as stack:
        made = [Member(invite, f"peer-{at}", engine) for at, engine in enumerate(engines)]
        for member in made:
            await member.network.open()
            stack.push_async_callback(member.network.close)
        await until(lambda: all(len(each.network.signaling.peers) == len(made) - 1 for each in made))
        for member in made[1:]:
            await made[0].network.link(member.id)
        yield made


@asynccontextmanager
async def alone(*engines: str) -> AsyncIterator[list[Member]]:
    """Such peers, whose server is gone."""
    async with AsyncExitStack() as stack:
        async with serve(Config(port=0)) as server:
            made = await stack.enter_async_context(introduced(server.invites["all"], *engines))
        await until(lambda: not any(each.network.signaling.connected for each in made))
        yield made


async def until(met: Callable[[], bool], *, seconds: float = 10) -> None:
    for _ in range(round(seconds / 0.01)):
        if met():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen in time")


@pytest.mark.parametrize(
    "engines", [("aiortc", "wrtc", "aiortc"), ("wrtc", "aiortc", "wrtc"), ("wrtc", "wrtc", "wrtc")]
)
async def test_a_link_is_made_and_rebuilt_through_a_neighbour_of_both(engines: tuple[str, str, str]) -> None:
    async with alone(*engines) as (_, ana, bob):
        await ana.network.link(bob.id)
        for number in range(20):
            ana.say(bob, number)
            if number in (5, 12):
                await (ana, bob)[number % 2].cut((bob, ana)[number % 2])
            await asyncio.sleep(0.01)
        await until(lambda: len(bob.got) == 20)
        assert bob.got == list(range(20))
        assert ana.gone == bob.gone == []


async def test_a_newcomer_is_answered_before_the_registry_tells_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever the server lets speak it also reaches; the neighbours of others do not know the newcomer either."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(Config(port=0)))
        ana, _ = await stack.enter_async_context(introduced(server.invites["all"], "wrtc", "wrtc"))
        monkeypatch.setattr("signaling_server.server.PRESENCE_INTERVAL_S", 60.0)
        await asyncio.sleep(0.2)  # the last short interval
        for number in range(4):  # whose ids are smaller than Ana's, or greater: either side offers
            member = Member(server.invites["all"], f"new-{number}", "wrtc")
            await member.network.open()
            stack.push_async_callback(member.network.close)
            await asyncio.wait_for(member.network.link(ana.id), 5)
            assert member.id not in ana.network.signaling.peers


async def test_what_a_peer_offers_anew_is_told() -> None:
    async with (
        serve(Config(port=0)) as server,
        introduced(server.invites["all"], "wrtc", "wrtc") as (ana, bob),
    ):
        before, changes = ana.network.offers(), ana.changes
        bob.network.signaling.announce({**OFFER, "runtimes": ["wasm"]})
        await until(lambda: ana.changes > changes)
        assert ana.network.offers() != before


async def test_without_a_common_neighbour_there_is_no_way() -> None:
    async with alone("wrtc", "wrtc", "wrtc") as (driver, ana, bob):
        await driver.network.close()
        await until(lambda: ana.gone == [driver.id])
        with pytest.raises(LinkError, match="is away"):
            await ana.network.link(bob.id)


@pytest.mark.parametrize("offers", [True, False])
async def test_a_server_that_stands_still_is_done_without(room: Room, offers: bool) -> None:
    async with introduced(room.invites["all"], "wrtc", "wrtc", "aiortc") as (driver, ana, bob):
        room.server.process.send_signal(signal.SIGSTOP)
        try:
            first, second = sorted((ana, bob), key=lambda member: member.id, reverse=not offers)
            await first.network.link(second.id)
            assert not (ana.network.signaling.connected and bob.network.signaling.connected)
            planner = driver if offers else first  # one that has not noticed yet, or one that has
            planned = await planner.network.plan(PIPELINE, pins={}, without=(), apart=(), announce=OFFER)
            assert [fault["path"] for fault in planned["faults"]] == ["nodes[0].node_type"]
        finally:
            room.server.process.send_signal(signal.SIGCONT)
        await until(lambda: ana.network.signaling.connected and bob.network.signaling.connected)
