"""A link over one connection: first the proof, then a session, driven by the event loop."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from mesh.errors import LinkError, MeshError, ProtocolError
from mesh.ids import PeerId
from mesh.limits import (
    CLOSE_TIMEOUT_S,
    HANDSHAKE_TIMEOUT_S,
    LANE_HIGH_WATER_BYTES,
    MAX_FRAME_BYTES,
    SUSPECT_AFTER_S,
)
from mesh.protocol.codec import Close, decode_frame, encode_frame
from mesh.protocol.handshake import Handshake
from mesh.protocol.session import Closed, Delivered, Session
from mesh.transport.link import Connection, Lane, Link, LinkStats, OnMessage, Path

type OnGone = Callable[[Link, str | None], None]  # without a reason where this side closed the link
type Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

_log = logging.getLogger(__name__)


class SessionLink(Link):
    """The owner of a connection, and its ConnectionEvents. ``on_proven`` comes before the first message."""

    def __init__(
        self,
        peer: PeerId,
        *,
        spawn: Spawn,
        on_message: OnMessage,
        on_gone: OnGone,
        on_proven: Callable[["SessionLink"], None],
        on_candidate: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.peer = peer
        self._spawn = spawn
        self._on_message, self._on_gone = on_message, on_gone
        self._on_proven, self._on_candidate = on_proven, on_candidate
        self._loop = asyncio.get_running_loop()
        self.proven: asyncio.Future[None] = self._loop.create_future()
        self._connection: Connection | None = None
        self._handshake: Handshake | None = None
        self._session: Session | None = None
        self._greeted = False
        self._closing = False
        self._gone: str | None = None
        self._turn = {lane: asyncio.Lock() for lane in Lane}
        self._room = {lane: asyncio.Event() for lane in Lane}
        self._settled = asyncio.Event()
        self._ended = asyncio.Event()
        self._pumping: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_up: asyncio.Task[None] | None = None
        self._finish: asyncio.Task[None] | None = None
        self._sent = dict.fromkeys(Lane, 0)
        self._received = dict.fromkeys(Lane, 0)
        self._path: Path = "unknown"

    # What the negotiation does

    def own(self, connection: Connection) -> None:
        """The connection that this link will stand on, and close."""
        self._connection = connection
        if self._gone is not None:
            self._finish = self._spawn(connection.close())

    def expect(self, handshake: Handshake) -> None:
        """The proof that it needs, before its channels can open."""
        self._handshake = handshake

    @property
    def step(self) -> str:
        """What the link is waiting for on its way to ``proven``."""
        if self._connection is None or self._handshake is None:
            return "signaling"
        return "handshake" if self._greeted else self._connection.step

    def abandon(self, reason: str) -> None:
        """Gives the link up at once."""
        self._lose(reason, wait=False)

    # Link

    async def send(self, lane: Lane, message: bytes) -> None:
        async with self._turn[lane]:
            self._live().send(lane, message)
            self._pump_soon()
            while self._live().backlog(lane) > LANE_HIGH_WATER_BYTES:
                self._room[lane].clear()
                await self._room[lane].wait()

    def stats(self) -> LinkStats:
        rtt_s = self._session.rtt_s if self._session is not None else None
        engine = self._connection.engine if self._connection is not None else ""
        rtt_ms = None if rtt_s is None else rtt_s * 1e3
        return LinkStats(rtt_ms, dict(self._sent), dict(self._received), engine, self._path)

    async def close(self) -> None:
        self._closing = True
        if self._gone is None and self._session is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    while not self._session.settled and self._gone is None:
                        self._settled.clear()
                        await self._settled.wait()
            except TimeoutError:
                _log.debug("%s did not acknowledge everything before the link was closed", self.peer)
        if self._gone is None:
            self._say_close("closed", "the other side closed the link")
            self._lose("this side closed the link")
        if self._finish is not None:
            await asyncio.shield(self._finish)

    def _live(self) -> Session:
        if self._session is None or self._closing or self._gone is not None:
            raise LinkError("link", self._gone or "it is not open")
        return self._session

    # ConnectionEvents

    def opened(self) -> None:
        if self._greeted or self._handshake is None or self._connection is None or self._gone is not None:
            return
        self._greeted = True
        self._timer = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self._lose, "the other side did not prove itself")
        try:
            self._put(self._connection, Lane.CONTROL, self._handshake.start())
        except LinkError as error:
            self._lose(str(error), wait=False)

    def frame(self, lane: Lane, frame: bytes | str) -> None:
        if self._gone is not None:
            self._ended_by(frame)
            return
        try:
            if not isinstance(frame, bytes):
                raise ProtocolError("bad-frame", "a text frame")
            self._received[lane] += len(frame)
            if self._session is None:
                self._prove(lane, frame)
            else:
                self._take(self._session, lane, frame)
        except ProtocolError as error:
            self._fail(error)
        except LinkError as error:
            self._lose(str(error))
        except MeshError as error:
            self._fail(ProtocolError("bad-message", str(error)))
        except Exception as error:  # it must not reach the engine, which would close the connection without a word
            _log.exception("a message of %s could not be handled", self.peer)
            self._fail(ProtocolError("bad-message", f"it could not be handled: {error!r}"))

    def writable(self, lane: Lane) -> None:
        self._pump_soon()

    def candidate(self, candidate: Mapping[str, Any]) -> None:
        self._on_candidate(candidate)

    def closed(self, reason: str) -> None:
        self._ended.set()
        self._lose(reason, wait=False)

    # Proof

    def _prove(self, lane: Lane, frame: bytes) -> None:
        if self._handshake is None or self._connection is None or lane is not Lane.CONTROL:
            raise ProtocolError("not-proven", f"a frame on the {lane.name.lower()} channel came before the proof")
        self.opened()  # the other side's HELLO may overtake the engine's word that the channels are open
        answer = self._handshake.receive(frame)
        if answer is not None:
            self._put(self._connection, Lane.CONTROL, answer)
        if self._handshake.remote is not None:
            self.name, self.grant = self._handshake.remote.name, self._handshake.remote.grant
            self._session = Session(self._loop.time())
            self._on_proven(self)
            self.proven.set_result(None)
            self._tick()
            self._look_up = self._spawn(self._find_path(self._connection))

    async def _find_path(self, connection: Connection) -> None:
        try:
            self._path = await connection.path()
        except Exception as error:
            _log.debug("the engine does not say how the packets travel: %s", error)

    # Session

    def _take(self, session: Session, lane: Lane, frame: bytes) -> None:
        for event in session.receive(lane, frame, self._loop.time()):
            if self._gone is not None:
                return
            match event:
                case Delivered(lane, message):
                    self._on_message(self, lane, message)
                case Closed(code, text):
                    self._lose(text if code == "closed" else f"the other side says {code}: {text}", wait=False)
                    return
        self._pump_soon()

    def _pump_soon(self) -> None:
        """Not at once: what is sent in the same turn of the loop shares frames."""
        if self._pumping is None and self._gone is None:
            self._pumping = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = None
        if self._gone is not None or self._session is None or self._connection is None:
            return
        try:
            for lane in Lane:
                while self._connection.buffered(lane) <= LANE_HIGH_WATER_BYTES - MAX_FRAME_BYTES:
                    frame = self._session.next_frame(lane)
                    if frame is None:
                        break
                    self._put(self._connection, lane, frame)
                if self._session.backlog(lane) <= LANE_HIGH_WATER_BYTES:
                    self._room[lane].set()
        except LinkError as error:
            self._lose(str(error), wait=False)
            return
        if self._session.settled:
            self._settled.set()
        self._arm(self._session.deadline)

    def _put(self, connection: Connection, lane: Lane, frame: bytes) -> None:
        connection.send(lane, frame)
        self._sent[lane] += len(frame)

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._session is None or self._gone is not None:
            return
        if self._session.tick(self._loop.time()):
            self._lose(f"nothing was heard for {SUSPECT_AFTER_S:.0f} s", wait=False)
        else:
            self._pump()

    # The end

    def _fail(self, error: ProtocolError) -> None:
        """The other side broke the rules: it is told so."""
        self._say_close(error.code, error.message)
        self._lose(str(error))

    def _say_close(self, code: str, text: str) -> None:
        if self._connection is not None:
            try:
                self._put(self._connection, Lane.CONTROL, encode_frame([Close(code, text)]))
            except LinkError as error:
                _log.debug("%s could not be told why: %s", self.peer, error)

    def _lose(self, reason: str, *, wait: bool = True) -> None:
        if self._gone is not None:
            return
        self._gone = reason
        for pending in (self._timer, self._pumping, self._look_up):
            if pending is not None:
                pending.cancel()
        for event in (*self._room.values(), self._settled):
            event.set()
        self._finish = self._spawn(self._close_connection(wait=wait))
        if self._session is None:
            if not self.proven.done():  # cancelled, where the one who waited for it was
                self.proven.set_exception(LinkError(self.step, reason))
                self.proven.exception()  # seen, also where nobody waits for it any more
        else:
            self._on_gone(self, None if self._closing else reason)

    def _ended_by(self, frame: bytes | str) -> None:
        """After our own CLOSE only one thing of the other side matters: that it says the same."""
        try:
            if isinstance(frame, bytes) and isinstance(decode_frame(frame)[0], Close):
                self._ended.set()
        except ProtocolError as error:
            _log.debug("%s sent nonsense at the end: %s", self.peer, error)

    async def _close_connection(self, *, wait: bool) -> None:
        """What was said last must arrive, so the other side, having heard it, closes first."""
        if self._connection is None:
            return
        if wait and self._greeted:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._ended.wait()
            except TimeoutError:
                pass
        await self._connection.close()
