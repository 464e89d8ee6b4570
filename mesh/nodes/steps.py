"""How the parts of one input are gathered into steps: the first at once, the many of a quick generator together."""

from collections.abc import Awaitable, Callable
from time import monotonic

from mesh.errors import NodeError
from mesh.limits import STEP_BYTES, STEP_PARTS, STEP_S

type Fetch = Callable[[], Awaitable[bytes | None]]


class Steps:
    """The parts that a node has not handed over yet. ``fetch`` computes the next one, None at the end.

    A step takes one part at first and twice as many after each quick step, so the parts of a slow generator never wait
    for one another. An error after the first part of a step is kept for the next step.
    """

    def __init__(self) -> None:
        self._fetch: Fetch | None = None
        self._error: NodeError | None = None
        self._quota = 1

    async def begin(self, fetch: Fetch) -> tuple[list[bytes], bool]:
        """The first step of an input: its first part. What was left of the one before is abandoned."""
        self._fetch, self._error, self._quota = fetch, None, 1
        return await self.step()

    async def step(self) -> tuple[list[bytes], bool]:
        """The next parts, and whether there may be more."""
        if self._error:
            self._fetch, error, self._error = None, self._error, None
            raise error
        parts: list[bytes] = []
        if self._fetch is None:
            return parts, False
        size, end = 0, monotonic() + STEP_S
        while len(parts) < self._quota and size < STEP_BYTES:
            try:
                part = await self._fetch()
            except NodeError as error:
                return self._failed(error, parts)
            if part is None:
                self._fetch = None
                return parts, False
            parts.append(part)
            size += len(part)
            if monotonic() > end:
                self._quota = 1
                return parts, True
        self._quota = min(2 * self._quota, STEP_PARTS)
        return parts, True

    def _failed(self, error: NodeError, parts: list[bytes]) -> tuple[list[bytes], bool]:
        if not parts:
            self._fetch = None
            raise error
        self._error = error
        return parts, True
