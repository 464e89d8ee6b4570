"""A Python node behind payloads: what the child process and the browser's Pyodide worker call.

Everything is async, because a node's methods may be; for a plain method nothing is ever awaited, so a host without a
running loop can drive the calls to their end with one ``send``.
"""

import inspect
import reprlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

from mesh.errors import NodeError, ValueFault
from mesh.limits import JOIN_LEVELS, MAX_CAUSE_CHARS, MAX_SNAPSHOT_BYTES
from mesh.nodes.base import SKIP, Node
from mesh.nodes.describe import bind, spec_of
from mesh.nodes.steps import Steps
from mesh.values import Buffer, decode, encode, kind_of, matches

type Step = tuple[list[bytes], bool]


class NodeInstance:
    """One node, alive. Whatever the node's own code raises comes out as NodeError, its text the error and its place."""

    def __init__(self, cls: type[Node], params: bytes) -> None:
        """``params`` is an encoded map. NodeError where the parameters do not fit, or where ``__init__`` raises."""
        self._spec = spec_of(cls)
        self._steps = Steps()
        self._generator: Any = None
        self._extra_levels = JOIN_LEVELS if self._spec.join else 0
        with _Guard():
            self._node = bind(cls, decode(params))

    async def setup(self) -> None:
        """Once, before the first input."""
        await _settle(self._node.setup)

    async def process(self, payload: Buffer) -> Step:
        """One input: the first parts, and whether ``next`` may have more."""
        # what feeds it may be a join
        value = decode(payload, extra_levels=JOIN_LEVELS + self._extra_levels)
        if not self._spec.join and not matches(self._spec.accepts, value):
            raise NodeError(
                f"{self._spec.node_type} accepts {self._spec.accepts}, got {kind_of(value)} {reprlib.repr(value)}"
            )
        parts, more = await self._begin(self._node.process, value)
        if not parts and self._spec.arity == "one":
            raise NodeError("it answered no part, but its arity is one; a filter has arity = 'maybe'", kind="answer")
        return parts, more

    async def next(self) -> Step:
        """Further parts of the same input."""
        return await self._steps.step()

    async def finish(self) -> Step:
        """The end of the stream."""
        return await self._begin(self._node.finish)

    async def snapshot(self) -> bytes:
        """The state as a payload."""
        state = _encoded(await _settle(self._node.snapshot))
        if len(state) > MAX_SNAPSHOT_BYTES:
            raise NodeError(f"its snapshot has {len(state)} bytes, more than {MAX_SNAPSHOT_BYTES}", kind="answer")
        return state

    async def restore(self, state: Buffer) -> None:
        """Back to a state."""
        await _settle(self._node.restore, decode(state))

    async def close(self) -> None:
        """Once, at the end."""
        await self._abandon()
        await _settle(self._node.close)

    async def _begin(self, method: Callable[..., Any], *arguments: Any) -> Step:
        """Calls ``process`` or ``finish`` and makes parts of what it answers."""
        await self._abandon()
        answer = await _settle(method, *arguments)
        if not inspect.isgenerator(answer) and not inspect.isasyncgen(answer):
            return ([] if answer is SKIP else [_encoded(answer, self._extra_levels)]), False
        self._generator = answer
        if self._spec.arity == "many":
            return await self._steps.begin(self._fetch)
        part = await self._fetch()
        if part is not None and await self._fetch() is not None:
            raise NodeError(f"it made a second part, but its arity is {self._spec.arity}", kind="answer")
        return ([] if part is None else [part]), False

    async def _fetch(self) -> bytes | None:
        """The next part of the generator."""
        part: Any = SKIP
        with _Guard():
            try:
                while part is SKIP:
                    each = self._generator
                    part = await anext(each) if inspect.isasyncgen(each) else next(each)
            except (StopIteration, StopAsyncIteration):
                self._generator = None
                return None
        return _encoded(part, self._extra_levels)

    async def _abandon(self) -> None:
        """Ends a generator whose further parts nobody wants; what it raises then belongs to no input."""
        generator, self._generator, self._steps = self._generator, None, Steps()
        if generator is not None:
            try:
                await _settle(generator.aclose if inspect.isasyncgen(generator) else generator.close)
            except NodeError as error:
                print(error, file=sys.stderr)


class _Guard:
    """Makes a NodeError of whatever a node's code raises, also of SystemExit and the like."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _frames: object) -> None:
        if error is not None and not isinstance(error, NodeError):
            raise NodeError(describe_error(error)) from None


async def _settle(method: Callable[..., Any], *arguments: Any) -> Any:
    """What a node's method answers, awaited where it is async."""
    with _Guard():
        answer = method(*arguments)
        return await answer if inspect.isawaitable(answer) else answer


def _encoded(value: Any, extra_levels: int = 0) -> bytes:
    try:
        return encode(value, extra_levels=extra_levels)
    except ValueFault as error:
        raise NodeError(f"its answer is no value: {error}", kind="answer") from None


def describe_error(error: BaseException) -> str:
    """``ValueError: its message``, then the places in the node's own code, the innermost last."""
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    head = type(error).__name__ + (f": {message}" if message else "")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return "\n".join((head, *traceback.format_list(frames)))[:MAX_CAUSE_CHARS].rstrip()
