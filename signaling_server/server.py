"""The signaling server: the hub behind WebSockets, and the page behind plain GETs, on one port."""

import asyncio
import ipaddress
import json
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from mesh.errors import ValueFault
from mesh.limits import HTTP_TIMEOUT_S, KICK_TIMEOUT_S, MAX_CLIENTS, MAX_SIGNALING_BYTES, PRESENCE_INTERVAL_S
from mesh.protocol.grants import ENTROPY_BYTES, RIGHTS, Invite, RoomKeys, is_room
from signaling_server.client import Client, Socket
from signaling_server.http import Site
from signaling_server.hub import Hub
from signaling_server.planner import PlanRequest
from signaling_server.turn import Turn

DEMO: Final = "demo"
INVITE_TTL_S: Final = 24 * 3600.0
INVITES: Final[Mapping[str, Sequence[str]]] = {**{right: (right,) for right in RIGHTS}, "all": RIGHTS}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where to listen and whom to serve. Without ``rooms`` the server must listen on loopback; it then serves any room
    that certifies itself, and the open room ``demo``, whose keys it makes itself. The folder ``state`` keeps what must
    outlive a restart, if it is given: those keys, and which grants were ever denied.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    rooms: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()  # ids of grants
    origins: tuple[str, ...] = ()  # of pages, besides the server's own
    ice_servers: Sequence[Mapping[str, Any]] = ()
    turn: Turn | None = None
    state: Path | None = None

    def __post_init__(self) -> None:
        wrong = [room for room in self.rooms if not is_room(room) or "~" not in room]
        if wrong:
            raise ValueFault(
                f"{wrong[0]!r} is no room id: it reads NAME~HASH, as mesh invite --new-room NAME prints it"
            )
        if not self.rooms and not is_loopback(self.host):
            raise ValueFault(
                f"on {self.host} others can reach this server, so the open demo room is not for it: make a room with "
                "`mesh invite --new-room NAME`, and name it here with --room"
            )


class State:
    """What outlives a restart, in files that only their owner may read. Raises ValueFault where that is not so."""

    def __init__(self, folder: Path) -> None:
        self._demo, self._denied = folder / "demo.json", folder / "denied.json"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
        except OSError as error:
            raise ValueFault(f"{folder}: this folder cannot keep a state: {error.strerror}") from None
        if os.name == "posix" and (found.st_uid != os.geteuid() or found.st_mode & 0o022):
            raise ValueFault(f"{folder}: others can write here; name a folder of this user, and run chmod go-w on it")

    def demo_keys(self, made: RoomKeys) -> RoomKeys:
        """Those of the demo room; ``made`` where there are none yet."""
        if not self._demo.exists():
            made.save(self._demo)
        keys = RoomKeys.load(self._demo)
        if keys.room != DEMO:
            raise ValueFault(f"{self._demo}: these are the keys of room {keys.room}; name a folder of its own")
        return keys

    def denied(self, more: frozenset[str]) -> frozenset[str]:
        """Every grant that was ever denied here, with ``more``."""
        try:
            known = json.loads(self._denied.read_bytes()) if self._denied.exists() else []
            if not (isinstance(known, list) and all(isinstance(each, str) for each in known)):
                raise ValueError
            denied = more.union(known)
            if more.difference(known):
                fresh = self._denied.with_suffix(".new")  # a crash leaves the old list or the new one
                fresh.touch(mode=0o600)
                fresh.write_text(json.dumps(sorted(denied)))
                fresh.replace(self._denied)
        except OSError as error:
            raise ValueFault(f"{self._denied}: the denied grants cannot be kept: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise ValueFault(f"{self._denied}: this is no list of denied grants") from None
        return denied


class Server:
    """A running server. ``invites`` (of the demo room; else empty) are minted when they are read."""

    def __init__(self, *, hub: Hub, host: str, port: int, demo: RoomKeys | None) -> None:
        self.hub = hub
        self.port = port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._demo = demo

    @property
    def invites(self) -> dict[str, str]:
        """``submit``, ``work``, ``watch`` and ``all``: URLs of the demo room, good for a day."""
        if self._demo is None:
            return {}
        return {name: _demo_invite(self._demo, self.url, can).url for name, can in INVITES.items()}

    @property
    def dashboard(self) -> str:
        """The dashboard's address, with an invite to the demo room if there is one."""
        return _demo_invite(self._demo, self.url, ("watch",)).dashboard if self._demo else f"{self.url}/dashboard"


@asynccontextmanager
async def serve(config: Config) -> AsyncIterator[Server]:
    """Serves until the block is left; raises OSError where the port is taken, ValueFault for a state of no use."""
    state = None if config.state is None else State(config.state)
    demo = None if config.rooms else _demo_keys(state)
    hub = Hub(
        random=secrets.token_bytes,
        owners={DEMO: demo.owner_key} if demo else {},
        only=config.rooms or None,
        denied=config.denied if state is None else state.denied(config.denied),
        ice_servers=config.ice_servers,
        turn=config.turn,
    )
    site = await asyncio.to_thread(Site.read, origins=config.origins, local=is_loopback(config.host))
    plans: set[asyncio.Task[None]] = set()

    async def on_client(connection: ServerConnection) -> None:
        await _converse(hub, connection, plans)

    home = (lambda: _demo_invite(demo, "", RIGHTS).url) if demo else None

    def on_request(connection: ServerConnection, request: Request) -> Response | None:
        if len(hub.clients) >= MAX_CLIENTS:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "This server has no place for another client.\n")
        return site.answer(request, home=home, health=hub.health)

    async with serve_websockets(
        on_client,
        config.host,
        config.port,
        process_request=on_request,
        server_header=None,
        compression=None,  # 3 to 8 times the memory
        max_size=MAX_SIGNALING_BYTES,
        ping_interval=None,  # the clients' heartbeat is the one sign of life
        open_timeout=HTTP_TIMEOUT_S,
        close_timeout=KICK_TIMEOUT_S,
    ) as listener:
        server = Server(hub=hub, host=config.host, port=listener.sockets[0].getsockname()[1], demo=demo)
        ticking = asyncio.create_task(_tick(hub))
        try:
            yield server
        finally:
            for task in (ticking, *plans):
                task.cancel()


