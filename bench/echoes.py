"""Ways to a process on this machine that gives back what it is sent: the bare channel, our link, and a whole run.

Each is a client's end; it starts the other process itself. Items come back in the order in which they went.
"""

import asyncio
import json
import multiprocessing
import sys
from abc import ABC, abstractmethod
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any, ClassVar, Final

from mesh.ids import PeerId, PeerName
from mesh.limits import LANE_HIGH_WATER_BYTES, MAX_FRAME_BYTES
from mesh.peer import Peer
from mesh.protocol.grants import Grant
from mesh.transport.link import Lane, Link
from mesh.transport.links import Links, Me, engine_named

HOST: Final = "127.0.0.1"
CLIENT, WORKER = PeerId("a" * 16), PeerId("b" * 16)
spawn: Final = multiprocessing.get_context("spawn")


class Echo(ABC):
    """``prepare`` starts the other process, ``connect`` makes the way to it, ``echo`` is one item there and back."""

    needs: ClassVar[tuple[str, ...]] = ()  # packages besides ours

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    @abstractmethod
    async def prepare(self) -> None: ...

    @abstractmethod
    async def connect(self) -> None: ...

    @abstractmethod
    async def send(self, item: bytes) -> None:
        """Returns when there is room for another one."""

    async def echo(self, item: bytes) -> None:
        back = asyncio.get_running_loop().create_future()
        self._waiting.append(back)
        await self.send(item)
        await back

    def came_back(self) -> None:
        self._waiting.popleft().set_result(None)

    def failed(self, error: Exception) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(error)

    @abstractmethod
    async def close(self) -> None: ...


def start(work: Callable[..., None], *arguments: object) -> Pipe:
    """A process that does ``work(pipe, …)``; the other end of its pipe. It ends with this one."""
    here, there = spawn.Pipe()
    spawn.Process(target=work, args=(there, *arguments), daemon=True).start()
    there.close()
    return here


