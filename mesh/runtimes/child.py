"""The processes of Python nodes: ``python -m mesh.runtimes.child FD``.

A nursery, a fresh interpreter that has imported what nodes need, forks a process for each node in milliseconds; no
thread or socket of the peer is copied into them. Their stdout is the peer's stderr. A process ends with its connection.

The nursery's channel carries ``REQUEST`` from the peer (FORK comes with a file descriptor, END with a process id) and
``REPLY`` back (the process id, or the exit status, negative for a signal). A node's connection carries frames: a u32
length, then msgpack, ``[op, arguments]`` there and ``[kind, answer]`` back; ``kind`` is None or that of a NodeError.
"""

import asyncio
import gc
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Any, Final

import msgpack

from mesh.errors import MeshError, NodeError
from mesh.limits import MAX_STEP_BYTES, STEP_BYTES
from mesh.nodes import Registry
from mesh.nodes.instance import NodeInstance

FORK: Final = b"F"
END: Final = b"E"
REQUEST: Final = struct.Struct("<cq")
REPLY: Final = struct.Struct("<q")
_LENGTH: Final = struct.Struct("<I")
_registry: Final = Registry()


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """The next message; IncompleteReadError at the end, ValueError for what is none."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_STEP_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return msgpack.unpackb(await reader.readexactly(length))


def write_frame(writer: asyncio.StreamWriter, message: Any) -> None:
    """Queues a message."""
    body = msgpack.packb(message)
    writer.write(_LENGTH.pack(len(body)))
    writer.write(body)


def nursery(channel: socket.socket) -> None:
    """Forks and ends processes until the peer closes the channel, then ends those that are left."""
    children: set[int] = set()
    with suppress(ImportError):
        import numpy  # noqa: F401  (for the children)
    gc.freeze()  # what was imported stays shared with the children
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, REQUEST.size, 1)
        if len(request) < REQUEST.size:
            break
        verb, pid = REQUEST.unpack(request)
        if verb == FORK:
            pid = os.fork()
            if pid == 0:
                channel.close()
                _live(descriptors[0])
            os.close(descriptors[0])
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


def _live(descriptor: int) -> None:
    """A node's process, from fork to end."""
    status = 1
    try:
        asyncio.run(_serve(socket.socket(fileno=descriptor)))
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection, limit=STEP_BYTES)
    node: NodeInstance | None = None
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            op, payload = await read_frame(reader)
            try:
                if op == "setup":
                    node = await _make(*payload)
                    answer: Any = None
                else:
                    answer = await getattr(node, op)(*payload)
            except MeshError as error:
                kind = error.kind if isinstance(error, NodeError) else "raised"
                write_frame(writer, [kind, str(error)])
            else:
                write_frame(writer, [None, answer])
            await writer.drain()
            if op == "close":
                return


async def _make(node_type: str, params: bytes, sources: list[str]) -> NodeInstance:
    """Makes the node; what the peer's owner loads is looked at only for a type that is not built in."""
    try:
        cls = _registry.get(node_type)
    except NodeError:
        _registry.load_entry_points()
        for source in sources:
            _registry.load(source)
        cls = _registry.get(node_type)
    node = NodeInstance(cls, params)
    await node.setup()
    return node


if __name__ == "__main__":
    nursery(socket.socket(fileno=int(sys.argv[1])))
