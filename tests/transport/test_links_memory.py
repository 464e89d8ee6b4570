"""How links are made, kept and lost, over the in-process network, where every order of events can be had."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from link_rooms import ANA, BOB, EVE, Member, Relayed, Room, pair

from mesh.errors import LinkError, ProtocolError, ValueFault
from mesh.ids import PeerId
from mesh.limits import LANE_HIGH_WATER_BYTES, MAX_LINKS, SESSION_WINDOW_BYTES
from mesh.transport import links as links_module
from mesh.transport import session_link
from mesh.transport.link import ConnectionEvents, Lane
from mesh.transport.memory import MemoryConnection, MemoryNetwork


async def linked(room: Room, network: MemoryNetwork) -> tuple[Member, Member]:
    ana, bob, _, _ = await pair(room, network.connect, network.connect)
    return ana, bob


@pytest.mark.parametrize("seed", range(5))
async def test_traffic_with_delays_arrives_once_and_in_order(seed: int) -> None:
    rnd = random.Random(seed)
    sent = [rnd.randbytes(rnd.choice([1, 100, 20_000, 300_000])) for _ in range(60)]
    async with Room() as room:
        network = MemoryNetwork(seed=seed, delay_s=0.002)
        ana, bob, to_bob, to_ana = await pair(room, network.connect, network.connect)
        ways = ((to_bob, Lane.DATA), (to_bob, Lane.CONTROL), (to_ana, Lane.DATA))
        await asyncio.gather(*(link.send(lane, message) for link, lane in ways for message in sent))
        await bob.until(lambda: len(bob.got[Lane.DATA]) == len(bob.got[Lane.CONTROL]) == len(sent))
        await ana.until(lambda: len(ana.got[Lane.DATA]) == len(sent))
        assert bob.got == {Lane.DATA: sent, Lane.CONTROL: sent}
        assert ana.got == {Lane.DATA: sent, Lane.CONTROL: []}


async def test_small_messages_share_frames() -> None:
    async with Room() as room:
        network = MemoryNetwork()
        _ana, bob, to_bob, _ = await pair(room, network.connect, network.connect)
        await asyncio.gather(*(to_bob.send(Lane.DATA, b"x" * 20) for _ in range(1000)))
        await bob.until(lambda: len(bob.got[Lane.DATA]) == 1000)
        assert to_bob.stats().sent[Lane.DATA] < 1000 * 20 + 1000 * 12 + 100


async def test_a_silent_peer_is_suspected_after_three_seconds_then_lost_and_holds_its_sender(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_link, "RESUME_TIMEOUT_S", 1.0)
    async with Room() as room:
        network = MemoryNetwork()
        ana, bob, to_bob, _ = await pair(room, network.connect, network.connect)
        accepted = 0

        async def send_on() -> None:
            nonlocal accepted
            while True:
                await to_bob.send(Lane.DATA, bytes(64 * 1024))
                accepted += 64 * 1024

        network.cut()
        started = asyncio.get_running_loop().time()
        sending = asyncio.create_task(send_on())
        await ana.until(lambda: ana.suspected == [(BOB, "nothing was heard of it any more")])
        assert 2 < asyncio.get_running_loop().time() - started < 4
        assert ana.links.existing(BOB) is to_bob
        with pytest.raises(LinkError, match="no new connection stood within 1 s"):
            await sending
        assert accepted < SESSION_WINDOW_BYTES + 2 * LANE_HIGH_WATER_BYTES
        reason = "nothing was heard of it any more, and no new connection stood within 1 s"
        assert ana.lost == [(BOB, reason)]
        assert ana.links.existing(BOB) is None
        await bob.until(lambda: bob.lost == [(ANA, reason)])


async def test_a_cancelled_sender_harms_nobody() -> None:
    async with Room() as room:
        network = MemoryNetwork(delay_s=0.01)
        _ana, bob, to_bob, _ = await pair(room, network.connect, network.connect)
        senders = [asyncio.create_task(to_bob.send(Lane.DATA, bytes([index]) * 400_000)) for index in range(6)]
        await asyncio.sleep(0)
        senders[3].cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        await to_bob.send(Lane.DATA, b"end")
        await bob.until(lambda: b"end" in bob.got[Lane.DATA])
        order = [message[0] for message in bob.got[Lane.DATA][:-1]]
        assert order == sorted(order)
        assert set(order) >= {0, 1, 2, 4, 5}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ProtocolError("bad-message", "no such run"), "the other side says bad-message: no such run"),
        (ValueFault("[2]: no value"), "the other side says bad-message: [2]: no value"),
        (KeyError("bug"), "the other side says bad-message: it could not be handled: KeyError('bug')"),
    ],
)
async def test_a_message_that_cannot_be_handled_ends_the_link(error: Exception, reason: str) -> None:
    def handle(_message: bytes) -> None:
        raise error

    async with Room() as room:
        ana, bob = await linked(room, MemoryNetwork())
        bob.handle = handle
        await (await ana.links.get(BOB)).send(Lane.CONTROL, b"x")
        await ana.until(lambda: ana.lost == [(BOB, reason)])
        assert len(bob.lost) == 1


async def test_a_message_too_long_is_the_senders_error_and_the_link_lives() -> None:
    async with Room() as room:
        ana, bob = await linked(room, MemoryNetwork())
        link = await ana.links.get(BOB)
        with pytest.raises(ProtocolError, match="too-large"):
            await link.send(Lane.CONTROL, bytes(4 * 1024 * 1024 + 1))
        await link.send(Lane.CONTROL, b"x")
        await bob.until(lambda: bob.got[Lane.CONTROL] == [b"x"])


async def test_a_peer_that_lost_its_link_gets_a_new_one() -> None:
    """Bob starts anew; Ana's old link is replaced as soon as the new one is proven, and not before."""
    async with Room() as room:
        network = MemoryNetwork()
        ana, _bob = await linked(room, network)
        old = ana.links.existing(BOB)
        again = room.add(BOB, network.connect)
        await again.links.get(ANA)
        assert ana.lost == [(BOB, "another link took its place")]
        assert ana.links.existing(BOB) not in (None, old)
        await (await ana.links.get(BOB)).send(Lane.DATA, b"new")
        await again.until(lambda: again.got[Lane.DATA] == [b"new"])