def in_loop(pipe: Pipe, work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
    with suppress(KeyboardInterrupt):
        asyncio.run(work(pipe, *arguments))


def on_news(pipe: Pipe, handle: Callable[[Any], None]) -> None:
    """Calls ``handle`` with each object that comes on the pipe; the end of the pipe ends the loop's tasks."""

    def read() -> None:
        try:
            handle(pipe.recv())
        except (EOFError, ConnectionError):
            loop.remove_reader(pipe.fileno())

    loop = asyncio.get_running_loop()
    loop.add_reader(pipe.fileno(), read)


# The bare channel of an engine


class ChannelEnd:
    """One end of a connection, with no more than a queue for what the channel has no room for."""

    def __init__(self, engine: str, pipe: Pipe, on_frame: Callable[[bytes], None]) -> None:
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connection = engine_named(engine)(self, [])
        self._pipe, self._on_frame = pipe, on_frame
        self._queued: deque[bytes] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        on_news(pipe, self._told)

    def send(self, frame: bytes) -> None:
        self._queued.append(frame)
        self.writable(Lane.DATA)

    async def offer(self) -> None:
        self._pipe.send(("offer", await self.connection.create_offer()))
        await self.open

    def _told(self, news: tuple[str, Any]) -> None:
        task = asyncio.create_task(self._negotiate(*news))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _negotiate(self, kind: str, data: Any) -> None:
        if kind == "offer":
            self._pipe.send(("answer", await self.connection.accept_offer(data)))
        elif kind == "answer":
            await self.connection.accept_answer(data)
        else:
            await self.connection.add_candidate(data)

    def opened(self) -> None:
        self.open.set_result(None)

    def frame(self, lane: Lane, frame: bytes | str) -> None:
        assert isinstance(frame, bytes)
        self._on_frame(frame)

    def writable(self, lane: Lane) -> None:
        while self._queued and self.connection.buffered(Lane.DATA) <= LANE_HIGH_WATER_BYTES - MAX_FRAME_BYTES:
            self.connection.send(Lane.DATA, self._queued.popleft())

    def candidate(self, candidate: Mapping[str, Any]) -> None:
        self._pipe.send(("candidate", dict(candidate)))

    def closed(self, reason: str) -> None: ...


async def serve_channel(pipe: Pipe, engine: str) -> None:
    end = ChannelEnd(engine, pipe, lambda frame: end.send(frame))
    pipe.send(None)
    await asyncio.Event().wait()


class Channel(Echo):
    """Items in messages of at most 16 KiB, which both engines like best, each given back as it comes."""

    def __init__(self, engine: str) -> None:
        super().__init__()
        self._engine = engine
        self._sizes: deque[int] = deque()
        self._received = 0

    async def prepare(self) -> None:
        engine_named(self._engine)  # imports it
        self._pipe = start(in_loop, serve_channel, self._engine)
        await asyncio.to_thread(self._pipe.recv)

    async def connect(self) -> None:
        self._end = ChannelEnd(self._engine, self._pipe, self._frame)
        await self._end.offer()

    async def send(self, item: bytes) -> None:
        self._sizes.append(len(item))
        for at in range(0, len(item), MAX_FRAME_BYTES):
            self._end.send(item[at : at + MAX_FRAME_BYTES])

    def _frame(self, frame: bytes) -> None:
        self._received += len(frame)
        if self._received == self._sizes[0]:
            self._received -= self._sizes.popleft()
            self.came_back()

    async def close(self) -> None:
        await self._end.connection.close()


# Our link


def make_links(pipe: Pipe, me: PeerId, engine: str, on_message: Callable[[Link, Lane, bytes], None]) -> Links:
    """The links of one process, with the pipe as their signaling."""

    async def relay(_to: PeerId, data: dict[str, Any]) -> None:
        pipe.send((me, data))

    async def no_servers() -> list[Mapping[str, Any]]:
        return []

    def told(news: tuple[PeerId, dict[str, Any]]) -> None:
        task = asyncio.create_task(links.relay(*news))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    tasks: set[asyncio.Task[None]] = set()
    grant = Grant("room", "bench", frozenset(("submit", "work")), 2**31, "1")
    links = Links(
        Me(me, PeerName(me), bytes(32), "grant", lambda _: grant),
        send_relay=relay,
        ice_servers=no_servers,
        engine=engine,
        on_message=on_message,
        on_suspect=lambda _link, _reason: None,
        on_resumed=lambda _link: None,
        on_lost=lambda _link, _reason: None,
        on_link=lambda _: None,
    )
    on_news(pipe, told)
    return links


async def serve_link(pipe: Pipe, engine: str) -> None:
    messages: asyncio.Queue[tuple[Link, bytes]] = asyncio.Queue()
    links = make_links(pipe, WORKER, engine, lambda link, _, message: messages.put_nowait((link, message)))
    pipe.send(None)
    while True:
        link, message = await messages.get()
        await link.send(Lane.DATA, message)
    await links.close()


class OurLink(Echo):
    """``mesh.transport.links``: proof, session, acknowledgements, messages of any size."""

    def __init__(self, engine: str) -> None:
        super().__init__()
        self._engine = engine

    async def prepare(self) -> None:
        engine_named(self._engine)
        self._pipe = start(in_loop, serve_link, self._engine)
        await asyncio.to_thread(self._pipe.recv)

    async def connect(self) -> None:
        self._links = make_links(self._pipe, CLIENT, self._engine, lambda _link, _lane, _message: self.came_back())
        self._link = await self._links.get(WORKER)

    async def send(self, item: bytes) -> None:
        await self._link.send(Lane.DATA, item)

    async def close(self) -> None:
        await self._links.close()


# A whole run


class WholeRun(Echo):
    """``Peer.run`` with one PassThrough on a ``mesh worker``; one run takes all items."""

    def __init__(self, engine: str, runtime: str) -> None:
        super().__init__()
        self._engine, self._runtime = engine, runtime
        self._items: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._processes: list[Process] = []

    async def prepare(self) -> None:
        engine_named(self._engine)
        invites = (await self._mesh("signal", "--port", "0", "--host", HOST, "--json"))["invites"]
        self._invite = invites["submit"]
        await self._mesh("worker", "--join", invites["work"], "--name", "bea", "--engine", self._engine, "--json")

    async def _mesh(self, *arguments: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mesh", *arguments, stdout=PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        self._processes.append(process)
        assert process.stdout is not None
        return json.loads(await process.stdout.readline())

    async def connect(self) -> None:
        node = {"id": "echo", "type": "PassThrough", "placement": {"kind": "server", "runtime": self._runtime}}
        manifest = {"version": "v1", "metadata": {"name": "echo"}, "nodes": [node], "connections": []}
        self._peer = await Peer.join(self._invite, engine=self._engine).__aenter__()
        self._run = self._peer.run(manifest, self._given(), pins={"echo": "bea"})
        self._reading = asyncio.create_task(self._read())

    async def _given(self) -> AsyncIterator[bytes]:
        while (item := await self._items.get()) is not None:
            yield item

    async def _read(self) -> None:
        try:
            async for result in self._run:
                assert type(result.value) is bytes
                self.came_back()
        except Exception as error:
            self.failed(error)

    async def send(self, item: bytes) -> None:
        self._items.put_nowait(item)

    async def close(self) -> None:
        self._items.put_nowait(None)
        await self._reading
        await self._peer.__aexit__(None, None, None)
        for process in reversed(self._processes):
            process.terminate()
            await process.wait()


OURS: Final[dict[str, Callable[[], Echo]]] = {
    f"{engine} {name}": make
    for engine in ("aiortc", "wrtc")
    for name, make in {
        "channel": partial(Channel, engine),
        "link": partial(OurLink, engine),
        "run, wasm": partial(WholeRun, engine, "wasm"),
        "run, python": partial(WholeRun, engine, "python"),
    }.items()
}
