"""One connection under a link: descriptions, candidates, proof (docs/wire.md, 3 and 6), then frames."""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mesh.errors import LinkError, MeshError, ProtocolError
from mesh.ids import PeerId
from mesh.limits import CLOSE_TIMEOUT_S, HANDSHAKE_TIMEOUT_S, MAX_FRAME_BYTES, MAX_ICE_CANDIDATES
from mesh.protocol.codec import Close, decode_frame, encode_frame
from mesh.protocol.fingerprint import canonical, fingerprint
from mesh.protocol.handshake import NONCE_BYTES, Handshake, Me, Remote, Role
from mesh.transport.aiortc_engine import AiortcConnection
from mesh.transport.link import Connection, ConnectionEvents, IceServer, Lane

type Engine = Callable[[ConnectionEvents, Sequence[IceServer]], Connection]
type Say = Callable[[PeerId, dict[str, Any]], None]
type Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

_log = logging.getLogger(__name__)
_MEDIA: Final = re.compile(r"^m=(\S+)", re.MULTILINE)
_MAX_MESSAGE_SIZE: Final = re.compile(r"^a=max-message-size:(\d{1,18})\r$", re.MULTILINE)


def engine_named(name: str) -> Engine:
    """The engine ``aiortc`` or ``wrtc``; ``auto`` is ``wrtc`` where that is installed."""
    if name == "aiortc":
        return AiortcConnection
    if name not in ("auto", "wrtc"):
        raise LinkError("engine", f"there is no engine {name!r}: write auto, aiortc or wrtc")
    try:
        from mesh.transport.wrtc_engine import WrtcConnection
    except ImportError as error:
        if name == "auto":
            return AiortcConnection
        raise LinkError("engine", f"wrtc is not installed: install remotemedia-mesh[native] ({error})") from error
    return WrtcConnection


@dataclass(frozen=True, slots=True)
class Terms:
    """What all connections of this peer share. ``say`` relays to the other peer, in order.

    ``on_proven`` comes before the first frame behind the proof, and gives the carrier its ``receiver``.
    """

    me: Me
    engine: Engine
    say: Say
    spawn: Spawn
    on_proven: Callable[["Carrier", Remote, Connection], None]


class Receiver(Protocol):
    """The link that a proven connection carries."""

    def frame(self, lane: Lane, frame: bytes) -> None:
        """A frame came; what this raises ends the connection, and the other side is told of all but a LinkError."""

    def writable(self) -> None:
        """A channel may take frames again."""

    def broken(self, reason: str, *, final: bool) -> None:
        """The connection is gone. ``final``: for a fault, or an exception of ``frame``, that goes with the session."""


