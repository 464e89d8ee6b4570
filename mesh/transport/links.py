"""The links of this peer: one to each other peer, made when it is asked for."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from mesh.errors import LinkError, MeshError
from mesh.ids import PeerId
from mesh.limits import (
    DIRECT_AGAIN_S,
    DIRECT_FIRST_S,
    LINK_TIMEOUT_S,
    MAX_CAUSE_CHARS,
    MAX_ICE_CANDIDATES,
    MAX_LINKS,
    RESUME_ATTEMPT_S,
    RESUME_PAUSE_S,
)
from mesh.protocol.handshake import SESSION_BYTES, Me, Remote
from mesh.transport.aiortc_engine import AiortcConnection
from mesh.transport.ice import has_turn, pick, without_turn
from mesh.transport.link import Connection, IceServer, Link, OnLost, OnMessage
from mesh.transport.negotiation import Carrier, Engine, Spawn, Terms, engine_named
from mesh.transport.session_link import SessionLink

__all__ = ["Links", "Me", "engine_named"]

type SendRelay = Callable[[PeerId, dict[str, Any]], Awaitable[None]]
type IceServers = Callable[[], Awaitable[Sequence[IceServer]]]

_log = logging.getLogger(__name__)
_CONNECTION_ID_BYTES: Final = 8
_NETWORK: Final = frozenset(("ice", "dtls", "channel"))  # the steps at which another path may help
_WAITING_FOR: Final = {
    "signaling": "no description of its end of the connection came",
    "ice": "no network path to it was found",
    "dtls": "a network path was found, but no encrypted connection came of it",
    "channel": "the connection stands, but its channels did not open",
    "handshake": "the channels opened, but it did not prove itself",
}


class Links:
    """``get`` makes or finds the link to a peer; what signaling relays goes to ``relay``. Made in a running loop.

    ``send_relay`` brings data to another peer's ``relay``. ``ice_servers`` is asked at every build of a connection.
    ``on_link`` comes for every new link, from either side, before its first message; after ``on_lost`` there are none.
    In between, ``on_suspect`` says that nothing is heard of a peer: the link stays and takes what is sent, and either
    goes on (``on_resumed``), over a new connection, which both sides ask for at once, or over the one that was silent,
    or is lost after RESUME_TIMEOUT_S. A connection that breaks and is made anew before is no event.
    ``on_path`` comes when the path of a connection is known, and when it is another than before.
    """

    def __init__(
        self,
        me: Me,
        *,
        send_relay: SendRelay,
        ice_servers: IceServers,
        engine: str | Engine = "auto",
        on_message: OnMessage,
        on_suspect: OnLost,
        on_resumed: Callable[[Link], None],
        on_lost: OnLost,
        on_link: Callable[[Link], None],
        on_path: Callable[[Link], None] = lambda link: None,
    ) -> None:
        self._me = me
        self._send_relay, self._ice_servers = send_relay, ice_servers
        self._on_message = on_message
        self._on_link, self._on_suspect, self._on_lost, self._on_path = on_link, on_suspect, on_lost, on_path
        self._on_resumed = on_resumed
        self._terms = Terms(
            me,
            engine_named(engine) if isinstance(engine, str) else engine,
            say=self._say,
            spawn=self._spawn,
            on_proven=self._proven,
        )
        self._makings: dict[PeerId, _Making] = {}
        self._standing: dict[PeerId, SessionLink] = {}
        self._early: dict[PeerId, list[tuple[str, Mapping[str, Any]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._outbox: asyncio.Queue[tuple[PeerId, dict[str, Any]]] = asyncio.Queue()
        self._postman = asyncio.create_task(self._relay_all())
        self._closed = False

    async def get(self, peer: PeerId) -> Link:
        """The link to ``peer``; concurrent callers share the making of it. Raises LinkError within LINK_TIMEOUT_S."""
        if (link := self.existing(peer)) is not None:
            return link
        return await asyncio.shield(self._make(peer).link)

    def existing(self, peer: PeerId) -> Link | None:
        """The link to ``peer``, if there is one now; it may be without a connection for a while."""
        return self._standing.get(peer)

    def connected(self) -> list[Link]:
        """The links that have a connection now."""
        return [link for link in self._standing.values() if not link.suspended]

    def hears(self, peer: PeerId) -> bool:
        """Whether there is a link to ``peer`` that is not silent."""
        link = self._standing.get(peer)
        return link is not None and not link.silent

    def gone(self, peer: PeerId) -> None:
        """The peer left the room: a link to it is lost at once if it has lost its connection, and else is probed."""
        link = self._standing.get(peer)
        if link is not None and link.suspended:
            link.lose("its connection is gone, and it left the room")
        else:
            self.probe(peer)

    def probe(self, peer: PeerId) -> None:
        """Doubts the connection of a link, if it has one: the link is suspected unless the peer is heard soon."""
        link = self._standing.get(peer)
        if link is not None and not link.suspended:
            link.probe()

    def cut(self) -> None:
        """Ends the connection under every link, as a network does that fails; the links go on over new ones."""
        for link in self._standing.values():
            if link.carrier is not None and link.carrier.connection is not None:
                self._spawn(link.carrier.connection.close())

    async def relay(self, sender: PeerId, data: object) -> None:
        """Takes what signaling relayed from ``sender`` (docs/wire.md, 6); what makes no sense is ignored."""
        if self._closed:
            return
        match data:
            case {"kind": "want"} if self._me.peer < sender:
                self._wanted(sender)
            case {"kind": "offer", "connection": str(connection), "sdp": str(sdp), **rest} if sender < self._me.peer:
                self._offered(sender, connection, sdp, direct=rest.get("direct") is True)
            case {"kind": "answer", "connection": str(connection), "sdp": str(sdp)}:
                if (carrier := self._carrier(sender, connection)) is not None:
                    carrier.answered(sdp)
            case {
                "kind": "candidate",
                "connection": str(connection),
                "candidate": {"candidate": str(), **_fields} as candidate,
            }:
                self._candidate(sender, connection, candidate)
            case {"kind": "refuse", "message": str(message), **rest}:
                self._refused(sender, rest.get("connection"), message[:MAX_CAUSE_CHARS])
            case _:
                _log.debug("%s relayed something unknown", sender)

    async def close(self) -> None:
        """Closes every link in good order, and gives up those in the making."""
        self._closed = True
        for making in tuple(self._makings.values()):
            self._fail(making, LinkError("link", "this peer leaves"), tell=False)
        await asyncio.gather(*(link.close() for link in self._standing.values()))
        self._postman.cancel()
        await asyncio.gather(self._postman, *self._tasks, return_exceptions=True)

    # Making a link

    def _make(self, peer: PeerId) -> "_Making":
        """The making of a link or connection to ``peer``; the one with the smaller id offers."""
        making = self._makings.get(peer)
        if making is None:
            making = self._begin(peer)
            if self._me.peer < peer:
                making.start(partial(self._offer, making))
            else:
                self._say(peer, {"kind": "want"})
        return making

    def _begin(self, peer: PeerId) -> "_Making":
        if self._closed or peer == self._me.peer:
            raise LinkError("link", "this peer leaves" if self._closed else "a peer has no link to itself")
        if len(self._standing.keys() | self._makings.keys() | {peer}) > MAX_LINKS:
            raise LinkError("link", f"this peer has {MAX_LINKS} links already")
        link = self._standing.get(peer)
        timeout_s = RESUME_ATTEMPT_S if link is not None and link.suspended else LINK_TIMEOUT_S
        making = self._makings[peer] = _Making(peer, self._spawn, self._fail, timeout_s=timeout_s)
        return making

    async def _offer(self, making: "_Making") -> None:
        """With TURN at once where the engine prefers direct paths by itself, or the last connection had none."""
        servers = await self._servers(making)
        link = self._standing.get(making.peer)
        relayed = link is not None and link.relayed
        if has_turn(servers) and self._terms.engine is AiortcConnection and not relayed:
            try:
                async with asyncio.timeout(DIRECT_FIRST_S if link is None else DIRECT_AGAIN_S):
                    return await self._new_carrier(making).offer(without_turn(servers), direct=True)
            except TimeoutError:
                pass
            except LinkError as error:
                if error.step not in _NETWORK:
                    raise
        return await self._new_carrier(making).offer(servers, direct=False)

    async def _servers(self, making: "_Making") -> Sequence[IceServer]:
        """Fresh ones for each making, whose attempts share them."""
        if making.servers is None:
            servers = list(await self._ice_servers())
            making.servers = await pick(servers) if self._terms.engine is AiortcConnection else servers
        return making.servers

    def _new_carrier(self, making: "_Making", connection: str | None = None) -> Carrier:
        if making.carrier is not None:
            making.carrier.abandon("another attempt took its place")
        link = self._standing.get(making.peer)
        session, resume = (secrets.token_bytes(SESSION_BYTES), None) if link is None else link.ends
        connection = connection or secrets.token_hex(_CONNECTION_ID_BYTES)
        making.carrier = Carrier(self._terms, making.peer, connection, session=session, resume=resume)
        return making.carrier

    async def _answer(self, making: "_Making", carrier: Carrier, sdp: str, *, direct: bool) -> None:
        servers = await self._servers(making)
        try:
            await carrier.answer(without_turn(servers) if direct else servers, sdp)
        except LinkError as error:
            if not direct or error.step not in _NETWORK:
                raise
            _log.debug("no direct path to %s; it will offer anew", carrier.peer)

    def _proven(self, carrier: Carrier, remote: Remote, connection: Connection) -> None:
        """The link goes on where both sides know its session, and is a new one where one of them began anew."""
        before = self._standing.get(carrier.peer)
        if remote.resumed and (before is None or before.ends != (carrier.session, remote.session)):
            raise LinkError("handshake", "this side lost the link meanwhile")
        making = self._makings.pop(carrier.peer)
        if remote.resumed and before is not None:
            was_silent = before.silent
            before.resume_on(carrier, connection)
            making.succeed(before)
            if was_silent:
                self._on_resumed(before)
            return
        link = self._standing[carrier.peer] = self._new_link(remote, carrier.session)
        link.stand_on(carrier, connection)
        making.succeed(link)
        if before is not None:
            before.lose("another link took its place")
        self._on_link(link)

    def _new_link(self, remote: Remote, session: bytes) -> SessionLink:
        return SessionLink(
            remote,
            session=session,
            spawn=self._spawn,
            on_message=self._on_message,
            on_suspended=self._rebuild,
            on_silent=self._on_suspect,
            on_heard=self._on_resumed,
            on_path=self._on_path,
            on_gone=self._gone,
        )

    def _rebuild(self, link: SessionLink) -> None:
        if link.suspended and not self._closed:
            self._make(link.peer)

    def _gone(self, link: SessionLink, reason: str | None) -> None:
        if self.existing(link.peer) is link:
            del self._standing[link.peer]
            if (making := self._makings.get(link.peer)) is not None:
                self._fail(making, LinkError("link", reason or "this side closed the link"))
        if reason is not None:
            self._on_lost(link, reason)

    def _fail(self, making: "_Making", error: LinkError, *, tell: bool = True) -> None:
        """Ends a making. The other side is told, unless it hears so on the channel, where nobody else can say it."""
        if self._makings.get(making.peer) is making:
            del self._makings[making.peer]
            if tell and error.step != "handshake":
                connection = {} if making.carrier is None else {"connection": making.carrier.id}
                self._say(making.peer, {"kind": "refuse", "message": str(error)[:MAX_CAUSE_CHARS], **connection})
            making.fail(error)
            if (link := self._standing.get(making.peer)) is not None:
                asyncio.get_running_loop().call_later(RESUME_PAUSE_S, self._rebuild, link)

    # What the other side says

    def _wanted(self, peer: PeerId) -> None:
        """Also where a link stands: the other side may have lost it. It stays until the new one is proven."""
        if peer in self._makings:
            return
        try:
            making = self._begin(peer)
        except LinkError as error:
            self._say(peer, {"kind": "refuse", "message": str(error)})
        else:
            making.start(partial(self._offer, making))

    def _offered(self, peer: PeerId, connection: str, sdp: str, *, direct: bool) -> None:
        """A further offer takes the place of the one before."""
        if self._carrier(peer, connection) is not None:
            return
        try:
            making = self._makings.get(peer) or self._begin(peer)
        except LinkError as error:
            self._say(peer, {"kind": "refuse", "connection": connection, "message": str(error)})
            return
        carrier = self._new_carrier(making, connection)
        making.start(partial(self._answer, making, carrier, sdp, direct=direct))
        for early, candidate in self._early.pop(peer, []):
            if early == connection:
                carrier.take_candidate(candidate)

    def _carrier(self, peer: PeerId, connection: str) -> Carrier | None:
        """The one that ``connection`` names, also when it carries a link already: candidates may still come for it."""
        for holder in (self._makings.get(peer), self._standing.get(peer)):
            if holder is not None and holder.carrier is not None and holder.carrier.id == connection:
                return holder.carrier
        return None

    def _candidate(self, peer: PeerId, connection: str, candidate: Mapping[str, Any]) -> None:
        carrier = self._carrier(peer, connection)
        if carrier is not None:
            carrier.take_candidate(candidate)
            return
        if peer in self._early or len(self._early) < MAX_LINKS:
            early = self._early.setdefault(peer, [])
            early.append((connection, candidate))
            del early[:-MAX_ICE_CANDIDATES]

    def _refused(self, peer: PeerId, connection: object, message: str) -> None:
        making = self._makings.get(peer)
        if making is not None and connection == (making.carrier.id if making.carrier is not None else None):
            self._fail(making, LinkError("refused", f"{peer} gave up: {message}"), tell=False)

    # Tasks

    def _say(self, peer: PeerId, data: dict[str, Any]) -> None:
        self._outbox.put_nowait((peer, data))

    async def _relay_all(self) -> None:
        while True:
            peer, data = await self._outbox.get()
            try:
                await self._send_relay(peer, data)
            except MeshError as error:
                if (making := self._makings.get(peer)) is not None:
                    self._fail(making, LinkError("signaling", str(error)), tell=False)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of a link failed", exc_info=error)


class _Making:
    """A link in the making. Attempts follow one another until one is proven, one fails, or the time is up."""

    def __init__(
        self, peer: PeerId, spawn: Spawn, fail: Callable[["_Making", LinkError], None], *, timeout_s: float
    ) -> None:
        self.peer = peer
        self.link: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self.carrier: Carrier | None = None
        self.servers: Sequence[IceServer] | None = None
        self._spawn, self._fail, self._timeout_s = spawn, fail, timeout_s
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._expired)

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Goes on with ``work``, in place of what was under way."""
        if self._task is not None:
            self._task.cancel()
        self._task = self._spawn(self._run(work))

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except LinkError as error:
            self._fail(self, error)
        except Exception as error:  # of signaling, or of the ICE servers that it gave
            said = str(error) if isinstance(error, MeshError) else repr(error)
            self._fail(self, LinkError("signaling", said))

    def _expired(self) -> None:
        step = "signaling" if self.carrier is None else self.carrier.step
        late = f"no link to {self.peer} within {self._timeout_s:.0f} s: {_WAITING_FOR[step]}"
        if step == "ice" and not has_turn(self.servers or ()):
            late += ", and there is no TURN server to go through (docs/operations.md, STUN and TURN)"
        self._fail(self, LinkError(step, late))

    def succeed(self, link: Link) -> None:
        self._timer.cancel()
        self.link.set_result(link)

    def fail(self, error: LinkError) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self.carrier is not None:
            self.carrier.abandon(str(error))
        self.link.set_exception(error)
        self.link.exception()  # seen, also where nobody waits for this link