async def _converse(hub: Hub, connection: ServerConnection, plans: set[asyncio.Task[None]]) -> None:
    """One client, from its socket's opening to its end."""
    client = hub.connect(Writer(connection), time.time())
    try:
        async for message in connection:
            request = hub.receive(client, message, time.time())
            if request is not None:
                task = asyncio.create_task(_plan(hub, request))
                plans.add(task)
                task.add_done_callback(plans.discard)
    except ConnectionClosed:
        pass  # it vanished without a closing handshake
    finally:
        hub.disconnect(client, time.time())


async def _plan(hub: Hub, request: PlanRequest) -> None:
    try:
        answer = await asyncio.to_thread(request.answer)
    except Exception:
        log.exception("the planner failed")
        answer = None
    hub.planned(request, answer)


async def _tick(hub: Hub) -> None:
    while True:
        await asyncio.sleep(PRESENCE_INTERVAL_S)
        hub.tick(time.time())


class Writer(Socket):
    """Sends a client's outbox as its connection takes it; there is a task only while it does not take it at once."""

    __slots__ = ("_closing", "_connection", "_draining")

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._draining: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    def push(self, client: Client) -> None:
        if self._draining is not None:
            return
        if self._connection.transport.get_write_buffer_size():
            self._draining = asyncio.create_task(self._drain(client))
        elif (data := client.take()) is not None:
            broadcast((self._connection,), data, text=True)

    def kick(self, code: int, reason: str) -> None:
        self._closing = asyncio.create_task(self._close(code, reason))

    async def _drain(self, client: Client) -> None:
        try:
            while (data := client.take()) is not None:
                await self._connection.send(data, text=True)
        except ConnectionClosed:
            pass  # the handler hears of it too
        finally:
            self._draining = None

    async def _close(self, code: int, reason: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(KICK_TIMEOUT_S):
                if self._draining is not None:
                    await self._draining
                await self._connection.close(code, reason)
        self._connection.transport.abort()


def _demo_invite(keys: RoomKeys, server: str, can: Sequence[str]) -> Invite:
    return keys.invite(server=server, subject=DEMO, can=can, ttl_s=INVITE_TTL_S, now=time.time())


def _demo_keys(state: State | None) -> RoomKeys:
    made = RoomKeys.registered(DEMO, secrets.token_bytes(ENTROPY_BYTES))
    return made if state is None else state.demo_keys(made)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
