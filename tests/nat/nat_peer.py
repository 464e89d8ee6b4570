"""A peer for each engine on a host of nat_world.py; it makes the links that stdin asks for, and tells of them."""

import asyncio
import json
import sys
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.errors import LinkError
from mesh.ids import PeerId, PeerName, peer_id
from mesh.protocol.grants import Invite, verify
from mesh.transport.link import Link
from mesh.transport.links import Links, Me
from mesh.transport.signaling import SignalingClient

ANNOUNCE = {"kind": "server", "runtimes": ["python"], "types": [], "caps": {"cores": 1}}
ENGINES = ("aiortc", "wrtc")


class NatPeer:
    """One peer. The side ``a`` has the smaller ids, so it makes the offers."""

    def __init__(self, invite: Invite, side: str, engine: str) -> None:
        self._invite, self._engine = invite, engine
        self._paths: dict[PeerId, asyncio.Future[str]] = {}
        key = Ed25519PrivateKey.generate()
        while (peer_id(key.public_key().public_bytes_raw()) < "8") != (side == "a"):
            key = Ed25519PrivateKey.generate()
        name = PeerName(f"{side}-{engine}")
        self.signaling = SignalingClient(invite, name=name, announce=ANNOUNCE, on_relay=self._relayed, key=key)

    async def open(self) -> None:
        await self.signaling.connect()
        self._links = Links(
            Me(
                peer=self.signaling.peer,
                name=self.signaling.name,
                room_key=self._invite.room_key,
                grant=self._invite.grant,
                verify=lambda token: verify(
                    token, owner_key=self._invite.owner_key, room=self._invite.room, now=time.time()
                ),
            ),
            send_relay=self.signaling.relay,
            ice_servers=self.signaling.ice_servers,
            engine=self._engine,
            on_message=lambda link, lane, message: None,
            on_suspect=lambda link, reason: None,
            on_resumed=lambda link: None,
            on_lost=lambda link, reason: None,
            on_link=lambda link: None,
            on_path=self._path,
        )

    async def link(self, name: str) -> dict[str, Any]:
        """Makes a link and closes it again; says how long it took, and its path."""
        (peer,) = (peer for peer, record in self.signaling.peers.items() if record["name"] == name)
        told_path = self._paths[peer] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        told: dict[str, Any] = {"from": self.signaling.name, "to": name}
        try:
            link = await self._links.get(peer)
        except LinkError as error:
            return {**told, "error": str(error)}
        seconds = time.monotonic() - began
        path = await told_path
        await link.close()
        return {**told, "seconds": round(seconds, 2), "path": path}

    async def _relayed(self, sender: Any, data: Any) -> None:
        await self._links.relay(sender, data)

    def _path(self, link: Link) -> None:
        if link.peer in self._paths and not self._paths[link.peer].done():
            self._paths[link.peer].set_result(link.stats().path)


async def main(side: str, invite: str) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peers = {engine: NatPeer(Invite.parse(invite), side, engine) for engine in ENGINES}
    for peer in peers.values():
        await peer.open()
    print(json.dumps({"side": side}), flush=True)
    while line := await lines.readline():
        pairs = json.loads(line)
        made = await asyncio.gather(*(peers[engine].link(f"b-{other}") for engine, other in pairs))
        print(json.dumps(made), flush=True)


asyncio.run(main(*sys.argv[1:]))
