"""Real connections on this machine, by every pair of engines."""

import asyncio
import re
import socket
from typing import Any

import pytest
from link_rooms import ANA, BOB, EVE, Member, Relayed, Room, pair

from mesh.errors import LinkError
from mesh.ids import PeerId
from mesh.transport.link import Connection, ConnectionEvents, Lane
from mesh.transport.links import engine_named

ENGINES = [("aiortc", "aiortc"), ("wrtc", "wrtc"), ("aiortc", "wrtc"), ("wrtc", "aiortc")]
every_pair = pytest.mark.parametrize(("first", "second"), ENGINES, ids=["->".join(each) for each in ENGINES])


@every_pair
async def test_messages_of_both_lanes_arrive_once_and_in_order(first: str, second: str) -> None:
    large = [bytes([index]) * (1024 * 1024) for index in range(3)]
    small = [b"%d" % index for index in range(500)]
    async with Room() as room:
        ana, bob, to_bob, to_ana = await pair(room, first, second)

        async def send_all(link: Any, lane: Lane, messages: list[bytes]) -> None:
            for message in messages:
                await link.send(lane, message)

        await asyncio.gather(
            send_all(to_bob, Lane.DATA, large),
            send_all(to_bob, Lane.CONTROL, small),
            send_all(to_ana, Lane.DATA, small),
            send_all(to_ana, Lane.CONTROL, large),
        )
        await bob.until(lambda: len(bob.got[Lane.DATA]) == 3 and len(bob.got[Lane.CONTROL]) == 500)
        await ana.until(lambda: len(ana.got[Lane.DATA]) == 500 and len(ana.got[Lane.CONTROL]) == 3)
        assert (bob.got[Lane.DATA], bob.got[Lane.CONTROL]) == (large, small)
        assert (ana.got[Lane.DATA], ana.got[Lane.CONTROL]) == (small, large)
        assert ana.lost == bob.lost == []


@every_pair
async def test_the_other_side_wants_the_link(first: str, second: str) -> None:
    async with Room() as room:
        ana, bob = room.add(ANA, first), room.add(BOB, second)
        links = await asyncio.gather(bob.links.get(ANA), bob.links.get(ANA), ana.links.get(BOB))
        assert links[0] is links[1] is bob.links.existing(ANA)
        assert links[2] is ana.links.existing(BOB)
        assert [link.peer for link in ana.linked + bob.linked] == [BOB, ANA]
        assert (links[0].name, links[2].name) == ("peer-a", "peer-b")


@every_pair
async def test_statistics(first: str, second: str) -> None:
    async with Room() as room:
        ana, bob, to_bob, _to_ana = await pair(room, first, second)
        await to_bob.send(Lane.DATA, bytes(100_000))
        await bob.until(lambda: len(bob.got[Lane.DATA]) == 1)
        await ana.until(lambda: to_bob.stats().path != "unknown")
        stats = to_bob.stats()
        assert (stats.engine, stats.path) == (first, "direct")
        assert 100_000 < stats.sent[Lane.DATA] < 101_000
        assert stats.rtt_ms is not None
        assert 0 < stats.rtt_ms < 1000
        assert stats.received[Lane.CONTROL] > 0


