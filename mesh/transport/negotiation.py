"""One attempt at a link: descriptions, candidates, connection, proof (docs/wire.md, 6)."""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mesh.errors import LinkError, MeshError
from mesh.ids import PeerId
from mesh.limits import MAX_FRAME_BYTES, MAX_ICE_CANDIDATES
from mesh.protocol.fingerprint import canonical, fingerprint
from mesh.protocol.handshake import NONCE_BYTES, SESSION_BYTES, Handshake, Me, Role
from mesh.transport.link import Connection, ConnectionEvents, IceServer, OnMessage
from mesh.transport.session_link import OnGone, SessionLink, Spawn

type Engine = Callable[[ConnectionEvents, Sequence[IceServer]], Connection]
type Say = Callable[[PeerId, dict[str, Any]], None]

_log = logging.getLogger(__name__)
_MEDIA: Final = re.compile(r"^m=(\S+)", re.MULTILINE)
_MAX_MESSAGE_SIZE: Final = re.compile(r"^a=max-message-size:(\d{1,18})\r$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Terms:
    """What all attempts of this peer share. ``say`` relays to the other peer, in order."""

    me: Me
    engine: Engine
    say: Say
    spawn: Spawn
    on_message: OnMessage
    on_gone: OnGone
    on_proven: Callable[[SessionLink], None]


class Attempt:
    """One RTCPeerConnection until its link is proven; ``id`` names it in what is relayed.

    ``offer`` and ``answer`` return when the link is proven; when it cannot be, they give it up and raise LinkError.
    """

    def __init__(self, terms: Terms, peer: PeerId, connection_id: str) -> None:
        self._terms, self._peer = terms, peer
        self.id = connection_id
        self.link = SessionLink(
            peer,
            spawn=terms.spawn,
            on_message=terms.on_message,
            on_gone=terms.on_gone,
            on_proven=terms.on_proven,
            on_candidate=self._candidate_found,
        )
        self._connection: Connection | None = None
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._introduced = False  # the other side knows the connection, and so where candidates belong
        self._found: list[Mapping[str, Any]] = []
        self._described = False  # the engine knows the other side's description, and takes its candidates
        self._early: list[Mapping[str, Any]] = []
        self._candidates = 0
        self._describing: asyncio.Future[None] | None = None

    async def offer(self, ice_servers: Sequence[IceServer], *, direct: bool) -> None:
        """Makes the offer. ``direct`` tells the other side to leave out its TURN servers as well."""
        await self._prove(self._describe_first(ice_servers, direct=direct))

    async def answer(self, ice_servers: Sequence[IceServer], offer: str) -> None:
        """Answers the other side's offer."""
        await self._prove(self._describe_second(ice_servers, offer))

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

    async def _prove(self, describing: Coroutine[Any, Any, None]) -> None:
        """Waits for the proof; what the engine is still doing when the connection ends may never return."""
        self._describing, proven = asyncio.ensure_future(describing), self.link.proven
        try:
            await asyncio.wait((self._describing, proven), return_when=asyncio.FIRST_COMPLETED)
            if not proven.done():
                self._describing.result()
                await asyncio.wait((proven,))
            proven.result()
        except BaseException as error:
            self._describing.cancel()
            self.link.abandon("this side gave up")
            if isinstance(error, LinkError) or not isinstance(error, Exception):
                raise
            said = str(error) if isinstance(error, MeshError) else f"the engine says {error!r}"
            raise LinkError(self.step, said) from error

    @property
    def step(self) -> str:
        """What is being waited for: ``signaling``, ``ice``, ``dtls``, ``channel`` or ``handshake``."""
        return self.link.step

    def answered(self, sdp: str) -> None:
        """The other side's answer came; a second one is ignored."""
        if not self._answer.done():
            self._answer.set_result(sdp)

    def candidate(self, candidate: Mapping[str, Any]) -> None:
        """A candidate of the other side came; it is kept while its description is not there."""
        self._candidates += 1
        if self._candidates > MAX_ICE_CANDIDATES:
            return
        if self._described and self._connection is not None:
            self._terms.spawn(self._add(self._connection, candidate))
        else:
            self._early.append(candidate)

    def _connect(self, ice_servers: Sequence[IceServer]) -> Connection:
        self._connection = self._terms.engine(self.link, ice_servers)
        self.link.own(self._connection)
        return self._connection

    def _bind(self, role: Role, *, local: str, remote: str) -> None:
        """Sets up the proof, before the channels can open."""
        handshake = Handshake(
            self._terms.me,
            peer=self._peer,
            role=role,
            local_fingerprint=fingerprint(local),
            remote_fingerprint=fingerprint(remote),
            session=secrets.token_bytes(SESSION_BYTES),
            nonce=secrets.token_bytes(NONCE_BYTES),
        )
        self.link.expect(handshake)

    def _candidate_found(self, candidate: Mapping[str, Any]) -> None:
        if not self._introduced:
            self._found.append(candidate)
        else:
            data = {"kind": "candidate", "connection": self.id, "candidate": dict(candidate)}
            self._terms.say(self._peer, data)

    def _introduce(self, description: dict[str, Any]) -> None:
        self._terms.say(self._peer, description)
        self._introduced = True
        for candidate in self._found:
            self._candidate_found(candidate)

    def _take_early(self, connection: Connection) -> None:
        self._described = True
        for candidate in self._early:
            self._terms.spawn(self._add(connection, candidate))

    async def _add(self, connection: Connection, candidate: Mapping[str, Any]) -> None:
        try:
            await connection.add_candidate(candidate)
        except Exception as error:  # whatever the engine thinks of it: one candidate less
            _log.debug("an ICE candidate of %s was of no use: %s", self._peer, error)


def _description(sdp: str) -> str:
    """What came as a description, fit for an engine: canonical, and of data channels that carry our frames only."""
    sdp = canonical(sdp)
    if _MEDIA.findall(sdp) != ["application"]:
        raise LinkError("signaling", "the session description is not of data channels alone")
    limit = _MAX_MESSAGE_SIZE.search(sdp)
    if limit is not None and 0 < int(limit[1]) < MAX_FRAME_BYTES:
        raise LinkError("signaling", f"the other side takes messages of {limit[1]} bytes, not of {MAX_FRAME_BYTES}")
    return sdp
