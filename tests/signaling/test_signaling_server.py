"""The server and the Python client over loopback: real sockets, real time."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from signaling_world import announcement, keys
from websockets.asyncio.client import ClientConnection, connect

from mesh.errors import SignalingError, ValueFault
from mesh.ids import PeerName
from mesh.protocol.grants import Invite, RoomKeys, sign_join
from mesh.transport.signaling import SignalingClient
from signaling_server.server import Config, Server, serve

MANIFEST = json.dumps(
    {"version": "v1", "metadata": {"name": "x"}, "nodes": [{"id": "n", "node_type": "PassThrough"}], "connections": []}
)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve(Config(port=0)) as running:
        yield running


@asynccontextmanager
async def joined(server: Server, name: str, *, right: str = "all", **options: Any) -> AsyncIterator[SignalingClient]:
    offer = options.pop("announce", announcement())
    client = SignalingClient(Invite.parse(server.invites[right]), name=PeerName(name), announce=offer, **options)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def until(condition: Callable[[], Any], *, seconds: float = 3.0) -> float:
    """Waits for ``condition``; answers how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return time.monotonic() - began
            await asyncio.sleep(0.01)


@asynccontextmanager
async def raw(server: Server, name: str, key: Ed25519PrivateKey | None = None) -> AsyncIterator[ClientConnection]:
    """A joined connection that does nothing by itself: no heartbeat."""
    invite = Invite.parse(server.invites["all"])
    key = key or Ed25519PrivateKey.generate()
    async with connect(invite.websocket, compression=None, ping_interval=None) as connection:
        nonce = json.loads(await connection.recv())["nonce"]
        message = {
            "type": "join",
            "version": 1,
            "room": invite.room,
            "owner": invite.owner_key.hex(),
            "grant": invite.grant,
            "name": name,
            "key": key.public_key().public_bytes_raw().hex(),
            "signature": sign_join(key, invite.room, nonce),
            "announce": announcement(),
        }
        await connection.send(json.dumps(message))
        assert json.loads(await connection.recv())["type"] == "joined"
        yield connection