@every_pair
async def test_silent_stun_and_turn_servers_do_not_hold_up_a_direct_path(
    monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    async with Room() as room:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            address = "{}:{}".format(*silent.getsockname())

            async def ice_servers() -> list[dict[str, Any]]:
                return [{"urls": [f"stun:{address}", f"turn:{address}"], "username": "u", "credential": "c"}]

            monkeypatch.setattr(room, "ice_servers", ice_servers)
            async with asyncio.timeout(4.5):  # each end would wait 5 s for them
                await pair(room, first, second)


@every_pair
async def test_what_was_sent_before_close_arrives(first: str, second: str) -> None:
    async with Room() as room:
        ana, bob, to_bob, _to_ana = await pair(room, first, second)
        for index in range(20):
            await to_bob.send(Lane.DATA, bytes([index]) * 100_000)
        await to_bob.close()
        await bob.until(lambda: bob.lost != [])
        assert bob.got[Lane.DATA] == [bytes([index]) * 100_000 for index in range(20)]
        assert bob.lost == [(ANA, "the other side closed the link")]
        assert ana.lost == []
        assert ana.links.existing(BOB) is None
        with pytest.raises(LinkError):
            await to_bob.send(Lane.DATA, b"too late")


@every_pair
async def test_a_wrong_room_key_is_refused_by_both(first: str, second: str) -> None:
    async with Room() as room:
        ana, bob = room.add(ANA, first), room.add(BOB, second, key=bytes(32))
        for error in await failures(ana, bob):
            assert error.step == "handshake"
            assert "bad-proof" in str(error)
        assert ana.linked == bob.linked == []


async def failures(ana: Member, bob: Member) -> list[LinkError]:
    """What both sides say of a link that cannot be made."""
    results = await asyncio.gather(ana.links.get(BOB), bob.links.get(ANA), return_exceptions=True)
    assert all(isinstance(result, LinkError) for result in results), results
    return [result for result in results if isinstance(result, LinkError)]


@every_pair
async def test_a_swapped_fingerprint_is_refused_by_both(first: str, second: str) -> None:
    async def swap(_sender: PeerId, _to: PeerId, data: Relayed) -> Relayed:
        if data["kind"] != "offer":
            return data
        return {**data, "sdp": re.sub(r"(a=fingerprint:sha-256) \S+", r"\1 " + ":".join(["AB"] * 32), data["sdp"])}

    async with Room() as room:
        ana, bob = room.add(ANA, first), room.add(BOB, second)
        room.tamper = swap
        errors = await failures(ana, bob)
        assert {error.step for error in errors} <= {"dtls", "channel", "handshake", "refused"}
        assert ana.linked == bob.linked == []


@every_pair
async def test_a_relay_in_the_middle_is_found_out_by_both(first: str, second: str) -> None:
    """It ends both encrypted connections itself, with its own certificates, and passes every frame on."""
    async with Room() as room:
        ana, bob = room.add(ANA, first), room.add(BOB, second)
        middle = Middle(first)
        room.tamper = middle.tamper
        errors = await failures(ana, bob)
        assert [error.step for error in errors] == ["handshake", "handshake"], errors
        assert all("bad-proof" in str(error) for error in errors)
        assert middle.passed_on >= 4  # both HELLOs and both PROOFs
        await middle.close()


class Middle:
    """An eavesdropper on the relay: towards Ana it plays Bob, towards Bob Ana."""

    def __init__(self, engine: str) -> None:
        self.passed_on = 0
        to_bob, to_ana = _Side(self), _Side(self)
        to_bob.opposite, to_ana.opposite = to_ana, to_bob
        self._bob, self._ana = to_bob, to_ana
        for side in (to_bob, to_ana):
            side.connection = engine_named(engine)(side, [])

    async def tamper(self, sender: PeerId, _to: PeerId, data: Relayed) -> Relayed | None:
        if data["kind"] == "offer":
            self._answer_for_ana = await self._ana.connection.accept_offer(data["sdp"])
            return {**data, "sdp": await self._bob.connection.create_offer()}
        if data["kind"] == "answer":
            await self._bob.connection.accept_answer(data["sdp"])
            return {**data, "sdp": self._answer_for_ana}
        if data["kind"] == "candidate":
            await (self._ana if sender == ANA else self._bob).connection.add_candidate(data["candidate"])
            return None
        return data

    async def close(self) -> None:
        await self._ana.connection.close()
        await self._bob.connection.close()


class _Side(ConnectionEvents):
    opposite: "_Side"
    connection: Connection

    def __init__(self, middle: Middle) -> None:
        self._middle = middle
        self._open = False
        self._waiting: list[tuple[Lane, bytes]] = []

    def opened(self) -> None:
        self._open = True
        for lane, frame in self._waiting:
            self.connection.send(lane, frame)

    def frame(self, lane: Lane, frame: bytes | str) -> None:
        assert isinstance(frame, bytes)
        self._middle.passed_on += 1
        self.opposite.pass_on(lane, frame)

    def pass_on(self, lane: Lane, frame: bytes) -> None:
        if self._open:
            self.connection.send(lane, frame)
        else:
            self._waiting.append((lane, frame))

    def writable(self, lane: Lane) -> None:
        pass

    def candidate(self, candidate: Any) -> None:
        pass  # the other side's checks find it

    def closed(self, reason: str) -> None:
        pass


async def test_a_grant_that_only_watches_links_and_is_seen() -> None:
    async with Room() as room:
        ana, bob = room.add(ANA, "auto", grant="watch"), room.add(BOB, "auto")
        await ana.links.get(BOB)
        assert (await bob.links.get(ANA)).grant.can == {"watch"}
        assert (await ana.links.get(BOB)).grant.can == {"submit", "work"}


async def test_a_forged_grant_is_refused_by_both() -> None:
    async with Room() as room:
        ana, bob = room.add(ANA, "auto", grant="forged"), room.add(BOB, "auto")
        for error in await failures(ana, bob):
            assert error.step == "handshake"
            assert "bad-grant" in str(error)


async def test_somebody_else_than_the_expected_peer_is_refused() -> None:
    """The relay brings Ana's offer to Eve, who is in the room too."""

    async def mislead(sender: PeerId, to: PeerId, data: Relayed) -> Relayed | None:
        target = {ANA: EVE, EVE: ANA}[sender]
        await room.members[target].links.relay(ANA if sender == ANA else BOB, data)
        return None

    async with Room() as room:
        ana, _bob, eve = room.add(ANA, "auto"), room.add(BOB, "auto"), room.add(EVE, "auto")
        room.tamper = mislead
        with pytest.raises(LinkError, match="wrong-peer"):
            await ana.links.get(BOB)
        assert ana.linked == eve.linked == []
