"""The signaling server in the simulated world: the real hub and planner, behind sockets without a network."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

from virtual_time import WORLD, Pipe, Process, VirtualLoop, this_process
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from mesh.limits import PRESENCE_INTERVAL_S
from signaling_server.client import Client, Socket
from signaling_server.hub import Hub
from signaling_server.planner import PlanRequest

DELAY_S = 0.003
PLANNING_S = 0.02


class SignalingServer:
    """``connect`` stands in for that of websockets; ``stop`` kills the server, ``start`` brings up an empty one."""

    def __init__(self, loop: VirtualLoop, rnd: random.Random, *, replicas: float) -> None:
        self._loop, self._rnd, self._replicas = loop, rnd, replicas
        self._hub: Hub | None = None
        self._ends: list[ServerEnd] = []

    @property
    def now(self) -> float:
        return START + self._loop.time()

    def start(self) -> None:
        self._hub = Hub(random=self._rnd.randbytes)
        self._tick(self._hub)

    def _tick(self, hub: Hub) -> None:
        if hub is self._hub:
            hub.tick(self.now)
            self._loop.call_later(PRESENCE_INTERVAL_S, self._tick, hub, context=WORLD)

    def stop(self) -> None:
        self._hub = None
        ends, self._ends = self._ends, []
        for end in ends:
            end.to_client.send(None, DELAY_S)

    def died(self, process: Process) -> None:
        """The kernel closes the sockets of a killed process."""
        for end in [each for each in self._ends if each.process is process]:
            self._loop.call_later(DELAY_S, self.hung_up, end, context=WORLD)

    async def connect(self, _address: str, **_options: Any) -> "ClientEnd":
        """Raises OSError while the server is away."""
        await asyncio.sleep(DELAY_S)
        if self._hub is None:
            raise ConnectionRefusedError("nobody listens")
        return WORLD.run(ServerEnd, self, self._hub, this_process()).client_end

    def add(self, end: "ServerEnd") -> None:
        self._ends.append(end)

    def heard(self, end: "ServerEnd", data: str | bytes) -> None:
        if self._hub is None or end not in self._ends:
            return
        request = self._hub.receive(end.client, data, self.now)
        if request is not None:
            self._loop.call_later(PLANNING_S, self._planned, self._hub, request, context=WORLD)

    def _planned(self, hub: Hub, request: PlanRequest) -> None:
        if hub is self._hub:
            answer = request.answer()
            if "plan" in answer and not request.apart:
                self._replicate(answer["graph"], answer["plan"])
            hub.planned(request, answer)

    def _replicate(self, graph: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
        """Gives a share of the stateless nodes a second place, which the planner does not do by itself yet."""
        for node in graph["nodes"]:
            seats = plan["steps"][0]["nodes"][node["id"]]["on"]
            fit = [each["peer"] for each in plan["why"][node["id"]] if not each["lacks"]]
            others = [peer for peer in fit if peer != seats[0]["peer"]]
            if others and not node["stateful"] and self._rnd.random() < self._replicas:
                seats.append({**seats[0], "peer": self._rnd.choice(others)})

    def hung_up(self, end: "ServerEnd") -> None:
        if end in self._ends:
            self._ends.remove(end)
            assert self._hub is not None
            self._hub.disconnect(end.client, self.now)


START = 1_800_000_000.0


class ServerEnd(Socket):
    """The hub's end of a socket."""

    def __init__(self, server: SignalingServer, hub: Hub, process: Process) -> None:
        self.process = process
        self.client_end = ClientEnd(server, self)
        self.to_client = Pipe(server._loop, process, self.client_end.arrived)
        self.to_server = Pipe(server._loop, None, lambda data: server.heard(self, data))
        server.add(self)
        self.client = hub.connect(self, server.now)

    def push(self, client: Client) -> None:
        while (data := client.take()) is not None:
            self.to_client.send(data.decode(), DELAY_S)

    def kick(self, code: int, reason: str) -> None:
        self.to_client.send(Close(code, reason), DELAY_S)


class ClientEnd:
    """A peer's end: what SignalingClient uses of ``websockets.asyncio.client.ClientConnection``."""

    def __init__(self, server: SignalingServer, end: ServerEnd) -> None:
        self._server, self._end = server, end
        self._came: asyncio.Queue[str | Close | None] = asyncio.Queue()
        self._closed: ConnectionClosedError | None = None

    def arrived(self, data: str | Close | None) -> None:
        """None: the connection broke."""
        if not isinstance(data, str):
            self._closed = ConnectionClosedError(data, None)
        self._came.put_nowait(data)

    async def send(self, data: str | bytes, *, text: bool | None = None) -> None:
        if self._closed is not None:
            raise self._closed
        self._end.to_server.send(data.decode() if text and isinstance(data, bytes) else data, DELAY_S)

    async def recv(self) -> str:
        data = await self._came.get()
        if not isinstance(data, str):
            self._came.put_nowait(data)
            assert self._closed is not None
            raise self._closed
        return data

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            yield await self.recv()

    async def close(self) -> None:
        self._server._loop.call_later(DELAY_S, self._server.hung_up, self._end, context=WORLD)