async def test_a_lying_want_does_not_cost_a_link() -> None:
    async with Room() as room:
        ana, bob = await linked(room, MemoryNetwork())
        link = ana.links.existing(BOB)
        room.tamper = _swallow
        await ana.links.relay(BOB, {"kind": "want"})
        await asyncio.sleep(0.05)
        assert ana.links.existing(BOB) is link
        assert ana.lost == bob.lost == []


async def _swallow(_sender: PeerId, _to: PeerId, _data: Relayed) -> None:
    return None


async def test_no_answer_is_said_to_be_signalings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_module, "LINK_TIMEOUT_S", 0.1)
    async with Room() as room:
        network = MemoryNetwork()
        ana, bob = room.add(ANA, network.connect), room.add(BOB, network.connect)
        room.tamper = _swallow
        for member, other in ((ana, BOB), (bob, ANA)):
            with pytest.raises(LinkError, match="no description of its end") as caught:
                await member.links.get(other)
            assert caught.value.step == "signaling"


async def test_a_connection_that_does_not_open_says_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(MemoryConnection):
        async def accept_answer(self, sdp: str) -> None:
            self.step = "dtls"

    monkeypatch.setattr(links_module, "LINK_TIMEOUT_S", 0.1)
    async with Room() as room:
        network = MemoryNetwork()
        ana = room.add(ANA, lambda events, servers: Stuck(network, events, servers))
        bob = room.add(BOB, network.connect)
        wanted = asyncio.create_task(bob.links.get(ANA))
        with pytest.raises(LinkError, match="no encrypted connection") as caught:
            await ana.links.get(BOB)
        assert caught.value.step == "dtls"
        with pytest.raises(LinkError, match=r"ice: no link|gave up: dtls"):
            await wanted


async def test_a_peer_that_is_not_there_fails_at_once() -> None:
    async with Room() as room:
        ana = room.add(ANA, MemoryNetwork().connect)
        with pytest.raises(LinkError, match="unknown-peer"):
            await ana.links.get(BOB)
        with pytest.raises(LinkError, match="no link to itself"):
            await ana.links.get(ANA)


async def test_ice_servers_that_are_none_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> list[dict[str, Any]]:
        return [{"url": "stun:misspelled"}]

    async with Room() as room:
        monkeypatch.setattr(room, "ice_servers", broken)
        ana = room.add(ANA, MemoryNetwork().connect)
        room.add(BOB, MemoryNetwork().connect)
        with pytest.raises(LinkError, match="signaling: KeyError"):
            await ana.links.get(BOB)


