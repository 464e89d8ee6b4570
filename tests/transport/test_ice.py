"""Which ICE servers are asked: STUN servers on loopback that answer, or are silent."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from mesh.limits import STUN_PROBE_S
from mesh.transport.ice import path_between, pick, without_turn


class StunServer(asyncio.DatagramProtocol):
    """Answers binding requests from the ``after``-th on, without attributes: nobody here reads them."""

    def __init__(self, after: int) -> None:
        self._wait = after
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert data[:4] == b"\x00\x01\x00\x00"
        self._wait -= 1
        if self._wait < 0:
            self._transport.sendto(b"\x01\x01" + b"x" * 18, address)  # somebody else's transaction
            self._transport.sendto(b"\x01\x01\x00\x00" + data[4:20], address)


@asynccontextmanager
async def stun_server(*, after: int = 0) -> AsyncIterator[str]:
    """The ``HOST:PORT`` of one."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: StunServer(after), local_addr=("127.0.0.1", 0)
    )
    try:
        yield "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


SILENT = 1_000_000


async def test_one_stun_and_one_turn_server_that_answer() -> None:
    async with stun_server() as first, stun_server(after=2) as second, stun_server(after=SILENT) as silent:
        servers = [
            {"urls": [f"stun:{silent}", f"stun:{first}"]},
            {"urls": [f"turn:{silent}", f"turn:{first}?transport=tcp"], "username": "a", "credential": "b"},
            {"urls": f"turn:{second}?transport=udp", "username": "u", "credential": "c"},
        ]
        assert await pick(servers) == [
            {"urls": [f"stun:{first}"]},
            {"urls": [f"turn:{second}?transport=udp"], "username": "u", "credential": "c"},
        ]


async def test_a_turn_server_stands_in_for_a_stun_server() -> None:
    async with stun_server() as turn:
        picked = await pick([{"urls": [f"turn:{turn}"], "username": "u", "credential": "c"}])
        assert picked == [{"urls": [f"stun:{turn}"]}, {"urls": [f"turn:{turn}"], "username": "u", "credential": "c"}]


async def test_where_udp_is_silent_turn_goes_over_tcp_and_nothing_waits_long() -> None:
    async with stun_server(after=SILENT) as silent:
        urls = [f"turn:{silent}?transport=udp", f"turn:{silent}?transport=tcp", f"turns:{silent}"]
        began = time.monotonic()
        picked = await pick([{"urls": f"stun:{silent}"}, {"urls": urls, "username": "u", "credential": "c"}])
        assert time.monotonic() - began < STUN_PROBE_S + 1
        assert picked == [{"urls": [f"turn:{silent}?transport=tcp"], "username": "u", "credential": "c"}]
        assert await pick([{"urls": f"stun:{silent}"}, {"urls": "stun:"}, {"urls": f"stuns:{silent}"}]) == []


async def test_a_server_that_refuses_or_has_no_address() -> None:
    async with stun_server() as closed:
        pass
    assert await pick([{"urls": f"stun:{closed}"}, {"urls": "stun:no.such.host.invalid"}]) == []
    assert await pick([]) == []


def test_without_turn() -> None:
    servers = [{"urls": ["turn:a", "stun:b"], "username": "u"}, {"urls": "turns:c"}, {"urls": "stuns:d"}]
    assert without_turn(servers) == [{"urls": ["stun:b"]}, {"urls": ["stuns:d"]}]


@pytest.mark.parametrize(
    ("local", "remote", "host", "path"),
    [
        ("host", "host", "192.168.1.2", "direct"),
        ("host", "prflx", "192.168.1.2", "direct"),
        ("host", "prflx", "5.5.5.5", "nat"),
        ("host", "prflx", "name.local", "nat"),
        ("prflx", "host", "5.5.5.5", "nat"),
        ("srflx", "srflx", "5.5.5.5", "nat"),
        ("host", "relay", "5.5.5.5", "relay"),
        ("relay", "host", "5.5.5.5", "relay-tcp"),
    ],
)
def test_the_kind_of_a_path(local: str, remote: str, host: str, path: str) -> None:
    assert path_between(local, remote, remote_host=host, relay_transport="tcp") == path


def test_a_relay_over_udp() -> None:
    assert path_between("relay", "srflx", remote_host=None, relay_transport="udp") == "relay-udp"
