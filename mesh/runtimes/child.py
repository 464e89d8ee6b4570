"""The processes of Python nodes. None of this runs in the peer but the frames.

A nursery, a fresh interpreter that has imported what nodes need, forks a process for each node in milliseconds; no
thread or socket of the peer is copied into them. Their stdout is the peer's stderr. A process ends with its connection.

The nursery's channel carries ``REQUEST`` from the peer (FORK comes with the descriptors of a socket and a slab, END
with a process id) and ``REPLY`` back (the process id, or the exit status, negative for a signal). On a node's socket go
frames, a u32 length and a list by the slab: ``[op, …arguments]`` there, and back ``[None, more, …parts]`` or an error's
kind and text.
"""

import asyncio
import gc
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, cast

from mesh.errors import MeshError, NodeError
from mesh.limits import MAX_STEP_BYTES, NURSERY_QUIET_S
from mesh.nodes import Registry
from mesh.nodes.instance import NodeInstance
from mesh.runtimes.slab import Slab

FORK: Final = b"F"
END: Final = b"E"
REQUEST: Final = struct.Struct("<cq")
REPLY: Final = struct.Struct("<q")
_LENGTH: Final = struct.Struct("<I")


class Frames(asyncio.Protocol):
    """Frames on a stream socket. Each comes whole to ``on_frame``; ``on_end`` is told why no more come.

    Called by the loop as bytes come, since a stream's reader would cost a turn of the loop more.
    """

    def __init__(self, on_frame: Callable[[bytes], None], on_end: Callable[[Exception], None]) -> None:
        self._on_frame, self._on_end = on_frame, on_end
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if length > MAX_STEP_BYTES:
                self._transport.abort()
                self._on_end(ValueError(f"a frame of {length} bytes"))
                return
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            self._on_frame(body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end(exc or ConnectionResetError("the other side closed it"))

    def send(self, body: bytes) -> None:
        """Sends a frame, or queues it."""
        self._transport.write(_LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()


def nursery(descriptor: int) -> None:
    """Forks and ends processes until the peer closes the channel, then ends those that are left."""
    channel = socket.socket(fileno=descriptor)
    children: set[int] = set()
    _registry()
    # numpy takes longer than all else, and not every node needs it
    if not select.select([channel], [], [], NURSERY_QUIET_S)[0] and find_spec("numpy"):
        import_module("numpy")
    gc.freeze()  # what was imported stays shared with the children
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, REQUEST.size, 2)
        if len(request) < REQUEST.size:
            break
        verb, pid = REQUEST.unpack(request)
        if verb == FORK:
            pid = os.fork()
            if pid == 0:
                channel.close()
                _live(*descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            children.add(pid)
            channel.sendall(REPLY.pack(pid))
        else:
            # a process that an earlier nursery made ended with its connection
            status = _end(pid) if pid in children else -signal.SIGKILL
            children.discard(pid)
            channel.sendall(REPLY.pack(status))
    for pid in children:
        _end(pid)


def _end(pid: int) -> int:
    """Kills a child, unless it is dead already; its exit status."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _live(connection: int, slab: int) -> None:
    """A node's process, from fork to end."""
    status = 1
    try:
        asyncio.run(_serve(socket.socket(fileno=connection), Slab(slab)))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


async def _serve(connection: socket.socket, slab: Slab) -> None:
    """Does what the frames ask for until the peer closes the connection."""
    serving = _Serving(slab)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: serving.frames, connection)
    await serving.over


class _Serving:
    """The node of this process; the peer asks for one thing at a time."""

    def __init__(self, slab: Slab) -> None:
        self._slab = slab
        self._node: NodeInstance | None = None
        self._doing: asyncio.Task[None] | None = None
        self.frames = Frames(self._asked, self._end)
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _asked(self, body: bytes) -> None:
        self._doing = asyncio.Task(self._do(body), loop=asyncio.get_running_loop(), eager_start=True)

    async def _do(self, body: bytes) -> None:
        try:
            op, *arguments = self._slab.unpack(body)
            self.frames.send(self._slab.pack(await self._answer(op, *arguments)))
        except Exception as error:
            if not self.over.done():
                self.over.set_exception(error)
        else:
            if op == "close" or self._node is None:  # it could not be set up
                self._end()

    async def _answer(self, op: str, *arguments: Any) -> list[Any]:
        try:
            if op == "setup":
                self._node = await _make(*arguments)
                return [None, False]
            return [None, *_fields(await getattr(self._node, op)(*arguments))]
        except MeshError as error:
            return [error.kind if isinstance(error, NodeError) else "raised", str(error)]

    def _end(self, _: Exception | None = None) -> None:
        if not self.over.done():
            self.over.set_result(None)


def _fields(answer: Any) -> list[Any]:
    """``[more, …parts]`` of what a method of NodeInstance answers: a step, a state, or nothing."""
    if isinstance(answer, bytes):
        return [False, answer]
    parts, more = answer or ([], False)
    return [more, *parts]


@cache
def _registry() -> Registry:
    """That of the built-in types, made before the first fork."""
    return Registry()


async def _make(node_type: str, params: bytes, sources: list[str]) -> NodeInstance:
    """Makes the node; what the peer's owner loads is looked at only for a type that is not built in."""
    registry = _registry()
    try:
        cls = registry.get(node_type)
    except NodeError:
        registry.load_entry_points()
        for source in sources:
            registry.load(source)
        cls = registry.get(node_type)
    node = NodeInstance(cls, params)
    await node.setup()
    return node