async def test_links_are_limited_and_the_other_side_is_told() -> None:
    async with Room() as room:
        network = MemoryNetwork()
        eve = room.add(EVE, network.connect)
        members = [room.add(PeerId(f"{index:016x}"), network.connect) for index in range(MAX_LINKS + 1)]
        await asyncio.gather(*(member.links.get(EVE) for member in members[:MAX_LINKS]))
        assert len(eve.linked) == MAX_LINKS
        with pytest.raises(LinkError, match=f"gave up: link: this peer has {MAX_LINKS} links already"):
            await members[-1].links.get(EVE)
        with pytest.raises(LinkError, match="links already"):
            await eve.links.get(members[-1].peer)


async def test_candidates_that_come_before_their_description_are_kept() -> None:
    added: list[Mapping[str, Any]] = []

    class Noting(MemoryConnection):
        async def add_candidate(self, candidate: Mapping[str, Any]) -> None:
            assert self._other is not None, "the description is not there yet"
            added.append(candidate)

    async def overtake(sender: PeerId, to: PeerId, data: Relayed) -> Relayed:
        if data["kind"] in ("offer", "answer"):
            for candidate in ("one", "two"):
                early = {"kind": "candidate", "connection": data["connection"], "candidate": {"candidate": candidate}}
                await room.members[to].links.relay(sender, early)
        return data

    async with Room() as room:
        network = MemoryNetwork()
        ana = room.add(ANA, lambda events, servers: Noting(network, events, servers))
        room.add(BOB, lambda events, servers: Noting(network, events, servers))
        room.tamper = overtake
        await ana.links.get(BOB)
        assert [each["candidate"] for each in added] == ["one", "two", "one", "two"]


TURN = {"urls": ["stun:stun.example", "turn:turn.example"], "username": "u", "credential": "c"}


async def test_aiortc_tries_without_turn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer is lost: after a while comes a second offer, with TURN."""
    offers: list[Relayed] = []
    servers: list[list[str]] = []

    async def lose_first(_sender: PeerId, _to: PeerId, data: Relayed) -> Relayed | None:
        if data["kind"] == "offer":
            offers.append(data)
        return None if data["kind"] == "answer" and len(offers) == 1 else data

    async def ice_servers() -> list[dict[str, Any]]:
        return [TURN]

    async def every(servers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return servers

    network = MemoryNetwork()

    def engine(events: ConnectionEvents, ice: Sequence[Mapping[str, Any]]) -> MemoryConnection:
        servers.append([url for server in ice for url in server["urls"]])
        return network.connect(events, ice)

    monkeypatch.setattr(links_module, "AiortcConnection", engine)
    monkeypatch.setattr(links_module, "pick", every)
    monkeypatch.setattr(links_module, "DIRECT_FIRST_S", 0.05)
    async with Room() as room:
        room.tamper = lose_first
        monkeypatch.setattr(room, "ice_servers", ice_servers)
        ana, bob = room.add(ANA, engine), room.add(BOB, engine)
        await ana.links.get(BOB)
        await bob.links.get(ANA)
        assert [offer["direct"] for offer in offers] == [True, False]
        assert servers == [["stun:stun.example"], ["stun:stun.example"], TURN["urls"], TURN["urls"]]
        assert len(ana.linked) == len(bob.linked) == 1


async def test_nonsense_from_the_relay_is_ignored() -> None:
    rnd = random.Random(1)
    kinds = ["want", "offer", "answer", "candidate", "refuse", "", 7, None]
    odd = [None, 1, "x", "x" * 70_000, [], {}, {"candidate": "x"}, {"candidate": 1}]
    async with Room() as room:
        ana, bob = await linked(room, MemoryNetwork())
        for _ in range(500):
            data: Any = {"kind": rnd.choice(kinds)}
            for field in ("connection", "sdp", "candidate", "message", "direct"):
                if rnd.random() < 0.6:
                    data[field] = rnd.choice(odd)
            for sender in (ANA, BOB, EVE):
                await ana.links.relay(sender, rnd.choice([data, rnd.choice(odd)]))
                await bob.links.relay(sender, data)
        assert sum(map(len, ana.links._early.values())) < 200
        await (await ana.links.get(BOB)).send(Lane.DATA, b"still there")
        await bob.until(lambda: bob.got[Lane.DATA] == [b"still there"])


async def test_descriptions_of_anything_but_data_channels_are_refused() -> None:
    async def with_video(_sender: PeerId, _to: PeerId, data: Relayed) -> Relayed:
        return {**data, "sdp": data["sdp"] + "m=video 9 x y\r\n"} if "sdp" in data else data

    async with Room() as room:
        network = MemoryNetwork()
        ana = room.add(ANA, network.connect)
        room.add(BOB, network.connect)
        room.tamper = with_video
        with pytest.raises(LinkError, match="not of data channels alone"):
            await ana.links.get(BOB)
