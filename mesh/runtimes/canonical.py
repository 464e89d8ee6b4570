"""The node world of ``node.wit``, lifted and lowered by the canonical ABI over a core module; names no engine.

The guest is hostile until proven otherwise: each pointer that it hands out is checked, each answer copied. Whatever
breaks the ABI is a ``NodeCrashed`` of kind ``trapped``; the caller drops the instance then.
"""

import struct
from abc import ABC, abstractmethod
from typing import Final

from mesh.errors import NodeCrashed, NodeError
from mesh.limits import MAX_CAUSE_CHARS, MAX_DESCRIBE_BYTES, MAX_SNAPSHOT_BYTES, MAX_VALUE_BYTES

# every export of a module of nodes: how many i32 it takes, how many it answers
FUNCTIONS: Final = {
    "cabi_realloc": (4, 1),
    "describe": (0, 1),
    "init": (4, 1),
    "process": (2, 1),
    "next": (0, 1),
    "finish": (0, 1),
    "snapshot": (0, 1),
    "restore": (2, 1),
}
WORLD: Final = tuple(FUNCTIONS)[1:]
OPTIONAL_FUNCTIONS: Final = {"_initialize": (0, 0)} | {f"cabi_post_{name}": (1, 0) for name in WORLD}

_MAX_ERROR_BYTES: Final = 4 * MAX_CAUSE_CHARS  # of UTF-8


class Core(ABC):
    """A core module, alive: its exported functions and its memory, which grows at the guest's will."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is a function of that name."""

    @abstractmethod
    def call(self, name: str, *arguments: int) -> int:
        """Calls an export; the answer is an unsigned number, 0 where the function has none. Traps raise NodeCrashed."""

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """A copy of the memory there; NodeCrashed where that is outside."""

    @abstractmethod
    def write(self, address: int, data: bytes) -> None:
        """Writes to the memory there; NodeCrashed where that is outside."""


class World:
    """The seven functions of the world. A node's own errors are NodeError; after NodeCrashed it is unusable."""

    def __init__(self, core: Core) -> None:
        self._core = core
        if core.has("_initialize"):
            core.call("_initialize")

    def describe(self) -> str:
        """The JSON that lists the module's node types."""
        result = self._core.call("describe")
        address, size = struct.unpack("<II", self._read(result, 8))
        text = self._text(address, size, MAX_DESCRIBE_BYTES)
        self._post("describe", result)
        return text

    def init(self, node_type: str, params: bytes) -> None:
        """Makes the instance a node of that type. Once, and only ``describe`` may come before."""
        self._unit("init", *self._lower(node_type.encode()), *self._lower(params))

    def process(self, value: bytes) -> bytes | None:
        """One input: the first part, or none."""
        return self._part("process", *self._lower(value))

    def next(self) -> bytes | None:
        """The next part of the same input."""
        return self._part("next")

    def finish(self) -> bytes | None:
        """The end of the stream: the first part of what comes then."""
        return self._part("finish")

    def snapshot(self) -> bytes:
        """The state, an encoded value."""
        result = self._core.call("snapshot")
        tag, address, size = struct.unpack("<B3xII", self._read(result, 12))
        self._raise_error("snapshot", result, tag, address, size)
        state = self._list(address, size, MAX_SNAPSHOT_BYTES)
        self._post("snapshot", result)
        return state

    def restore(self, state: bytes) -> None:
        """Back to a state."""
        self._unit("restore", *self._lower(state))

    def _part(self, name: str, *arguments: int) -> bytes | None:
        """Calls a function of ``result<option<list<u8>>, string>``: 16 bytes."""
        result = self._core.call(name, *arguments)
        tag, option, second, third = struct.unpack("<B3xIII", self._read(result, 16))
        self._raise_error(name, result, tag, option, second)
        # the tag of the option is one byte; the three after it are padding
        some = option & 0xFF
        if some > 1:
            raise broken(f"{name} answered an option with tag {some}")
        part = self._list(second, third, MAX_VALUE_BYTES) if some else None
        self._post(name, result)
        return part

    def _unit(self, name: str, *arguments: int) -> None:
        """Calls a function of ``result<_, string>``: 12 bytes."""
        result = self._core.call(name, *arguments)
        tag, address, size = struct.unpack("<B3xII", self._read(result, 12))
        self._raise_error(name, result, tag, address, size)
        self._post(name, result)

    def _raise_error(self, name: str, result: int, tag: int, address: int, size: int) -> None:
        """The error of a result whose tag says so."""
        if tag > 1:
            raise broken(f"{name} answered a result with tag {tag}")
        if tag:
            text = self._text(address, size, _MAX_ERROR_BYTES)[:MAX_CAUSE_CHARS]
            self._post(name, result)
            raise NodeError(text or f"{name} failed without a word")

    def _post(self, name: str, result: int) -> None:
        """Lets the guest free an answer that was read."""
        if self._core.has(f"cabi_post_{name}"):
            self._core.call(f"cabi_post_{name}", result)

    def _lower(self, data: bytes) -> tuple[int, int]:
        """Copies a ``list<u8>`` or a string to where the guest wants it."""
        address = self._core.call("cabi_realloc", 0, 0, 1, len(data))
        self._core.write(address, data)
        return address, len(data)

    def _read(self, address: int, size: int) -> bytes:
        """The fixed part of an answer."""
        if address % 4:
            raise broken(f"the address {address:#x} of an answer is not aligned to 4 bytes")
        return self._core.read(address, size)

    def _list(self, address: int, size: int, limit: int) -> bytes:
        if size > limit:
            raise broken(f"an answer of {size} bytes is more than {limit}")
        return self._core.read(address, size)

    def _text(self, address: int, size: int, limit: int) -> str:
        try:
            return self._list(address, size, limit).decode()
        except UnicodeDecodeError:
            raise broken("a text is no UTF-8") from None


def broken(what: str) -> NodeCrashed:
    """The error of a module that breaks the ABI, or that trapped."""
    return NodeCrashed(what, kind="trapped")
