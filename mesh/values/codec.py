"""Values as payloads (docs/wire.md, 1)."""

import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

import msgpack

from mesh.errors import ValueFault
from mesh.limits import MAX_DEPTH, MAX_VALUE_BYTES
from mesh.values.arrays import Buffer, array_parts, read_array, read_array_header
from mesh.values.places import at, descend, fault

_ARRAY: Final = 1  # the extension type
_EXT32: Final = 0xC9  # writers give arrays the longest header, so the padding never changes the header's length
_SCALARS: Final = frozenset((type(None), bool, int, float, str, bytes))
_TEXT: Final = frozenset((str,))
_MAP_HEADS: Final = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_LIST_HEADS: Final = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))


def encode(value: Any, *, extra_levels: int = 0) -> bytes:
    """The payload of ``value``. Tuples become lists, numpy scalars plain numbers, any memory layout C order."""
    levels = MAX_DEPTH + extra_levels
    try:
        if _is_plain(value, levels):
            return _bounded(msgpack.packb(value))
    except (OverflowError, ValueError):
        pass  # the writer says where
    writer = _Writer()
    writer.write(value, "", levels)
    return _bounded(b"".join(writer.chunks))


def pack_map(entries: Iterable[tuple[str, Buffer]]) -> bytes:
    """The payload of a map, of its values' payloads; nothing is decoded."""
    items = list(entries)
    chunks: list[Buffer] = [_header(0x80, 16, 0xDE, len(items))]
    for key, payload in items:
        chunks += [msgpack.packb(key), payload]
    return b"".join(chunks)


def pack_list(payloads: Sequence[Buffer]) -> bytes:
    """The payload of a list, of its members' payloads; nothing is decoded."""
    return b"".join((_header(0x90, 16, 0xDC, len(payloads)), *payloads))


def _header(fix: int, limit: int, long: int, count: int) -> bytes:
    """The msgpack header of a list or a map: the short form below ``limit``, else the one of 16 or of 32 bits."""
    if count < limit:
        return bytes((fix | count,))
    return struct.pack(">BH", long, count) if count < 1 << 16 else struct.pack(">BI", long + 1, count)


def _is_plain(value: Any, levels: int, *, arrays: bool = False) -> bool:
    """Whether lists, dicts with text keys (at most ``levels`` deep) and scalars (and arrays) are all there is."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    members = value
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        members = value.values()
    elif kind is not list:
        return arrays and kind is not msgpack.Timestamp
    if levels == 0:
        return False
    if _SCALARS.issuperset(map(type, members)):
        return True
    return all(_is_plain(member, levels - 1, arrays=arrays) for member in members)


class _Writer:
    """Encodes what msgpack alone cannot, and finds the place of what nobody can."""

    def __init__(self) -> None:
        self.chunks: list[Buffer] = []
        self._size = 0

    def write(self, value: Any, place: str, levels: int) -> None:
        if isinstance(value, dict):
            self._add(_header(0x80, 16, 0xDE, len(value)))
            descend(place, levels)
            for key, member in value.items():
                if not isinstance(key, str):
                    fault(place, f"map keys must be text, not {type(key).__name__}")
                self._scalar(key, place)
                self.write(member, at(place, key), levels - 1)
        elif isinstance(value, list | tuple) and not isinstance(value, msgpack.ExtType):
            self._add(_header(0x90, 16, 0xDC, len(value)))
            descend(place, levels)
            for index, member in enumerate(value):
                self.write(member, at(place, index), levels - 1)
        elif parts := array_parts(value, place):
            self._array(*parts)
        else:
            self._scalar(value, place)

    def _add(self, chunk: Buffer) -> None:
        self.chunks.append(chunk)
        self._size += len(chunk)

    def _scalar(self, value: Any, place: str) -> None:
        try:
            self._add(msgpack.packb(plain_scalar(value, place)))
        except OverflowError:
            fault(place, "the integer is outside -2**63 … 2**64-1")
        except UnicodeEncodeError:
            fault(place, "half a surrogate pair is no Unicode text")

    def _array(self, dtype: int, shape: Sequence[int], data: Buffer) -> None:
        head = 10 + 4 * len(shape)
        padding = -(self._size + head) % 8
        body = head - 6 + padding + len(data)
        self._add(
            struct.pack(">BIB", _EXT32, body, _ARRAY)
            + struct.pack(f"<4B{len(shape)}I", dtype, len(shape), padding, 0, *shape)
            + bytes(padding)
        )
        self._add(data)


def plain_scalar(value: Any, place: str) -> Any:
    """``value``, of numpy's scalars the plain one; a fault unless it is a scalar."""
    numpy = sys.modules.get("numpy")
    plain = value.item() if numpy and isinstance(value, numpy.generic) else value
    if plain is not None and not isinstance(plain, bool | int | float | str | bytes | bytearray | memoryview):
        fault(place, f"{type(value).__name__} cannot be carried")
    return plain


