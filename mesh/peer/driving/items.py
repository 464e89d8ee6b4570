"""What goes into a run, and what comes out."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mesh.errors import ValueFault
from mesh.limits import JOIN_LEVELS
from mesh.values import decode, encode

type Items = Iterable[Any] | AsyncIterable[Any]
type Manifest = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunResult:
    """One part of the single sink's answer to item ``seq``, or the map of several sinks."""

    seq: int
    part: int
    payload: bytes

    @property
    def value(self) -> Any:
        """The payload as a Python value; raises ValueFault where a node answered none."""
        return decode(self.payload, extra_levels=2 * JOIN_LEVELS)


async def encoded(items: Items) -> AsyncIterator[bytes]:
    """The items as payloads; raises ValueFault, with its number, for one that is no value."""
    number = 0
    async for item in each(items):
        try:
            payload = encode(item)
        except ValueFault as error:
            raise ValueFault(f"item {number}: {error}") from None
        yield payload
        number += 1


async def each(items: Items) -> AsyncIterator[Any]:
    """The items, one by one."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