class TestRoom:
    async def test_peers_see_each_other(self, server: Server) -> None:
        changes: list[tuple[Any, ...]] = []
        async with joined(server, "ada", on_presence=lambda *change: changes.append(change)) as ada:
            async with joined(server, "bea") as bea:
                assert bea.peers[ada.peer]["name"] == "ada"
                await until(lambda: bea.peer in ada.peers)
                assert ada.peers[bea.peer]["types"] == announcement()["types"]
            assert await until(lambda: not ada.peers) < 0.5
        assert [(len(came), len(changed), len(left)) for came, changed, left in changes] == [(1, 0, 0), (0, 0, 1)]

    async def test_relays_keep_their_order(self, server: Server) -> None:
        heard: list[int] = []
        async with (
            joined(server, "ada", on_relay=lambda _, data: heard.append(data["n"])) as ada,
            joined(server, "bea") as bea,
        ):
            for number in range(200):
                await bea.relay(ada.peer, {"kind": "candidate", "n": number})
            await until(lambda: len(heard) == 200)
        assert heard == list(range(200))

    async def test_a_relay_that_waits_holds_nothing_up(self, server: Server) -> None:
        answered = asyncio.Event()

        async def on_relay(sender: str, data: object) -> None:
            await ada.ice_servers()
            answered.set()

        async with joined(server, "ada", on_relay=on_relay) as ada, joined(server, "bea") as bea:
            await bea.relay(ada.peer, {"kind": "offer"})
            await asyncio.wait_for(answered.wait(), 3)

    async def test_plans(self, server: Server) -> None:
        async with joined(server, "ada") as ada:
            answer = await ada.plan(MANIFEST)
            assert (answer["name"], answer["plan"]["epoch"]) == ("x", 1)
            assert (await ada.plan("version: v2"))["faults"]
            refused = await ada.plan(MANIFEST.replace("PassThrough", "Nothing"))
            assert "Nothing" in json.dumps(refused)

    async def test_a_planner_that_breaks_is_said_so(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("signaling_server.planner.answer_plan", lambda *_, **__: 1 / 0)
        async with joined(server, "ada") as ada:
            with pytest.raises(SignalingError, match="plan-failed"):
                await ada.plan(MANIFEST)

    async def test_load_is_told(self, server: Server) -> None:
        async with joined(server, "ada") as ada, joined(server, "bea", heartbeat=lambda: {"load": 0.7}) as bea:
            await until(lambda: ada.peers.get(bea.peer, {}).get("load") == 0.7)


class TestRights:
    async def test_watch_alone_is_no_peer(self, server: Server) -> None:
        with pytest.raises(SignalingError, match="not-allowed"):
            async with joined(server, "eve", right="watch"):
                pass

    async def test_watch_alone_cannot_submit(self, server: Server) -> None:
        async with joined(server, "ada") as ada, joined(server, "eve", right="watch", announce=None) as eve:
            with pytest.raises(SignalingError, match="not-allowed"):
                await eve.plan(MANIFEST)
            eve.report({"id": "r", "name": "n", "state": "running"})
            await eve.ice_servers()
            assert list(eve.peers) == [ada.peer]
            assert not ada.peers

    async def test_an_expired_invite(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        invite = server.invites["all"]
        late = time.time() + 25 * 3600
        monkeypatch.setattr("signaling_server.server.time.time", lambda: late)
        client = SignalingClient(Invite.parse(invite), name=PeerName("ada"), announce=announcement())
        with pytest.raises(SignalingError, match=r"bad-grant.*expired .* ago"):
            await client.connect()

    async def test_an_invite_of_another_server(self, server: Server) -> None:
        foreign = RoomKeys.registered("demo", bytes(range(64)))
        invite = foreign.invite(server=server.url, subject="eve", can=["submit"], ttl_s=60, now=time.time())
        client = SignalingClient(invite, name=PeerName("eve"), announce=announcement())
        with pytest.raises(SignalingError, match="new keys"):
            await client.connect()

    async def test_a_room_that_certifies_itself(self, server: Server) -> None:
        studio = keys("studio", 1)
        invite = studio.invite(server=server.url, subject="ana", can=["work"], ttl_s=60, now=time.time())
        client = SignalingClient(invite, name=PeerName("ada"), announce=announcement())
        await client.connect()
        assert (client.room, client.can) == (studio.room, frozenset(("work",)))
        await client.close()


class TestLiveness:
    async def test_the_same_key_takes_over(self, server: Server) -> None:
        key = Ed25519PrivateKey.generate()
        async with raw(server, "ada", key) as old, joined(server, "ada", key=key) as new:
            await old.wait_closed()
            assert str(old.close_reason).startswith("taken-over")
            async with joined(server, "bea") as bea:
                assert list(bea.peers) == [new.peer]

    async def test_a_client_that_was_taken_over_stays_away(self, server: Server) -> None:
        key = Ed25519PrivateKey.generate()
        async with joined(server, "ada", key=key) as old, joined(server, "ada", key=key):
            with pytest.raises(SignalingError, match="taken-over"):
                await asyncio.wait_for(old.wait_closed(), 3)
            with pytest.raises(SignalingError, match="away"):
                await old.plan(MANIFEST)

    async def test_another_key_does_not(self, server: Server) -> None:
        async with joined(server, "ada"):
            with pytest.raises(SignalingError, match="name-taken"):
                async with joined(server, "ada"):
                    pass

    async def test_a_dead_socket_leaves_at_once(self, server: Server) -> None:
        async with joined(server, "bea") as bea, raw(server, "ada") as ada:
            await until(lambda: bea.peers)
            ada.transport.abort()
            assert await until(lambda: not bea.peers) < 0.5

    async def test_a_silent_peer_leaves_within_five_seconds(self, server: Server) -> None:
        async with joined(server, "bea") as bea, raw(server, "ada"):
            await until(lambda: bea.peers)
            assert 3 < await until(lambda: not bea.peers, seconds=6) < 5

    async def test_one_who_does_not_read_is_kicked(self, server: Server) -> None:
        async with raw(server, "ada") as deaf, joined(server, "bea") as bea:
            deaf.transport.pause_reading()
            (target,) = bea.peers
            async with asyncio.timeout(10):
                while target in bea.peers:
                    await bea.relay(target, {"x": "y" * 60_000})
                    await asyncio.sleep(0.005)
            assert server.hub.counters["slow"] == 1
            deaf.transport.abort()


async def test_everybody_comes_back_after_a_restart(tmp_path: Path) -> None:
    config = Config(port=0, state=tmp_path)
    told: list[tuple[Any, ...]] = []
    async with serve(config) as server:
        config = Config(port=server.port, state=tmp_path)
        ada = SignalingClient(
            Invite.parse(server.invites["all"]),
            name=PeerName("ada"),
            announce=announcement(),
            on_presence=lambda *change: told.append(change),
        )
        bea = SignalingClient(Invite.parse(server.invites["all"]), name=PeerName("bea"), announce=announcement())
        await ada.connect()
        await bea.connect()
        await until(lambda: ada.peers)
    await until(lambda: not ada.connected)
    assert list(ada.peers) == [bea.peer]
    async with serve(config):
        await until(lambda: ada.connected and bea.connected, seconds=5)
        await asyncio.sleep(0.2)
        assert list(ada.peers) == [bea.peer]
        assert [left for _, _, left in told if left] == []
        assert "plan" in await ada.plan(MANIFEST)
        await ada.close()
        await bea.close()


async def test_a_full_room_comes_back_within_five_seconds_and_not_all_at_once(tmp_path: Path) -> None:
    config = Config(port=0, state=tmp_path)
    async with serve(config) as server:
        config = Config(port=server.port, state=tmp_path)
        invite = Invite.parse(server.invites["work"])
        names = [PeerName(f"peer-{number}") for number in range(100)]
        clients = [SignalingClient(invite, name=name, announce=announcement()) for name in names]
        await asyncio.gather(*(client.connect() for client in clients))
        await until(lambda: all(len(client.peers) == 99 for client in clients))
    await until(lambda: not any(client.connected for client in clients))
    back: list[int] = []
    async with serve(config) as server:

        def all_back() -> bool:
            back.append(len(server.hub.clients))
            return all(client.connected and client.settled for client in clients)

        await until(all_back, seconds=5)
        assert len(set(back)) > 5  # they came a few at a time
        await asyncio.gather(*(client.close() for client in clients))


async def test_a_new_room_of_the_same_name_is_final() -> None:
    async with serve(Config(port=0)) as server:
        client = SignalingClient(Invite.parse(server.invites["all"]), name=PeerName("ada"), announce=announcement())
        await client.connect()
        config = Config(port=server.port)
    async with serve(config):
        with pytest.raises(SignalingError, match="new keys"):
            await asyncio.wait_for(client.wait_closed(), 5)
        await client.close()


async def test_one_who_leaves_at_once_is_gone(server: Server) -> None:
    async with joined(server, "ada") as ada:
        pass
    assert not ada.connected
    await until(lambda: not server.hub.clients)


async def test_nobody_answers() -> None:
    async with serve(Config(port=0)) as server:
        invite = Invite.parse(server.invites["all"])
    client = SignalingClient(invite, name=PeerName("ada"), announce=announcement())
    with pytest.raises(SignalingError, match="away: nobody answers at http://127"):
        await client.connect()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_the_demo_room_is_not_for_others(host: str) -> None:
    with pytest.raises(ValueFault, match="mesh invite --new-room"):
        Config(host=host)
    Config(host=host, rooms=frozenset((keys("studio", 1).room,)))


def test_a_room_must_be_an_id() -> None:
    with pytest.raises(ValueFault, match="no room id"):
        Config(rooms=frozenset(("studio",)))
