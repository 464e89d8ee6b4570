"""A link: a session over one proven connection after another, driven by the event loop."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mesh.errors import LinkError
from mesh.limits import (
    CLOSE_TIMEOUT_S,
    LANE_HIGH_WATER_BYTES,
    MAX_FRAME_BYTES,
    PATH_INTERVAL_S,
    PATH_SETTLES_S,
    RESUME_TIMEOUT_S,
)
from mesh.protocol.handshake import Remote
from mesh.protocol.session import Closed, Delivered, Event, Session
from mesh.transport.link import Connection, Lane, Link, LinkStats, OnLost, OnMessage, Path
from mesh.transport.negotiation import Carrier, Receiver, Spawn

type OnGone = Callable[["SessionLink", str | None], None]  # without a reason where this side closed the link

_LANES: Final = tuple(Lane)
_log = logging.getLogger(__name__)
_SILENT: Final = "nothing was heard of it any more"


class SessionLink(Link, Receiver):
    """Begins with ``stand_on``, its first connection. When that breaks or falls silent the link is ``suspended``.

    ``on_suspended`` asks for another connection; what is sent meanwhile waits. When nothing is heard for long, which a
    connection that breaks need not mean, ``on_silent`` says so. A silent connection is kept until another one stands: a
    process that was stopped may be heard on it again (``on_heard``), and there may be nobody else to carry offers to
    it. When the link is suspended for RESUME_TIMEOUT_S, it is lost.
    """

    def __init__(
        self,
        remote: Remote,
        *,
        session: bytes,
        spawn: Spawn,
        on_message: OnMessage,
        on_suspended: Callable[["SessionLink"], None],
        on_silent: OnLost,
        on_heard: Callable[[Link], None],
        on_path: Callable[[Link], None],
        on_gone: OnGone,
    ) -> None:
        self.peer, self.name, self.grant = remote.peer, remote.name, remote.grant
        self.ends = session, remote.session
        self._spawn = spawn
        self._on_message, self._on_path = on_message, on_path
        self._on_suspended, self._on_gone = on_suspended, on_gone
        self._on_silent, self._on_heard = on_silent, on_heard
        self._loop = asyncio.get_running_loop()
        self._session = Session(self._loop.time())
        self.carrier: Carrier | None = None
        self._engine = ""
        self._closing = False
        self._gone: str | None = None
        self._turn = {lane: asyncio.Lock() for lane in Lane}
        self._room = {lane: asyncio.Event() for lane in Lane}
        self._settled = asyncio.Event()
        self._more_to_come = False  # of the frame that is being handled
        self._pumping: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._look_up: asyncio.Task[None] | None = None
        self._finish: asyncio.Task[None] | None = None
        self._sent = dict.fromkeys(Lane, 0)
        self._received = dict.fromkeys(Lane, 0)
        self._buffered = dict.fromkeys(Lane, 0)  # by the channel, at most: what it has sent since is not taken off
        self._path: Path = "unknown"

    # Link

    def post(self, lane: Lane, message: bytes) -> None:
        """As in Nagle's algorithm (RFC 896), messages share frames only while something else is on its way."""
        session = self._live()
        idle = session.is_idle(lane)
        session.send(lane, message)
        if idle and not self._more_to_come:
            self._pump()
        else:
            self._pump_soon()

    async def send(self, lane: Lane, message: bytes) -> None:
        async with self._turn[lane]:
            self.post(lane, message)
            while self._live().backlog(lane) > LANE_HIGH_WATER_BYTES:
                self._room[lane].clear()
                await self._room[lane].wait()

    def stats(self) -> LinkStats:
        rtt_s = self._session.rtt_s
        rtt_ms = None if rtt_s is None else rtt_s * 1e3
        return LinkStats(rtt_ms, dict(self._sent), dict(self._received), self._engine, self._path)

    async def close(self) -> None:
        self._closing = True
        if self._gone is None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    while not self._session.settled and self._gone is None:
                        self._settled.clear()
                        await self._settled.wait()
            except TimeoutError:
                _log.debug("%s did not acknowledge everything before the link was closed", self.peer)
        if self._gone is None:
            if self.carrier is not None:
                self.carrier.say_close("closed", "the other side closed the link")
                self._finish = self.carrier.finish()
            self.lose("this side closed the link")
        if self._finish is not None:
            await asyncio.shield(self._finish)

    def _live(self) -> Session:
        if self._closing or self._gone is not None:
            raise LinkError("link", self._gone or "it is not open")
        return self._session

    # Connections

    @property
    def suspended(self) -> bool:
        """Whether the link lives without a connection on which something is heard."""
        return self._patience is not None

    @property
    def silent(self) -> bool:
        """Whether nothing has been heard for long."""
        return self._session.silent

    def stand_on(self, carrier: Carrier, connection: Connection) -> None:
        """The connection that carries the session from now on."""
        self.carrier, carrier.receiver = carrier, self
        self._engine = connection.engine
        self._buffered = dict.fromkeys(Lane, 0)
        self._look_up = self._spawn(self._watch_path(connection))
        self._pumping = self._loop.call_soon(self._tick)  # what is sent by those who hear of the link goes along

    def resume_on(self, carrier: Carrier, connection: Connection) -> None:
        """Likewise, in the place of the connection before, which the other side may still stand on for a moment."""
        if self.carrier is not None:
            self.carrier.finish()
        self._stop_timers()
        self._trust()
        self._session.resume(self._loop.time())
        self.stand_on(carrier, connection)

    def probe(self) -> None:
        """Doubts the connection."""
        self._session.probe(self._loop.time())
        self._pump_soon()

    def _suspend(self, reason: str) -> None:
        """The session waits for another connection, or to hear of this one again."""
        if self._closing:
            self.lose(reason)
        elif self._patience is None:
            late = f"{reason}, and no new connection stood within {RESUME_TIMEOUT_S:.0f} s"
            self._patience = self._loop.call_later(RESUME_TIMEOUT_S, self.lose, late)
            self._on_suspended(self)

    def _trust(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def broken(self, reason: str, *, final: bool) -> None:
        if final:
            self.lose(reason)
            return
        if self.carrier is not None:
            self.carrier.abandon(reason)
            self.carrier = None
        self._stop_timers()
        self._suspend(reason)
        if self._gone is None:
            self._arm(self._session.deadline)  # it may fall silent yet

    @property
    def relayed(self) -> bool:
        """Whether the last connection went through a TURN server."""
        return self._path.startswith("relay")

    async def _watch_path(self, connection: Connection) -> None:
        """An engine may find a better path while the connection stands."""
        told: Path | None = None
        await asyncio.sleep(PATH_SETTLES_S)
        while True:
            try:
                self._path = await connection.path()
            except Exception as error:
                _log.debug("the engine does not say how the packets travel: %s", error)
            if self._path != told:
                told = self._path
                self._on_path(self)
            await asyncio.sleep(PATH_INTERVAL_S)

    # Session

    def frame(self, lane: Lane, frame: bytes) -> None:
        self._received[lane] += len(frame)
        was_silent = self.silent
        events = self._session.receive(lane, frame, self._loop.time())
        if was_silent:
            self._trust()
            self._on_heard(self)
        try:
            for number, event in enumerate(events, 1):
                self._more_to_come = number < len(events)
                self._handle(event)
        finally:
            self._more_to_come = False
        if self._gone is None:
            self._pump()

    def _handle(self, event: Event) -> None:
        if self._gone is not None:
            return
        match event:
            case Delivered(lane, message):
                self._on_message(self, lane, message)
            case Closed(code, text):
                self.lose(text if code == "closed" else f"the other side says {code}: {text}")

    def writable(self) -> None:
        self._pump_soon()

    def _pump_soon(self) -> None:
        if self._pumping is None and self.carrier is not None:
            self._pumping = self._loop.call_at(self._loop.time(), self._pump)

    def _pump(self) -> None:
        if self._pumping is not None:
            self._pumping.cancel()
            self._pumping = None
        if self.carrier is None or self.carrier.connection is None:
            return
        try:
            for lane in _LANES:
                self._fill(self.carrier, self.carrier.connection, lane)
        except LinkError as error:  # who posts is not told in the middle of what it does
            self._loop.call_soon(self._failed, self.carrier, str(error))
        else:
            self._rest()

    def _failed(self, carrier: Carrier, reason: str) -> None:
        if self.carrier is carrier:
            self.broken(reason, final=False)

    def _rest(self) -> None:
        """Until something comes, or time is up."""
        if self._session.settled:
            self._settled.set()
        self._arm(self._session.deadline)

    def _fill(self, carrier: Carrier, connection: Connection, lane: Lane) -> None:
        while self._session.has_frame(lane) and self._takes_frame(connection, lane):
            frame = self._session.next_frame(lane)
            if frame is None:
                break
            carrier.send(lane, frame)
            self._sent[lane] += len(frame)
            self._buffered[lane] += len(frame)
        if self._session.backlog(lane) <= LANE_HIGH_WATER_BYTES:
            self._room[lane].set()

    def _takes_frame(self, connection: Connection, lane: Lane) -> bool:
        """The engine is asked only when the lane may be full, since each question can be a trip to its own thread."""
        if self._buffered[lane] > LANE_HIGH_WATER_BYTES - MAX_FRAME_BYTES:
            self._buffered[lane] = connection.buffered(lane)
        return self._buffered[lane] <= LANE_HIGH_WATER_BYTES - MAX_FRAME_BYTES

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
        if self._session.tick(self._loop.time()):
            self._suspend(_SILENT)
            if self._gone is None:
                self._on_silent(self, _SILENT)
        if self.carrier is not None:
            self._pump()
        elif self._gone is None:
            self._arm(self._session.deadline)

    def _stop_timers(self) -> None:
        for pending in (self._timer, self._pumping, self._look_up):
            if pending is not None:
                pending.cancel()
        self._timer = self._pumping = None

    # The end

    def lose(self, reason: str) -> None:
        """The link is gone, and its session with it."""
        if self._gone is not None:
            return
        self._gone = reason
        self._stop_timers()
        self._trust()
        for event in (*self._room.values(), self._settled):
            event.set()
        if self.carrier is not None:
            self.carrier.abandon(reason)
            self.carrier = None
        self._on_gone(self, None if self._closing else reason)
