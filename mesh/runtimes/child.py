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
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from mesh.errors import MeshError, NodeError
from mesh.limits import MAX_STEP_BYTES, NURSERY_QUIET_S, STEP_BYTES
from mesh.nodes import Registry
from mesh.nodes.instance import NodeInstance
from mesh.runtimes.slab import Slab

FORK: Final = b"F"
END: Final = b"E"
REQUEST: Final = struct.Struct("<cq")
REPLY: Final = struct.Struct("<q")
_LENGTH: Final = struct.Struct("<I")


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame; IncompleteReadError at the end, ValueError for what is none."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_STEP_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return await reader.readexactly(length)


def write_frame(writer: asyncio.StreamWriter, body: bytes) -> None:
    """Queues a frame."""
    writer.write(_LENGTH.pack(len(body)) + body)


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
    """Does what the frames ask for, one after the other."""
    reader, writer = await asyncio.open_connection(sock=connection, limit=STEP_BYTES)
    node: NodeInstance | None = None
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            op, *arguments = slab.unpack(await read_frame(reader))
            try:
                if op == "setup":
                    node = await _make(*arguments)
                    fields = [False]
                else:
                    fields = _fields(await getattr(node, op)(*arguments))
            except MeshError as error:
                kind = error.kind if isinstance(error, NodeError) else "raised"
                write_frame(writer, slab.pack([kind, str(error)]))
            else:
                write_frame(writer, slab.pack([None, *fields]))
            await writer.drain()
            if op == "close" or node is None:  # it could not be set up
                return


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
