"""What a link is to the rest of the program, and what an engine must offer for one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mesh.ids import PeerId, PeerName
from mesh.protocol.codec import Lane
from mesh.protocol.grants import Grant

__all__ = ["Connection", "ConnectionEvents", "IceServer", "Lane", "Link", "LinkStats", "OnLost", "OnMessage", "Path"]

type IceServer = Mapping[str, Any]  # RTCIceServer as browsers take it: {"urls", "username"?, "credential"?}
# direct: both under their own addresses; nat: through a NAT; relay: by the other side's TURN server, else by ours
type Path = Literal["direct", "nat", "relay", "relay-udp", "relay-tcp", "unknown"]
type OnMessage = Callable[["Link", Lane, bytes], None]
type OnLost = Callable[["Link", str], None]


@dataclass(frozen=True, slots=True)
class LinkStats:
    """What a link measured of itself. Bytes are those of frames, by lane."""

    rtt_ms: float | None
    sent: Mapping[Lane, int]
    received: Mapping[Lane, int]
    engine: str
    path: Path


class Link(ABC):
    """A proven way to one peer of the room. While it lives, messages of a lane arrive whole, once and in order."""

    peer: PeerId
    name: PeerName
    grant: Grant

    @abstractmethod
    def post(self, lane: Lane, message: bytes) -> None:
        """Like ``send``, without waiting: something else bounds what the caller posts."""

    @abstractmethod
    async def send(self, lane: Lane, message: bytes) -> None:
        """Returns when the message is on its way and the lane's backlog is below its high-water mark.

        Callers are served in order. Cancelling waits no longer, but the message still goes. Raises LinkError when the
        link is gone, and ProtocolError("too-large").
        """

    @abstractmethod
    def stats(self) -> LinkStats:
        """The counters of this moment."""

    @abstractmethod
    async def close(self) -> None:
        """Waits, not for long, until everything was acknowledged, then closes, without ``on_lost``. Safe twice."""


class ConnectionEvents(Protocol):
    """What a connection tells its owner; an exception that leaves one of these never comes back to the engine."""

    def opened(self) -> None:
        """Both channels can send."""

    def frame(self, lane: Lane, frame: bytes | str) -> None:
        """A frame came; text is a fault of the other side."""

    def writable(self, lane: Lane) -> None:
        """What the channel buffers fell to half of LANE_HIGH_WATER_BYTES."""

    def candidate(self, candidate: Mapping[str, Any]) -> None:
        """An ICE candidate (RTCIceCandidateInit) for the other side."""

    def closed(self, reason: str) -> None:
        """The connection failed or was closed; may come late, or never."""


class Connection(ABC):
    """One RTCPeerConnection with the two channels of docs/wire.md, 2. The only thing that an engine's module defines.

    Descriptions go in canonical form (``mesh.protocol.fingerprint``). Whatever an engine raises in the four methods of
    negotiation is the owner's to catch. ``step`` is what is being waited for: ``ice``, then ``dtls``, then ``channel``.
    """

    engine: str
    step: Literal["ice", "dtls", "channel"] = "ice"

    @abstractmethod
    def __init__(self, events: ConnectionEvents, ice_servers: Sequence[IceServer]) -> None: ...

    @abstractmethod
    async def create_offer(self) -> str: ...

    @abstractmethod
    async def accept_offer(self, sdp: str) -> str:
        """Returns the answer."""

    @abstractmethod
    async def accept_answer(self, sdp: str) -> None: ...

    @abstractmethod
    async def add_candidate(self, candidate: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def send(self, lane: Lane, frame: bytes) -> None:
        """Hands a frame to a channel that is open; raises LinkError where that fails."""

    @abstractmethod
    def buffered(self, lane: Lane) -> int:
        """Bytes that the channel has not sent yet."""

    @abstractmethod
    async def path(self) -> Path:
        """How the packets travel."""

    @abstractmethod
    async def close(self) -> None:
        """Ends it at once; safe to call twice."""