class Carrier(ConnectionEvents):
    """One RTCPeerConnection, until it is proven and then until its end; ``id`` names it in what is relayed.

    ``offer`` and ``answer`` return when it is proven; when it cannot be, they give it up and raise LinkError.
    ``session`` and ``resume`` are as Handshake takes them.
    """

    def __init__(self, terms: Terms, peer: PeerId, connection_id: str, *, session: bytes, resume: bytes | None) -> None:
        self._terms = terms
        self.peer, self.id = peer, connection_id
        self.session, self.resume = session, resume
        self.receiver: Receiver | None = None
        self.connection: Connection | None = None
        self._loop = asyncio.get_running_loop()
        self.proven: asyncio.Future[None] = self._loop.create_future()
        self._answer: asyncio.Future[str] = self._loop.create_future()
        self._introduced = False  # the other side knows the connection, and so where candidates belong
        self._found: list[Mapping[str, Any]] = []
        self._described = False  # the engine knows the other side's description, and takes its candidates
        self._early: list[Mapping[str, Any]] = []
        self._candidates = 0
        self._describing: asyncio.Future[None] | None = None
        self._handshake: Handshake | None = None
        self._greeted = False
        self._patience: asyncio.TimerHandle | None = None
        self._over = False
        self._ended = asyncio.Event()

    # Negotiation

    async def offer(self, ice_servers: Sequence[IceServer], *, direct: bool) -> None:
        """Makes the offer. ``direct`` tells the other side to leave out its TURN servers as well."""
        await self._until_proven(self._describe_first(ice_servers, direct=direct))

    async def answer(self, ice_servers: Sequence[IceServer], offer: str) -> None:
        """Answers the other side's offer."""
        await self._until_proven(self._describe_second(ice_servers, offer))

    async def _describe_first(self, ice_servers: Sequence[IceServer], *, direct: bool) -> None:
        connection = self._connect(ice_servers)
        sdp = await connection.create_offer()
        self._introduce({"kind": "offer", "connection": self.id, "sdp": sdp, "direct": direct})
        answer = _description(await self._answer)
        self._bind("offerer", local=sdp, remote=answer)
        await connection.accept_answer(answer)
        self._take_early(connection)

    async def _describe_second(self, ice_servers: Sequence[IceServer], offer: str) -> None:
        offer = _description(offer)
        connection = self._connect(ice_servers)
        sdp = await connection.accept_offer(offer)
        self._bind("answerer", local=sdp, remote=offer)
        self._introduce({"kind": "answer", "connection": self.id, "sdp": sdp})
        self._take_early(connection)

    async def _until_proven(self, describing: Coroutine[Any, Any, None]) -> None:
        """Waits for the proof; what the engine is still doing when the connection ends may never return."""
        self._describing = asyncio.ensure_future(describing)
        try:
            await asyncio.wait((self._describing, self.proven), return_when=asyncio.FIRST_COMPLETED)
            if not self.proven.done():
                self._describing.result()
                await asyncio.wait((self.proven,))
            self.proven.result()
        except BaseException as error:
            self._describing.cancel()
            self.abandon("this side gave up")
            if isinstance(error, LinkError) or not isinstance(error, Exception):
                raise
            said = str(error) if isinstance(error, MeshError) else f"the engine says {error!r}"
            raise LinkError(self.step, said) from error

    @property
    def step(self) -> str:
        """What is being waited for: ``signaling``, ``ice``, ``dtls``, ``channel`` or ``handshake``."""
        if self.connection is None or self._handshake is None:
            return "signaling"
        return "handshake" if self._greeted else self.connection.step

    def answered(self, sdp: str) -> None:
        """The other side's answer came; a second one is ignored."""
        if not self._answer.done():
            self._answer.set_result(sdp)

    def take_candidate(self, candidate: Mapping[str, Any]) -> None:
        """A candidate of the other side came; it is kept while its description is not there."""
        self._candidates += 1
        if self._candidates > MAX_ICE_CANDIDATES:
            return
        if self._described and self.connection is not None:
            self._terms.spawn(self._add(self.connection, candidate))
        else:
            self._early.append(candidate)

    def _connect(self, ice_servers: Sequence[IceServer]) -> Connection:
        self.connection = self._terms.engine(self, ice_servers)
        if self._over:
            self._terms.spawn(self.connection.close())
        return self.connection

    def _bind(self, role: Role, *, local: str, remote: str) -> None:
        """Sets up the proof, before the channels can open."""
        self._handshake = Handshake(
            self._terms.me,
            peer=self.peer,
            role=role,
            local_fingerprint=fingerprint(local),
            remote_fingerprint=fingerprint(remote),
            session=self.session,
            resume=self.resume,
            nonce=secrets.token_bytes(NONCE_BYTES),
        )

    def candidate(self, candidate: Mapping[str, Any]) -> None:
        if not self._introduced:
            self._found.append(candidate)
        else:
            data = {"kind": "candidate", "connection": self.id, "candidate": dict(candidate)}
            self._terms.say(self.peer, data)

    def _introduce(self, description: dict[str, Any]) -> None:
        self._terms.say(self.peer, description)
        self._introduced = True
        for candidate in self._found:
            self.candidate(candidate)

    def _take_early(self, connection: Connection) -> None:
        self._described = True
        for candidate in self._early:
            self._terms.spawn(self._add(connection, candidate))

    async def _add(self, connection: Connection, candidate: Mapping[str, Any]) -> None:
        try:
            await connection.add_candidate(candidate)
        except Exception as error:  # whatever the engine thinks of it: one candidate less
            _log.debug("an ICE candidate of %s was of no use: %s", self.peer, error)

    # Proof

    def opened(self) -> None:
        if self._greeted or self._handshake is None or self._over:
            return
        self._greeted = True
        self._patience = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self._end, "the other side did not prove itself")
        try:
            self.send(Lane.CONTROL, self._handshake.start())
        except LinkError as error:
            self._end(str(error))

    def _prove(self, lane: Lane, frame: bytes) -> None:
        if self._handshake is None or self.connection is None or lane is not Lane.CONTROL:
            raise ProtocolError("not-proven", f"a frame on the {lane.name.lower()} channel came before the proof")
        self.opened()  # the other side's HELLO may overtake the engine's word that the channels are open
        answer = self._handshake.receive(frame)
        if answer is not None:
            self.send(Lane.CONTROL, answer)
        if self._handshake.remote is not None:
            if self._patience is not None:
                self._patience.cancel()
            self._terms.on_proven(self, self._handshake.remote, self.connection)
            self.proven.set_result(None)

    # Frames

    def send(self, lane: Lane, frame: bytes) -> None:
        """Hands a frame to the channel; raises LinkError where that fails."""
        if self.connection is None:
            raise LinkError("channel", "there is no connection")
        self.connection.send(lane, frame)

    def frame(self, lane: Lane, frame: bytes | str) -> None:
        if self._over:
            self._ended_by(frame)
            return
        try:
            if not isinstance(frame, bytes):
                raise ProtocolError("bad-frame", "a text frame")
            if self.receiver is None:
                self._prove(lane, frame)
            else:
                self.receiver.frame(lane, frame)
        except ProtocolError as error:
            self.refuse(error)
        except LinkError as error:
            self._end(str(error))
        except MeshError as error:
            self.refuse(ProtocolError("bad-message", str(error)))
        except Exception as error:  # it must not reach the engine, which would close the connection without a word
            _log.exception("a message of %s could not be handled", self.peer)
            self.refuse(ProtocolError("bad-message", f"it could not be handled: {error!r}"))

    def writable(self, lane: Lane) -> None:
        if self.receiver is not None:
            self.receiver.writable()

    # The end

    def closed(self, reason: str) -> None:
        self._ended.set()
        self._end(reason)

    def refuse(self, error: ProtocolError) -> None:
        """The other side broke the rules: it is told so."""
        self.say_close(error.code, error.message)
        self._end(str(error), final=True)

    def say_close(self, code: str, text: str) -> None:
        """The last words: ``finish`` waits until they were heard."""
        try:
            self.send(Lane.CONTROL, encode_frame([Close(code, text)]))
        except LinkError as error:
            _log.debug("%s could not be told why: %s", self.peer, error)

    def abandon(self, reason: str) -> None:
        """Gives the connection up at once; its receiver hears nothing more."""
        self.receiver = None
        self._end(reason)

    def finish(self) -> asyncio.Task[None]:
        """Ends the connection behind ``say_close``; its receiver hears nothing more."""
        self._over, self.receiver = True, None
        return self._terms.spawn(self._close(wait=True))

    def _end(self, reason: str, *, final: bool = False) -> None:
        if self._over:
            return
        self._over = True
        if self._patience is not None:
            self._patience.cancel()
        self._terms.spawn(self._close(wait=final))
        if self.receiver is not None:
            self.receiver.broken(reason, final=final)
        elif not self.proven.done():  # cancelled, where the one who waited for it was
            self.proven.set_exception(LinkError(self.step, reason))
            self.proven.exception()  # seen, also where nobody waits for it any more

    def _ended_by(self, frame: bytes | str) -> None:
        """After our own CLOSE only one thing of the other side matters: that it says the same."""
        try:
            if isinstance(frame, bytes) and isinstance(decode_frame(frame)[0], Close):
                self._ended.set()
        except ProtocolError as error:
            _log.debug("%s sent nonsense at the end: %s", self.peer, error)

    async def _close(self, *, wait: bool) -> None:
        """What was said last must arrive, so the other side, having heard it, closes first."""
        if self.connection is None:
            return
        if wait and self._greeted:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._ended.wait()
            except TimeoutError:
                pass
        await self.connection.close()


def _description(sdp: str) -> str:
    """What came as a description, fit for an engine: canonical, and of data channels that carry our frames only."""
    sdp = canonical(sdp)
    if _MEDIA.findall(sdp) != ["application"]:
        raise LinkError("signaling", "the session description is not of data channels alone")
    limit = _MAX_MESSAGE_SIZE.search(sdp)
    if limit is not None and 0 < int(limit[1]) < MAX_FRAME_BYTES:
        raise LinkError("signaling", f"the other side takes messages of {limit[1]} bytes, not of {MAX_FRAME_BYTES}")
    return sdp