def _bounded(payload: bytes) -> bytes:
    if len(payload) > MAX_VALUE_BYTES:
        raise ValueFault(f"the value takes {len(payload)} bytes, more than {MAX_VALUE_BYTES}")
    return payload


def decode(payload: Buffer, *, extra_levels: int = 0) -> Any:
    """The value of a payload; arrays are writable copies. ``extra_levels``: of joins and sinks, above MAX_DEPTH."""
    return _unpack(payload, read_array, MAX_DEPTH + extra_levels)


def check(payload: Buffer, *, extra_levels: int = 0) -> None:
    """Raises ValueFault unless ``payload`` is one value."""
    _unpack(payload, _skip_array, MAX_DEPTH + extra_levels)


def _unpack(payload: Buffer, read_array: Callable[[Buffer], Any], levels: int) -> Any:
    if len(payload) > MAX_VALUE_BYTES:
        fault("", f"{len(payload)} bytes are more than a value's {MAX_VALUE_BYTES}")
    if len(payload) > 6 and payload[0] == _EXT32 and payload[5] == _ARRAY:  # an array alone: spares a copy
        if int.from_bytes(payload[1:5]) != len(payload) - 6:
            fault("", "the payload is longer or shorter than its array")
        return read_array(memoryview(payload)[6:])

    def extension(code: int, data: bytes) -> Any:
        if code != _ARRAY:
            fault("", f"extension type {code} is no value")
        return read_array(data)

    try:
        value = msgpack.unpackb(payload, strict_map_key=False, object_pairs_hook=_unique, ext_hook=extension)
    except (ValueError, TypeError, ValueFault):
        pass  # the locator says where
    else:
        if _is_plain(value, levels, arrays=True):
            return value
    return _locate(payload, levels)


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueFault("a key comes twice")
    return mapping


def _skip_array(body: Buffer) -> None:
    read_array_header(body)


def _locate(payload: Buffer, levels: int) -> NoReturn:
    """Raises the fault of a payload that is no value, with its place."""
    locator = _Locator(payload)
    locator.walk("", levels)
    fault("", "bytes follow the value")


class _Locator:
    """Reads a payload step by step, to say where it is wrong."""

    def __init__(self, payload: Buffer) -> None:
        self._payload = payload
        self._unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=MAX_VALUE_BYTES)
        self._unpacker.feed(payload)

    def walk(self, place: str, levels: int) -> None:
        start = self._unpacker.tell()
        head = self._payload[start] if start < len(self._payload) else None
        if head in _MAP_HEADS:
            seen = set()
            for _ in range(self._count(self._unpacker.read_map_header, place, levels)):
                key = self._scalar(place)
                if not isinstance(key, str):
                    fault(place, f"map keys must be text, not {type(key).__name__}")
                if key in seen:
                    fault(place, f"the key {key!r} comes twice")
                seen.add(key)
                self.walk(at(place, key), levels - 1)
        elif head in _LIST_HEADS:
            for index in range(self._count(self._unpacker.read_array_header, place, levels)):
                self.walk(at(place, index), levels - 1)
        else:
            self._scalar(place)

    def _count(self, read_header: Callable[[], int], place: str, levels: int) -> int:
        descend(place, levels)
        try:
            return read_header()
        except msgpack.OutOfData:
            fault(place, "the payload is cut short")

    def _scalar(self, place: str) -> Any:
        try:
            value = self._unpacker.unpack()
            if isinstance(value, msgpack.ExtType) and value.code == _ARRAY:
                return _skip_array(value.data)
        except msgpack.OutOfData:
            fault(place, "the payload is cut short")
        except UnicodeDecodeError:
            fault(place, "the text is no UTF-8")
        except (ValueError, TypeError, ValueFault) as error:
            fault(place, str(error) or "no msgpack")
        if isinstance(value, msgpack.ExtType | msgpack.Timestamp):
            fault(place, "the only extension type is 1, an array")
        return value
