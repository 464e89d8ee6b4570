"""The connection to the signaling server: made again and again while the peer lives (docs/wire.md, 6)."""

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from mesh.errors import MeshError, SignalingError
from mesh.ids import PeerId, PeerName, peer_id
from mesh.limits import (
    KICK_TIMEOUT_S,
    MAX_SIGNALING_BYTES,
    OUTBOX_MESSAGES,
    PLAN_TIMEOUT_S,
    REJOIN_GRACE_S,
    SIGNALING_HEARTBEAT_S,
    SIGNALING_PATIENCE_S,
    SIGNALING_TIMEOUT_S,
)
from mesh.protocol import signaling as said
from mesh.protocol.grants import Invite, sign_join
from mesh.protocol.signaling import POLICY_VIOLATION, VERSION, Record
from mesh.transport.signaling.registry import OnPresence, Registry

RETRIED: Final = frozenset(("slow", "silent", "away"))  # every other end of a connection is a refusal, and final

type OnRelay = Callable[[PeerId, Mapping[str, Any]], Awaitable[None] | None]

_log = logging.getLogger(__name__)


class SignalingClient:
    """A place in a room. After ``connect`` it stays there, across restarts of the server, until ``close`` or a refusal.

    ``registry`` knows the others, and tells ``on_presence``. ``on_relay(sender, data)`` gets what they relay, in order.
    ``heartbeat`` answers the fields of a heartbeat. With ``announce=None`` the client only watches and is no peer.
    """

    def __init__(
        self,
        invite: Invite,
        *,
        name: PeerName,
        announce: Mapping[str, Any] | None,
        on_relay: OnRelay = lambda sender, data: None,
        on_presence: OnPresence = lambda joined, updated, left: None,
        heartbeat: Callable[[], Mapping[str, Any]] = dict,
        key: Ed25519PrivateKey | None = None,
    ) -> None:
        self._invite = invite
        self._key = key or Ed25519PrivateKey.generate()
        self._public_key = self._key.public_key().public_bytes_raw()
        self._announcement = announce
        self._on_relay, self._heartbeat = on_relay, heartbeat
        self.peer: PeerId = peer_id(self._public_key)
        self.name = name
        self.room = invite.room
        self.can: frozenset[str] = frozenset()
        self.registry = Registry(self.peer, on_presence)
        self._connection: ClientConnection | None = None
        self._outbox: asyncio.Queue[bytes] | None = None  # None while the server is away
        self._is_silent = False  # it did not answer, and has said nothing since
        self._last_ice_servers: list[dict[str, Any]] = []
        self._ice: set[asyncio.Future[list[dict[str, Any]]]] = set()
        self._plans: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next_plan = 0
        self._staying: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # For the peer

    async def connect(self) -> None:
        """Joins the room. Raises SignalingError with the server's code, or ``away`` where nobody answers."""
        await self._join()
        self._staying = asyncio.create_task(self._stay())
        self._staying.add_done_callback(_tell_end)

    @property
    def peers(self) -> dict[PeerId, Record]:
        """The records of the others, by id."""
        return self.registry.peers

    @property
    def connected(self) -> bool:
        """Whether the server is there, as far as we know: it may be silent, and the connection stand."""
        return self._outbox is not None and not self._is_silent

    @property
    def settled(self) -> bool:
        """Whether the server is there and its registry whole: after a restart the others need a moment to come back."""
        return self.connected and not self.registry.awaited

    def reaches(self, peer: PeerId) -> bool:
        """Whether the server can relay to this peer, as far as we know."""
        return self.connected and peer in self.peers and peer not in self.registry.awaited

    async def wait_closed(self) -> None:
        """Returns after ``close``; raises the SignalingError with which the server ended the membership for good."""
        if self._staying is not None:
            await asyncio.wait([self._staying])
            if not self._staying.cancelled():
                await self._staying

    async def close(self) -> None:
        """Leaves the room and frees everything."""
        tasks = [task for task in (self._staying, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._outbox = None
        if self._connection is not None:
            await self._connection.close()
        self.peers.clear()

    async def relay(self, to: PeerId, data: Mapping[str, Any]) -> None:
        """Sends ``data`` to another peer through the server; raises SignalingError("away")."""
        self._send({"type": "relay", "to": to, "data": data})

    async def plan(
        self,
        manifest: str | Mapping[str, Any],
        *,
        pins: Mapping[str, str] | None = None,
        without: Collection[PeerId] = (),
        apart: Collection[frozenset[PeerId]] = (),
        announce: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """``{name, graph, plan}``, ``{faults}`` or ``{refused}``; ``announce`` is what we offer to our own run.

        ``without``: peers that are left out; ``apart``: pairs of peers that cannot exchange results.
        """
        self._next_plan += 1
        number = self._next_plan
        request = {"type": "plan", "id": number, "manifest": manifest, "pins": dict(pins or {})}
        if left_out := sorted(self.peers.keys() & without):
            request["without"] = left_out
        if apart:
            request["apart"] = sorted(map(sorted, apart))
        answer = self._plans[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(request if announce is None else {**request, "announce": announce})
            return await asyncio.wait_for(answer, PLAN_TIMEOUT_S)
        except TimeoutError:
            raise SignalingError("away", f"no plan came within {PLAN_TIMEOUT_S:.0f} s") from None
        finally:
            del self._plans[number]

    async def ice_servers(self) -> list[dict[str, Any]]:
        """STUN and TURN servers, in the browsers' form: fresh ones, or the last while the server is away."""
        if self._outbox is None:
            return self._last_ice_servers
        answer: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self._tell({"type": "ice"})
        self._ice.add(answer)
        try:
            return await asyncio.wait_for(answer, SIGNALING_PATIENCE_S)
        except TimeoutError:
            self._is_silent = True
        except SignalingError as error:
            _log.debug("no fresh ICE servers: %s", error)
        finally:
            self._ice.discard(answer)
        return self._last_ice_servers

    def announce(self, announcement: Mapping[str, Any]) -> None:
        """Replaces what was announced before."""
        self._announcement = announcement
        self._tell({"type": "announce", "announce": announcement})

    def report(self, run: Mapping[str, Any]) -> None:
        """Tells dashboards how a run of this peer stands."""
        self._tell({"type": "report", "run": run})

    def costs(self, nodes: Mapping[str, Mapping[str, float]]) -> None:
        """Tells the planner what was measured here: node type → runtime → ms of one call."""
        self._tell({"type": "costs", "nodes": nodes})

    def _tell(self, message: Mapping[str, Any]) -> None:
        """Sends what nobody waits for; it is lost while the server is away."""
        with suppress(SignalingError):
            self._send(message)

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._outbox is None:
            raise SignalingError("away", f"the signaling server {self._invite.server} is away")
        try:
            self._outbox.put_nowait(json.dumps(message, allow_nan=False).encode())
        except asyncio.QueueFull:
            raise SignalingError("away", "the signaling server does not take what it is sent") from None

    # The connection

    async def _join(self) -> None:
        """Makes the connection and enters the room by it; raises SignalingError."""
        server = self._invite.server
        try:
            connection = await connect(
                self._invite.websocket,
                compression=None,
                max_size=MAX_SIGNALING_BYTES,
                open_timeout=SIGNALING_TIMEOUT_S,
                close_timeout=KICK_TIMEOUT_S,
                ping_interval=SIGNALING_TIMEOUT_S,  # how this side learns of a server that vanished
                ping_timeout=SIGNALING_TIMEOUT_S,
                user_agent_header=None,
            )
        except (OSError, TimeoutError) as error:
            raise SignalingError("away", f"nobody answers at {server}: {str(error) or 'timed out'}") from None
        except (InvalidHandshake, InvalidURI) as error:
            raise SignalingError("away", f"{server} is no signaling server, or refuses: {error}") from None
        try:
            async with asyncio.timeout(SIGNALING_TIMEOUT_S):
                challenge = said.expect(said.Challenge, await connection.recv())
                await connection.send(json.dumps(self._join_message(challenge)))
                joined = said.expect(said.Joined, await connection.recv())
        except TimeoutError:
            await connection.close()
            raise SignalingError("away", f"{server} does not answer") from None
        except ConnectionClosed as closed:
            raise _ended(closed) from None
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        self._enter(joined)

    def _join_message(self, challenge: said.Challenge) -> dict[str, Any]:
        if challenge.version != VERSION:
            raise SignalingError("bad-version", f"the server speaks version {challenge.version}, this peer {VERSION}")
        return {
            "type": "join",
            "version": VERSION,
            "room": self._invite.room,
            "owner": self._invite.owner_key.hex(),
            "grant": self._invite.grant,
            "name": self.name,
            "key": self._public_key.hex(),
            "signature": sign_join(self._key, self._invite.room, challenge.nonce),
            "announce": self._announcement,
        }

    async def _stay(self) -> None:
        """Keeps the place in the room; raises SignalingError where the server will not have us back."""
        while (connection := self._connection) is not None:
            sending = [asyncio.create_task(work) for work in (self._write(connection), self._beat())]
            try:
                async for data in connection:
                    self._is_silent = False
                    self._receive(said.decode(data))
                raise SignalingError("away", "the server has closed the connection")
            except ConnectionClosed as closed:
                self._lose(_ended(closed))
            except SignalingError as error:
                self._lose(error)
            finally:
                self._outbox = None
                for task in sending:
                    task.cancel()
                await asyncio.gather(*sending, connection.close(), return_exceptions=True)
            await self._rejoin()

    def _lose(self, error: SignalingError) -> None:
        waiting: list[asyncio.Future[Any]] = [*self._ice, *self._plans.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._ice.clear()
        if error.code not in RETRIED:
            raise error
        _log.info("signaling is away: %s", error)

    async def _rejoin(self) -> None:
        # Measured: spreading every try over the same short time brings a whole room back sooner than backing off does.
        spread = max(1.0, len(self.peers) / 1000)
        while True:
            await asyncio.sleep(random.uniform(0, spread))
            try:
                return await self._join()
            except SignalingError as error:
                if error.code not in RETRIED:
                    raise

    async def _write(self, connection: ClientConnection) -> None:
        outbox = self._outbox
        while outbox is not None:
            await connection.send(await outbox.get(), text=True)

    async def _beat(self) -> None:
        while True:
            self._tell({"type": "heartbeat", **self._heartbeat()})
            await asyncio.sleep(SIGNALING_HEARTBEAT_S)

    # What the server says

    def _receive(self, message: said.Message) -> None:
        match message:
            case said.Presence():
                self.registry.change(message)
            case said.Relay():
                self._background(self._relayed(message))
            case said.Ice():
                self._last_ice_servers = message.ice_servers
                for future in self._ice:
                    if not future.done():
                        future.set_result(message.ice_servers)
                self._ice.clear()
            case said.Plan():
                asked = self._plans.get(message.id)
                if asked is not None and not asked.done():
                    asked.set_result(message.answer())
            case said.Error():
                asked = self._plans.get(message.id) if message.id is not None else None
                if asked is not None and not asked.done():
                    asked.set_exception(SignalingError(message.code, message.message))
                elif message.code == "unknown-peer":  # a link is made anew to somebody who has left the room
                    _log.debug("signaling: %s", message.message)
                elif asked is None:
                    _log.warning("signaling: %s: %s", message.code, message.message)
            case said.Challenge() | said.Joined():
                raise SignalingError("bad-message", "the server greets twice")

    async def _relayed(self, relay: said.Relay) -> None:
        """Tasks begin in the order of their creation, so relays are told in order though none waits for another."""
        try:
            done = self._on_relay(PeerId(relay.sender), relay.data)
            if done is not None:
                await done
        except MeshError as error:
            _log.warning("what %s relayed led to nothing: %s", relay.sender, error)

    def _enter(self, joined: said.Joined) -> None:
        self.peer, self.name, self.room = PeerId(joined.peer), PeerName(joined.name), joined.room
        self.can = frozenset(joined.can)
        self._is_silent, self._last_ice_servers = False, joined.ice_servers
        self._outbox = asyncio.Queue(OUTBOX_MESSAGES)
        self.registry.begin(joined)
        if self.registry.awaited:
            self._background(self._give_up_on_missing())

    async def _give_up_on_missing(self) -> None:
        """After a restart of the server the others come back within a moment, as we did; then they are gone."""
        await asyncio.sleep(REJOIN_GRACE_S)
        self.registry.give_up()

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ended(closed: ConnectionClosed) -> SignalingError:
    """Why the connection ended: ``code: text``, as the server closes it, else ``away``."""
    reason = closed.rcvd.reason if closed.rcvd is not None else ""
    code, colon, text = reason.partition(": ")
    if closed.rcvd is not None and closed.rcvd.code == POLICY_VIOLATION and colon:
        return SignalingError(code, text)
    return SignalingError("away", "the connection to the signaling server is gone")


def _tell_end(staying: asyncio.Task[None]) -> None:
    if not staying.cancelled() and (error := staying.exception()) is not None:
        _log.warning("this peer is out of its room: %s", error)
