"""Python nodes, each in a process of its own: one that blocks, leaks or dies takes nobody along."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from mesh.errors import NodeCrashed, NodeError, NodeTimeout
from mesh.limits import MAX_CAUSE_CHARS, NODE_CLOSE_TIMEOUT_S, SETUP_TIMEOUT_S
from mesh.manifest.graph import GraphNode
from mesh.nodes import NodeSpec, Registry
from mesh.runtimes.base import Answer, Instance, Runtime
from mesh.runtimes.child import END, FORK, REPLY, REQUEST, Frames
from mesh.runtimes.slab import Slab, new_slab

# imports what this process would import; not by PYTHONPATH, which the nodes' own subprocesses would inherit
_NURSERY: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from mesh.runtimes.child import nursery; nursery(int(sys.argv[1]))"
)


class PythonRuntime(Runtime):
    """Runs the types of a registry; ``sources`` are what it has loaded besides the built-in ones."""

    name = "python"

    def __init__(self, registry: Registry, sources: Sequence[str] = ()) -> None:
        self._registry = registry
        self._sources = [os.path.abspath(source) if source.endswith(".py") else source for source in sources]
        self._nursery = _Nursery()
        self._instances: list[PythonInstance] = []

    def types(self) -> Sequence[NodeSpec]:
        """The types that the registry gives out."""
        return self._registry.specs()

    def warm(self) -> None:
        """Starts, without waiting, what the first ``create`` would wait for."""
        self._nursery.start()

    async def create(self, node: GraphNode) -> Instance:
        """A process for the node; NodeError where its class is not there or does not want to."""
        self._registry.get(node.node_type)
        # not to be cancelled half way: the descriptors would be closed before they were sent
        starting = asyncio.create_task(PythonInstance.start(self._nursery, node.timeout_s))
        try:
            instance = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_abandon)
            raise
        self._instances = [each for each in self._instances if not each.ended] + [instance]
        try:
            await instance.setup(node, self._sources)
        except BaseException:
            await instance.close()
            raise
        return instance

    async def close(self) -> None:
        """Ends every process."""
        await asyncio.gather(*(instance.close() for instance in self._instances))
        await self._nursery.close()


class PythonInstance(Instance):
    """A node in a process of its own."""

    def __init__(self, nursery: "_Nursery", pid: int, slab: Slab, timeout_s: float) -> None:
        self._nursery = nursery
        self._pid = pid
        self._slab = slab
        self._frames = Frames(self._answered, self._lost)
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[bytes] | None = None
        self._fault: Exception | None = None  # of the connection, which is gone
        self._ending: asyncio.Task[int] | None = None

    @classmethod
    async def start(cls, nursery: "_Nursery", timeout_s: float) -> "PythonInstance":
        """Forks a process and connects to it."""
        descriptor = new_slab()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                pid = await nursery.fork(theirs.fileno(), descriptor)
        except BaseException:
            ours.close()
            os.close(descriptor)
            raise
        instance = cls(nursery, pid, Slab(descriptor), timeout_s)
        await instance._loop.connect_accepted_socket(lambda: instance._frames, ours)
        return instance

    async def setup(self, node: GraphNode, sources: list[str]) -> None:
        """Makes the node in the process."""
        await self._call("setup", node.node_type, node.params, sources, timeout_s=SETUP_TIMEOUT_S)

    async def process(self, payload: bytes) -> Answer:
        return await self._call("process", payload)

    async def next(self) -> Answer:
        return await self._call("next")

    async def finish(self) -> Answer:
        return await self._call("finish")

    async def snapshot(self) -> bytes:
        return (await self._call("snapshot")).parts[0]

    async def restore(self, state: bytes) -> None:
        await self._call("restore", state)

    async def close(self) -> None:
        if not self.ended:
            with suppress(NodeError):
                await self._call("close", timeout_s=NODE_CLOSE_TIMEOUT_S)
        await asyncio.shield(self.kill())

    async def _call(self, op: str, *arguments: Any, timeout_s: float | None = None) -> Answer:
        """One exchange with the process; what is not an answer in time ends it."""
        if self.ended:
            raise NodeCrashed("its process is gone")
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        self._answer = self._loop.create_future()
        timer = self._loop.call_later(limit_s, self._fail, TimeoutError())
        try:
            if self._fault is not None:
                raise self._fault
            self._frames.send(self._slab.pack([op, *arguments]))
            return self._read(await self._answer)
        except TimeoutError:
            self.kill()
            raise NodeTimeout(f"it took longer than {limit_s:g} s") from None
        except ConnectionError:
            raise NodeCrashed(_obituary(await asyncio.shield(self.kill()))) from None
        except (ValueError, TypeError) as error:
            self.kill()
            raise NodeCrashed(f"its process answered nonsense: {error}"[:MAX_CAUSE_CHARS]) from None
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            timer.cancel()

    def _answered(self, body: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(body)
        else:
            self._fault = ValueError("it says something that nobody asked for")

    def _lost(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self._fail(self._fault)

    def _fail(self, fault: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(fault)

    def _read(self, body: bytes) -> Answer:
        """The answer in a frame, or the NodeError."""
        kind, detail, *parts = self._slab.unpack(body)
        if kind is not None:
            raise NodeError(str(detail), kind=str(kind))
        answer = Answer(tuple(map(bytes, parts)), bool(detail))
        self._slab.trim()
        return answer

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._ending is not None

    def kill(self) -> asyncio.Task[int]:
        """Kills the process unless it is dead; the task answers its exit status."""
        if self._ending is None:
            self._frames.close()
            self._slab.close()
            self._ending = asyncio.create_task(self._nursery.end(self._pid))
        return self._ending


def _abandon(started: asyncio.Task[PythonInstance]) -> None:
    """Ends a process that came too late."""
    if not started.cancelled() and not started.exception():
        started.result().kill()


def _obituary(status: int) -> str:
    if status < 0:
        return f"its process was killed by {signal.Signals(-status).name}"
    return f"its process exited with code {status}"


class _Nursery:
    """The process that forks those of nodes (``mesh.runtimes.child``), made when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._forked = False
        self._turn = asyncio.Lock()

    def start(self) -> socket.socket:
        """Starts the process, where there is none, without waiting for it; the channel to it."""
        if self._channel is None:
            self._channel, theirs = socket.socketpair()
            self._channel.setblocking(False)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-u", "-P", "-c", _NURSERY, str(theirs.fileno()), json.dumps(sys.path)],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # our stdout is for results
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C in the terminal is for us
                )
        return self._channel

    async def fork(self, connection: int, slab: int) -> int:
        """A process that serves the socket and the slab of these descriptors; its id."""
        self._forked = True
        return await self._ask(FORK, 0, connection, slab)

    async def end(self, pid: int) -> int:
        """Kills a process, unless it is dead; its exit status."""
        try:
            return await self._ask(END, pid)
        except NodeCrashed:  # the nursery took it along
            return -signal.SIGKILL

    async def close(self) -> None:
        """Ends the nursery, and with it what it forked."""
        if self._channel is not None and self._process is not None:
            self._channel.close()
            if not self._forked:
                self._process.kill()  # it may still be importing, for nobody
            await asyncio.to_thread(self._process.wait)
            self._channel = self._process = None

    async def _ask(self, verb: bytes, pid: int, *descriptors: int) -> int:
        loop = asyncio.get_running_loop()
        async with self._turn:
            channel = self.start()
            reply = b""
            with suppress(ConnectionError):
                socket.send_fds(channel, [REQUEST.pack(verb, pid)], descriptors)
                reply = await loop.sock_recv(channel, REPLY.size)
            if len(reply) == REPLY.size:
                return int(REPLY.unpack(reply)[0])
        await self.close()
        raise NodeCrashed("the process that forks those of nodes is gone")
