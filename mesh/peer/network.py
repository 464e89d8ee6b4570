"""The room as a peer sees it: the registry and relays of the signaling server, and a proven link to whom it needs."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.errors import LinkError, ProtocolError, SignalingError
from mesh.ids import PeerId, PeerName
from mesh.limits import PLAN_PATIENCE_S
from mesh.peer.neighbours.planning import PlanningService, plan_alone
from mesh.peer.neighbours.relaying import OPENINGS, Relays
from mesh.protocol import messages
from mesh.protocol.codec import Lane
from mesh.protocol.grants import Grant, Invite, verify
from mesh.transport.link import IceServer, Link, Path
from mesh.transport.links import Links, Me
from mesh.transport.negotiation import Engine
from mesh.transport.signaling import SOCKET_CLOSED, SignalingClient

_PATHS: Final[Mapping[Path, str]] = {
    "direct": "direct",
    "nat": "direct, through NAT",
    "relay": "relayed by its TURN server",
    "relay-udp": "relayed by a TURN server, over UDP",
    "relay-tcp": "relayed by a TURN server, over TCP",
    "unknown": "unknown to the engine",
}


class Receiver(Protocol):
    """What a network tells its peer."""

    def received(self, link: Link, message: messages.RunMessage) -> None:
        """A message came; a MeshError that this raises closes the link."""

    def suspected(self, peer: PeerId, reason: str, *, died: bool) -> None:
        """Nothing is heard of a peer: it is linked again before long, or lost. ``died``: as for ``lost``."""

    def linked(self, peer: PeerId) -> None:
        """A peer is heard: over a new link, or over one that goes on."""

    def lost(self, peer: PeerId, reason: str, *, died: bool) -> None:
        """A link is gone, or its peer left the room. ``died``: its process is gone too, as far as can be known."""

    def joined(self, peer: PeerId) -> None:
        """A peer is in the room, perhaps again."""

    def room_changed(self) -> None:
        """What the peers of the room offer may be another thing than before."""


class Network:
    """Membership of one room. ``load`` is asked at each heartbeat (0 … 1)."""

    def __init__(
        self,
        invite: str,
        *,
        name: PeerName,
        announce: Mapping[str, Any],
        receiver: Receiver,
        engine: str | Engine,
        ice_servers: Sequence[IceServer],
        load: Callable[[], float],
        log: Callable[[str], None],
    ) -> None:
        self._invite = Invite.parse(invite)
        self._receiver = receiver
        self._engine = engine
        self._own_ice_servers = ice_servers
        self._load = load
        self._log = log
        self._links: Links | None = None
        self._measured: dict[PeerId, tuple[float, int]] = {}
        self._unreachable: set[PeerId] = set()  # lost, and neither linked nor heard of in the registry since
        self._left: set[PeerId] = set()  # whose signaling socket closed, while a link to them stood
        self._new: set[PeerId] = set()  # who spoke through the server before the registry had them
        self._tasks: set[asyncio.Task[None]] = set()
        self._planning = PlanningService(catalog=lambda: self.signaling.registry.catalog, post=self.post)
        key = Ed25519PrivateKey.generate()
        self.signaling = SignalingClient(
            self._invite,
            name=name,
            announce=announce,
            on_relay=self._relayed,
            on_presence=self._presence,
            heartbeat=self._heartbeat,
            key=key,
        )
        self._relays = Relays(
            self.signaling.peer,
            key=key,
            room_key=self._invite.room_key,
            neighbours=lambda: self._links.connected() if self._links is not None else [],
            post=self.post,
            take=self._relayed_by_neighbour,
        )

    async def open(self) -> None:
        """Joins the room; raises SignalingError where it is refused or nobody answers."""
        await self.signaling.connect()
        self._links = Links(
            Me(
                peer=self.signaling.peer,
                name=self.signaling.name,
                room_key=self._invite.room_key,
                grant=self._invite.grant,
                verify=self._verify,
            ),
            send_relay=self._relay,
            ice_servers=self._ice_servers,
            engine=self._engine,
            on_message=self._message,
            on_suspect=self._suspect,
            on_resumed=self._resumed,
            on_lost=self._lost,
            on_link=self._linked,
            on_path=lambda link: self._log(f"path to {link.name}: {_PATHS[link.stats().path]}"),
        )

    async def close(self) -> None:
        """Leaves the room; what was posted before is sent first, not for long."""
        if self._links is not None:
            await self._links.close()
        await self.signaling.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def plan(
        self,
        manifest: str | Mapping[str, Any],
        *,
        pins: Mapping[str, str],
        without: Collection[PeerId],
        apart: Collection[frozenset[PeerId]],
        announce: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The server's answer; this peer's own while the server, or the registry behind it, is not all there."""
        if self.signaling.settled:
            asked = self.signaling.plan(manifest, pins=pins, without=without, apart=apart, announce=announce)
            try:
                return await asyncio.wait_for(asked, PLAN_PATIENCE_S)
            except TimeoutError:
                self._log("the signaling server does not answer; this peer plans itself")
            except SignalingError as error:
                if error.code != "away":
                    raise
        return await asyncio.to_thread(
            plan_alone,
            {"manifest": manifest, "pins": pins, "without": without, "apart": apart, "announce": announce},
            records=[record for peer, record in self.signaling.peers.items() if peer not in self._unreachable],
            linked=[link.peer for link in self._links.connected()] if self._links is not None else [],
            driver={"peer": self.signaling.peer, "name": self.signaling.name, "can": sorted(self.signaling.can)},
        )

    def cut_links(self) -> None:
        """Ends all connections; the links stay, and make new ones."""
        if self._links is not None:
            self._links.cut()

    async def link(self, peer: PeerId) -> None:
        """Makes the link to a peer where there is none; raises LinkError, naming the peer and the step that failed."""
        assert self._links is not None
        try:
            await self._links.get(peer)
        except LinkError as error:
            raise LinkError(error.step, f"no link to {self.name_of(peer)}: {error}") from error

    def hears(self, peer: PeerId) -> bool:
        """Whether there is a link to a peer that is not silent."""
        return self._links is not None and self._links.hears(peer)

    def probe(self, peer: PeerId) -> None:
        """Doubts the link to a peer: it is suspected unless it is heard soon."""
        if self._links is not None:
            self._links.probe(peer)

    def post(self, peer: PeerId, message: messages.Message) -> None:
        """Sends in order, without waiting: credit bounds what can wait. A link that is gone takes nothing."""
        link = self._links.existing(peer) if self._links is not None else None
        if link is None:
            return
        lane = Lane.DATA if type(message) is messages.Part else Lane.CONTROL
        with suppress(LinkError):  # the loss itself is told by on_lost
            link.post(lane, messages.encode(message))

    def name_of(self, peer: PeerId) -> str:
        """What people call a peer; its id where it is not in the room any more."""
        record = self.signaling.peers.get(peer)
        link = self._links.existing(peer) if self._links is not None else None
        return record["name"] if record is not None else link.name if link is not None else peer

    def offers(self) -> dict[PeerId, Hashable]:
        """Who of the room runs nodes, and what of their records decides which; not their load, which changes always."""
        return {
            peer: tuple(str(record.get(name)) for name in ("runtimes", "digest", "pyodide", "hidden", "speed"))
            for peer, record in self.signaling.peers.items()
            if record.get("runtimes")
        }

    def _verify(self, token: str) -> Grant:
        return verify(token, owner_key=self._invite.owner_key, room=self._invite.room, now=time.time())

    async def _ice_servers(self) -> Sequence[IceServer]:
        return [*self._own_ice_servers, *await self.signaling.ice_servers()]

    def _heartbeat(self) -> dict[str, Any]:
        links = map(self._links.existing, self.signaling.peers) if self._links is not None else ()
        return {"load": self._load(), "links": [self._link_stats(link) for link in links if link is not None]}

    def _link_stats(self, link: Link) -> dict[str, Any]:
        stats = link.stats()
        sent, received = sum(stats.sent.values()), sum(stats.received.values())
        now, total = time.monotonic(), sent + received
        before, counted = self._measured.get(link.peer, (now, total))
        self._measured[link.peer] = (now, total)
        return {
            "peer": link.peer,
            "rtt_ms": stats.rtt_ms,
            "sent": sent,
            "received": received,
            "bytes_per_s": max(0.0, (total - counted) / (now - before)) if now > before else 0.0,
            "path": stats.path,
            "engine": stats.engine,
        }

    async def _relay(self, to: PeerId, data: dict[str, Any]) -> None:
        """Brings part of a negotiation to a peer: an answer the way that it was heard, an opening through the server.

        Whom the server let speak it also reaches, even before the registry says so. Where it cannot, neighbours are
        tried. Raises SignalingError("away") where there are none either.
        """
        opens = data["kind"] in OPENINGS
        reached = self.signaling.reaches(to) or (self.signaling.connected and to in self._new)
        through_server = reached and (opens or not self._relays.heard(to))
        if through_server or not self._relays.send(to, data):
            await self.signaling.relay(to, data)
            if opens:
                self._background(self._open_anew(to, data))

    async def _open_anew(self, to: PeerId, data: dict[str, Any]) -> None:
        """Where the server is silent it may have swallowed an opening: whether it answers anything is asked at once."""
        await self.signaling.ice_servers()
        if not self.signaling.connected:
            self._relays.send(to, data)

    def _relayed_by_neighbour(self, sender: PeerId, data: Mapping[str, Any]) -> None:
        if self._links is not None:
            self._background(self._links.relay(sender, data))

    def _relayed(self, sender: PeerId, data: Mapping[str, Any]) -> Awaitable[None] | None:
        self._relays.forget(sender)
        if sender not in self.signaling.peers:
            self._new.add(sender)
        return self._links.relay(sender, data) if self._links is not None else None

    def _presence(self, joined: Sequence[Any], updated: Sequence[Any], left: Sequence[Mapping[str, Any]]) -> None:
        """Who left the room is lost only where no link has a connection: links outlive the signaling server.

        Nor is who was dismissed, for its silence for example: it may come back.
        """
        for each in left:
            peer, closed = PeerId(each["peer"]), each["reason"] == SOCKET_CLOSED
            if self._links is None or self._links.existing(peer) is None:
                self._receiver.lost(peer, f"it left the room ({each['reason']})", died=closed)
            elif closed:
                self._left.add(peer)
                self._links.gone(peer)
        self._new -= {PeerId(each["peer"]) for each in (*joined, *left)}
        for record in (*joined, *updated):
            self._unreachable.discard(PeerId(record["peer"]))
            self._left.discard(PeerId(record["peer"]))
        for record in joined:  # not where its load has changed, say: that makes no link
            self._receiver.joined(PeerId(record["peer"]))
        self._receiver.room_changed()

    def _message(self, link: Link, lane: Lane, data: bytes) -> None:
        match messages.decode(lane, data):
            case messages.Relay() as relay:
                self._relays.received(link, relay)
            case messages.Plan() as asked:
                self._background(self._planning.answer(link, asked))
            case messages.Planned():
                raise ProtocolError("bad-message", "this peer plans itself and asked nobody")
            case message:
                self._receiver.received(link, message)

    def _suspect(self, link: Link, reason: str) -> None:
        """Another connection is made unless the other process has left the room too: then it died."""
        self._log(f"{link.name} is suspected: {reason}")
        self._receiver.suspected(link.peer, reason, died=self._has_died(link.peer))
        if self._links is not None and link.peer in self._left:
            self._links.gone(link.peer)

    def _resumed(self, link: Link) -> None:
        self._log(f"{link.name} is heard again")
        self._receiver.linked(link.peer)

    def _linked(self, link: Link) -> None:
        self._unreachable.discard(link.peer)
        self._log(f"linked to {link.name}")
        self._receiver.linked(link.peer)

    def _lost(self, link: Link, reason: str) -> None:
        self._measured.pop(link.peer, None)
        self._unreachable.add(link.peer)
        self._log(f"lost the link to {link.name}: {reason}")
        died = self._has_died(link.peer)
        self._left.discard(link.peer)
        self._receiver.lost(link.peer, reason, died=died)

    def _has_died(self, peer: PeerId) -> bool:
        """Of a peer without a connection: whether its process is gone; without the server there is no other sign."""
        return peer in self._left or not self.signaling.connected

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
