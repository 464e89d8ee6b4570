"""How long a link is still when its connection breaks: a new connection, its proof, and the session resumed.

    python bench/rebuild.py --rounds 20

Two peers in one process, with a relay between them that costs nothing. In turns, for every pair of engines: the
connection is closed under the link, a message is sent at the same moment, and the time until it arrives is taken.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Mapping
from typing import Any, Final

from mesh.ids import PeerId, PeerName
from mesh.protocol.grants import Grant
from mesh.transport.link import Lane, Link
from mesh.transport.links import Links, Me
from mesh.transport.session_link import SessionLink

PAIRS: Final = (("aiortc", "aiortc"), ("aiortc", "wrtc"), ("wrtc", "wrtc"))
KEY: Final = os.urandom(32)
GRANT: Final = Grant("room", "bench", frozenset(("submit", "work")), 2**31, "1")


class Pair:
    """Two peers; ``arrived`` is when the last message came to the second."""

    def __init__(self, first: str, second: str) -> None:
        self._ids = (PeerId("a" * 16), PeerId("b" * 16))
        self.arrived = asyncio.Event()
        self._links = [self._make(me, engine) for me, engine in zip(self._ids, (first, second), strict=True)]

    def _make(self, me: PeerId, engine: str) -> Links:
        async def relay(to: PeerId, data: Mapping[str, Any]) -> None:
            asyncio.get_running_loop().create_task(self._links[self._ids.index(to)].relay(me, data))

        async def no_servers() -> list[dict[str, Any]]:
            return []

        return Links(
            Me(me, PeerName(me[0]), KEY, "grant", lambda _: GRANT),
            send_relay=relay,
            ice_servers=no_servers,
            engine=engine,
            on_message=lambda _link, _lane, _message: self.arrived.set(),
            on_suspect=lambda _link, _reason: None,
            on_resumed=lambda _link: None,
            on_lost=lambda link, reason: print(f"lost the link to {link.name}: {reason}"),
            on_link=lambda _link: None,
        )

    async def link(self) -> Link:
        """The first one's, once both have it."""
        await self._links[1].get(self._ids[0])
        return await self._links[0].get(self._ids[1])

    async def close(self) -> None:
        await asyncio.gather(*(links.close() for links in self._links))


async def broken(pair: Pair) -> float:
    """Milliseconds from the break to the arrival of what was sent at that moment."""
    link = await pair.link()
    assert isinstance(link, SessionLink)
    assert link.carrier is not None
    assert link.carrier.connection is not None
    pair.arrived.clear()
    began = time.perf_counter()
    await link.carrier.connection.close()
    await link.send(Lane.CONTROL, b"still there")
    await pair.arrived.wait()
    return (time.perf_counter() - began) * 1e3


async def main(rounds: int) -> None:
    pairs = {engines: Pair(*engines) for engines in PAIRS}
    times: dict[tuple[str, str], list[float]] = {engines: [] for engines in PAIRS}
    for _ in range(rounds):
        for engines, pair in pairs.items():
            times[engines].append(await broken(pair))
    print("| engines | still for, median ms | most ms |\n|---|---|---|")
    for engines, ms in times.items():
        print(f"| {' and '.join(engines)} | {statistics.median(ms):.0f} | {max(ms):.0f} |")
    for pair in pairs.values():
        await pair.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    asyncio.run(main(parser.parse_args().rounds))
