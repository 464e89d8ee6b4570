"""Links whose connections break: over the in-process network with seeded breaks, and over every pair of engines."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from link_rooms import ANA, BOB, Member, Relayed, Room, pair
from test_links import every_pair

from mesh.errors import LinkError
from mesh.ids import PeerId
from mesh.limits import LANE_HIGH_WATER_BYTES, SUSPECT_AFTER_S
from mesh.transport import links as links_module
from mesh.transport.link import Lane, Link
from mesh.transport.memory import MemoryNetwork
from mesh.transport.session_link import SessionLink


async def send_all(link: Link, lane: Lane, messages: list[bytes]) -> None:
    for message in messages:
        await link.send(lane, message)


async def got_all(member: Member, sent: list[bytes]) -> None:
    """Everything arrives on both lanes, once and in order."""
    await member.until(lambda: all(len(member.got[lane]) >= len(sent) for lane in Lane))
    assert member.got == dict.fromkeys(Lane, sent)


async def cut(member: Member, peer: PeerId) -> None:
    """Closes the connection under the link, as an engine does it that lost its network."""
    link = member.links.existing(peer)
    assert isinstance(link, SessionLink)
    if link.carrier is not None and link.carrier.connection is not None:
        await link.carrier.connection.close()


async def cut_again_and_again(cut_once: Callable[[], Awaitable[None]], *, every_s: float, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(every_s)
        await cut_once()


@pytest.mark.parametrize("seed", range(12))
async def test_seeded_breaks_lose_double_and_reorder_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.protocol.session.SUSPECT_AFTER_S", 0.3)  # where one end only is told of a break
    monkeypatch.setattr("mesh.protocol.session.HEARTBEAT_S", 0.1)
    monkeypatch.setattr(links_module, "RESUME_PAUSE_S", 0.01)
    monkeypatch.setattr(links_module, "RESUME_ATTEMPT_S", 0.3)
    rnd = random.Random(seed)
    sent = [rnd.randbytes(rnd.choice([1, 100, 20_000, 300_000])) for _ in range(80)]

    async def break_one() -> None:
        network.break_one()

    async with Room() as room:
        network = MemoryNetwork(seed=seed, delay_s=0.001)
        ana, bob, to_bob, to_ana = await pair(room, network.connect, network.connect)
        breaking = asyncio.create_task(cut_again_and_again(break_one, every_s=0.03, times=12))
        await asyncio.gather(*(send_all(link, lane, sent) for link in (to_bob, to_ana) for lane in Lane))
        for member in (ana, bob):
            await got_all(member, sent)
        await breaking
        assert (ana.lost, bob.lost, len(ana.linked), len(bob.linked)) == ([], [], 1, 1)
        assert len(network._ends) > 2  # of other connections than the first


@every_pair
async def test_a_connection_that_breaks_within_a_large_message(first: str, second: str) -> None:
    large = random.Random(1).randbytes(64 * 1024 * 1024)
    async with Room() as room:
        ana, bob, to_bob, to_ana = await pair(room, first, second)
        sending = asyncio.gather(to_bob.send(Lane.DATA, large), send_all(to_ana, Lane.DATA, [b"x"] * 100))
        await until_received(to_ana, 20 * 1024 * 1024)
        await cut(ana, BOB)
        await until_received(to_ana, 40 * 1024 * 1024)
        await cut(bob, ANA)
        await bob.until(lambda: len(bob.got[Lane.DATA]) == 1, within_s=60)
        await sending
        await ana.until(lambda: len(ana.got[Lane.DATA]) == 100)
        assert bob.got[Lane.DATA] == [large]
        assert (ana.lost, bob.lost, len(ana.linked), len(bob.linked)) == ([], [], 1, 1)


async def until_received(link: Link, size: int) -> None:
    for _ in range(6000):
        if link.stats().received[Lane.DATA] >= size:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{size} bytes did not come")


@every_pair
async def test_connections_that_break_under_thousands_of_messages(first: str, second: str) -> None:
    rnd = random.Random(2)
    sent = [b"%d" % index * (1 + index % 50) for index in range(6000)]
    async with Room() as room:
        ana, bob, to_bob, to_ana = await pair(room, first, second)

        async def cut_one() -> None:
            await cut(*rnd.choice(((ana, BOB), (bob, ANA))))

        breaking = asyncio.create_task(cut_again_and_again(cut_one, every_s=0.1, times=3))
        await asyncio.gather(*(send_all(link, lane, sent) for link in (to_bob, to_ana) for lane in Lane))
        await breaking
        for member in (ana, bob):
            await got_all(member, sent)
        assert (ana.lost, bob.lost, len(ana.linked), len(bob.linked)) == ([], [], 1, 1)


async def test_a_network_that_heals_in_time_costs_nothing() -> None:
    async with Room() as room:
        network = MemoryNetwork()
        ana, bob, to_bob, _ = await pair(room, network.connect, network.connect)
        network.cut()
        await to_bob.send(Lane.DATA, b"meanwhile")
        await ana.until(lambda: ana.suspected != [])
        await bob.until(lambda: bob.suspected != [])
        network.heal()
        await bob.until(lambda: bob.got[Lane.DATA] == [b"meanwhile"], within_s=5)
        assert ana.lost == bob.lost == []
        assert ana.links.existing(BOB) is to_bob


async def test_a_silent_connection_goes_on_where_no_other_can_be_had() -> None:
    async def swallow(_sender: PeerId, _to: PeerId, _data: Relayed) -> None:
        return None

    async with Room() as room:
        network = MemoryNetwork()
        ana, bob, to_bob, to_ana = await pair(room, network.connect, network.connect)
        room.tamper = swallow
        network.cut()
        await to_bob.send(Lane.DATA, b"meanwhile")
        await ana.until(lambda: ana.suspected != [])
        await bob.until(lambda: bob.suspected != [])
        assert ana.links.connected() == bob.links.connected() == []
        network.heal()
        await bob.until(lambda: bob.got[Lane.DATA] == [b"meanwhile"], within_s=2)
        await ana.until(lambda: ana.resumed == [BOB] and bob.resumed == [ANA], within_s=2)
        assert (ana.links.connected(), bob.links.connected()) == ([to_bob], [to_ana])
        assert ana.lost == bob.lost == []


async def test_who_left_the_room_is_lost_when_it_is_silent_and_not_before() -> None:
    async with Room() as room:
        network = MemoryNetwork()
        ana, _bob, _, _ = await pair(room, network.connect, network.connect)
        ana.links.gone(BOB)
        assert ana.lost == []
        network.cut()
        await ana.until(lambda: ana.suspected != [], within_s=SUSPECT_AFTER_S + 1)
        ana.links.gone(BOB)
        assert ana.lost == [(BOB, "its connection is gone, and it left the room")]
        assert ana.links.existing(BOB) is None
        network.heal()


async def test_a_side_that_does_not_know_the_session_any_more_begins_a_new_one() -> None:
    async with Room() as room:
        network = MemoryNetwork()
        ana, bob, to_bob, _ = await pair(room, network.connect, network.connect)
        await to_bob.send(Lane.DATA, b"old")
        await bob.until(lambda: bob.got[Lane.DATA] == [b"old"])
        again = room.add(BOB, network.connect)  # a process of the same key takes the place of the one before
        await cut(bob, ANA)
        await ana.until(lambda: len(ana.linked) == 2)
        assert ana.lost == [(BOB, "another link took its place")]
        with pytest.raises(LinkError, match="another link took its place"):
            await to_bob.send(Lane.DATA, b"lost")
        await ana.linked[1].send(Lane.DATA, b"new")
        await again.until(lambda: again.got[Lane.DATA] == [b"new"])
        bob.links.gone(ANA)


async def test_the_proof_and_the_servers_are_new_for_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    offers: list[Relayed] = []

    async def ice_servers() -> list[dict[str, object]]:
        nonlocal asked
        asked += 1
        return []

    async def note(_sender: PeerId, _to: PeerId, data: Relayed) -> Relayed:
        offers.extend([data] if data["kind"] == "offer" else [])
        return data

    async with Room() as room:
        monkeypatch.setattr(room, "ice_servers", ice_servers)
        room.tamper = note
        network = MemoryNetwork()
        ana, bob, to_bob, _ = await pair(room, network.connect, network.connect)
        await cut(ana, BOB)
        await to_bob.send(Lane.CONTROL, b"x")
        await bob.until(lambda: bob.got[Lane.CONTROL] == [b"x"])
        assert asked == 4
        assert len({offer["connection"] for offer in offers}) == len({offer["sdp"] for offer in offers}) == 2


async def test_a_relay_that_is_away_for_a_while_delays_a_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def swallow(_sender: PeerId, _to: PeerId, _data: Relayed) -> None:
        return None

    monkeypatch.setattr(links_module, "RESUME_ATTEMPT_S", 0.2)
    async with Room() as room:
        network = MemoryNetwork()
        ana, bob, to_bob, _ = await pair(room, network.connect, network.connect)
        room.tamper = swallow
        await cut(bob, ANA)
        await to_bob.send(Lane.CONTROL, b"x")
        await asyncio.sleep(1)
        assert bob.got[Lane.CONTROL] == []
        room.tamper = None
        await bob.until(lambda: bob.got[Lane.CONTROL] == [b"x"])
        assert ana.lost == bob.lost == []


async def test_a_link_without_a_connection_holds_its_senders_and_closes() -> None:
    asked = asyncio.Event()

    async def swallow(sender: PeerId, _to: PeerId, _data: Relayed) -> None:
        if sender == ANA:
            asked.set()

    async with Room() as room:
        network = MemoryNetwork()
        ana, bob, to_bob, _ = await pair(room, network.connect, network.connect)
        room.tamper = swallow
        await cut(ana, BOB)
        sending = asyncio.create_task(send_all(to_bob, Lane.DATA, [bytes(64 * 1024)] * 100))
        await asyncio.wait_for(asked.wait(), 5)  # for another connection
        await asyncio.sleep(0.05)
        assert to_bob._session.backlog(Lane.DATA) < 2 * LANE_HIGH_WATER_BYTES
        await to_bob.close()
        with pytest.raises(LinkError):
            await sending
        assert ana.lost == []
        await bob.until(lambda: bob.suspected != [])
