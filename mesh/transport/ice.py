"""Which ICE servers a connection asks, and by which kind of path its packets travel (docs/wire.md, 6)."""

import asyncio
import re
import secrets
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from mesh.limits import STUN_PROBE_EVERY_S, STUN_PROBE_S
from mesh.transport.link import IceServer, Path

type Address = tuple[str, int]

_URL: Final = re.compile(r"(stuns?|turns?):(\[[^\]]+\]|[^:?]+)(?::(\d+))?(?:\?transport=(udp|tcp))?")
_PORT: Final = 3478
_BINDING_REQUEST: Final = b"\x00\x01\x00\x00"  # RFC 8489, 5: a message without attributes
_BINDING_RESPONSE: Final = b"\x01\x01"
_MAGIC_COOKIE: Final = b"\x21\x12\xa4\x42"
_HEADER_BYTES: Final = 20


def has_turn(servers: Sequence[IceServer]) -> bool:
    """Whether one of them can relay."""
    return any(url.startswith("turn") for _server, url in _each_url(servers))


def without_turn(servers: Sequence[IceServer]) -> list[IceServer]:
    """The STUN servers among them."""
    return [{"urls": [url]} for _server, url in _each_url(servers) if url.startswith("stun")]


async def pick(servers: Sequence[IceServer]) -> list[IceServer]:
    """One STUN and one TURN URL at most, for an engine that uses no more and waits for the silent ones (aiortc).

    All are asked by UDP first. A TURN server answers as a STUN server does. Where none answers UDP is taken to be
    blocked, and TURN goes over TCP.
    """
    udp = {url: address for _server, url in _each_url(servers) if (address := _udp_address(url)) is not None}
    heard = await _answering(set(udp.values()))
    answering = [url for url, address in udp.items() if address in heard]
    stun = sorted(answering, key=lambda url: url.startswith("turn"))[:1]
    turn = [(server, url) for server, url in _each_url(servers) if url.startswith("turn")]
    turn = [each for each in turn if each[1] in answering] or [each for each in turn if each[1] not in udp]
    return [
        *({"urls": [f"stun:{host}:{port}"]} for host, port in (udp[url] for url in stun)),
        *({**server, "urls": [url]} for server, url in turn[:1]),
    ]


def path_between(local: str, remote: str, *, remote_host: str | None, relay_transport: str | None) -> Path:
    """The kind of path between two candidates of these types. ``relay_transport`` is how the local relay is reached.

    A remote address that was never announced (prflx) is that of a NAT, unless it is one of a private network: then its
    announcement is still under way.
    """
    if local == "relay":
        return "relay-udp" if relay_transport == "udp" else "relay-tcp"
    if remote == "relay":
        return "relay"
    if remote == "prflx" and _is_private(remote_host):
        remote = "host"
    return "direct" if local == remote == "host" else "nat"


def _is_private(host: str | None) -> bool:
    with suppress(ValueError):
        return host is not None and ip_address(host).is_private
    return False


def _each_url(servers: Sequence[IceServer]) -> Iterator[tuple[IceServer, str]]:
    for server in servers:
        urls = [server["urls"]] if isinstance(server["urls"], str) else server["urls"]
        for url in urls:
            yield server, url


def _udp_address(url: str) -> Address | None:
    """Where a server hears UDP; None for one behind TCP or TLS, and for a URL that is none."""
    match = _URL.fullmatch(url)
    if match is None or match[1] in ("stuns", "turns") or match[4] == "tcp":
        return None
    return match[2].strip("[]"), int(match[3] or _PORT)


async def _answering(addresses: Collection[Address]) -> set[Address]:
    """Those that answer a STUN binding request within STUN_PROBE_S."""
    heard: set[Address] = set()

    async def ask(address: Address) -> None:
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(STUN_PROBE_S):
                await _bind(address)
                heard.add(address)

    await asyncio.gather(*map(ask, addresses))
    return heard


async def _bind(address: Address) -> None:
    """Returns when a STUN server answered; asks again and again, since a datagram may be lost. Raises OSError."""
    transport, asking = await asyncio.get_running_loop().create_datagram_endpoint(
        _Binding, remote_addr=address, family=socket.AF_INET
    )
    try:
        while not asking.answered.is_set():
            transport.sendto(asking.request)
            with suppress(TimeoutError):
                async with asyncio.timeout(STUN_PROBE_EVERY_S):
                    await asking.answered.wait()
    finally:
        transport.close()


class _Binding(asyncio.DatagramProtocol):
    """One STUN transaction."""

    def __init__(self) -> None:
        self._id = _MAGIC_COOKIE + secrets.token_bytes(12)
        self.request = _BINDING_REQUEST + self._id
        self.answered = asyncio.Event()

    def datagram_received(self, data: bytes, _address: object) -> None:
        if data.startswith(_BINDING_RESPONSE) and data[4:_HEADER_BYTES] == self._id:
            self.answered.set()
