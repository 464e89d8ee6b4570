"""One client of the hub: what is known of it, and what waits to be sent to it."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from mesh.ids import PeerId, PeerName
from mesh.limits import OUTBOX_BYTES, OUTBOX_MESSAGES
from mesh.nodes.spec import RuntimeName
from signaling_server.messages import LinkReport, Offer, Types

if TYPE_CHECKING:
    from signaling_server.room import Room


class Socket(ABC):
    """What the hub needs of the connection under a client: two calls, both of which return at once."""

    @abstractmethod
    def push(self, client: "Client") -> None:
        """Something is in the client's outbox: send what its ``take`` gives until it gives None."""

    @abstractmethod
    def kick(self, code: int, reason: str) -> None:
        """Send what is in the outbox, close with ``code`` (RFC 6455, 7.4), and give up on both after KICK_TIMEOUT_S."""


class SharedOffer:
    """An offer, shared by all peers that make the same one. ``json`` is its part of a record."""

    __slots__ = ("__weakref__", "json", "types")

    def __init__(self, offer: Offer, types: Types) -> None:
        self.json = msgspec.json.encode(offer)
        self.types = types


class Client:
    """A connection, and after its ``join`` a peer of ``room`` (or, with ``offer is None``, one who only watches)."""

    __slots__ = (
        "_record",
        "can",
        "costs",
        "hidden",
        "id",
        "links",
        "load",
        "name",
        "nonce",
        "offer",
        "outbox",
        "plans",
        "queued",
        "room",
        "seen",
        "socket",
    )

    def __init__(self, socket: Socket, nonce: str, now: float) -> None:
        self.socket = socket
        self.nonce = nonce
        self.seen = now  # when it last said anything
        self.outbox: deque[bytes] = deque()
        self.queued = 0  # bytes in the outbox
        self.room: Room | None = None
        self.id = PeerId("")
        self.name = PeerName("")
        self.can: frozenset[str] = frozenset()
        self.offer: SharedOffer | None = None
        self._record: bytes | None = None
        self.load = 0.0
        self.hidden = False
        self.links: tuple[LinkReport, ...] = ()
        self.costs: Mapping[str, Mapping[RuntimeName, float]] = {}  # node type → runtime → ms
        self.plans = 0  # asked and not yet answered

    def post(self, data: bytes) -> bool:
        """Queues a message. False if it does not fit; a message alone always fits."""
        full = len(self.outbox) >= OUTBOX_MESSAGES or self.queued + len(data) > OUTBOX_BYTES
        if self.outbox and full:
            return False
        self.outbox.append(data)
        self.queued += len(data)
        self.socket.push(self)
        return True

    def take(self) -> bytes | None:
        """The next message to send, as UTF-8; None when there is none."""
        if not self.outbox:
            return None
        data = self.outbox.popleft()
        self.queued -= len(data)
        return data

    def head(self) -> bytes:
        """What a record says besides the offer: the beginning of a JSON object, up to its next comma."""
        fields = {"peer": self.id, "name": self.name, "can": sorted(self.can), "load": round(self.load, 2)}
        return msgspec.json.encode({**fields, "hidden": self.hidden})[:-1] + b","

    def record(self) -> bytes:
        """A peer's entry in the registry, as JSON; ``types`` in it is the digest of a list in the catalog."""
        if self._record is None:
            assert self.offer is not None
            self._record = self.head() + self.offer.json[1:]
        return self._record

    def changed(self) -> None:
        """What the record says has changed."""
        self._record = None
