"""What a peer and a node's process say to each other: lists, whose large payloads lie in memory that both share."""

import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgpack

from mesh.limits import MAX_STEP_BYTES, SHARED_BYTES, SLAB_KEPT_BYTES

_PLACE: Final = struct.Struct("<II")  # offset and size, the body of the extension type 0


def new_slab() -> int:
    """A descriptor of memory for one process; its pages are taken when they are first written."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("mesh")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, MAX_STEP_BYTES)
    return descriptor


class Slab:
    """Shared memory. A message may use all of it, since nothing is said before the one before was read."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over."""
        self._memory = mmap.mmap(descriptor, MAX_STEP_BYTES)
        self._used = 0
        os.close(descriptor)

    def pack(self, message: Sequence[Any]) -> bytes:
        """``message`` as bytes that ``unpack`` reads in the other process."""
        end = 0
        fields: list[Any] = []
        for field in message:
            if isinstance(field, bytes) and len(field) > SHARED_BYTES and end + len(field) <= MAX_STEP_BYTES:
                self._memory[end : end + len(field)] = field
                fields.append(msgpack.ExtType(0, _PLACE.pack(end, len(field))))
                end += -(-len(field) // 8) * 8  # arrays are read in place
            else:
                fields.append(field)
        self._used = max(self._used, end)
        return bytes(msgpack.packb(fields))

    def unpack(self, body: bytes) -> list[Any]:
        """The message; its large payloads are views, gone when the next message is packed."""

        def place(_: int, data: bytes) -> memoryview:
            offset, size = _PLACE.unpack(data)
            self._used = max(self._used, offset + size)
            return memoryview(self._memory)[offset : offset + size]

        message = msgpack.unpackb(body, ext_hook=place)
        if not isinstance(message, list):
            raise ValueError("no list")
        return message

    def trim(self) -> None:
        """Gives back the memory of what was large, once it was read."""
        if self._used > SLAB_KEPT_BYTES and sys.platform == "linux":
            self._memory.madvise(mmap.MADV_REMOVE, SLAB_KEPT_BYTES)
            self._used = 0

    def close(self) -> None:
        """Unmaps the memory, at the latest when the last view is gone."""
        with suppress(BufferError):
            self._memory.close()
