"""The built-in node types in Python."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from mesh.nodes.base import SKIP, Node
from mesh.values import at, encode, kind_of, matches

_clock: Final = getattr(time, "thread_time", time.perf_counter)  # Pyodide counts no processor time


class PassThrough(Node):
    """The value unchanged."""

    def process(self, value: Any) -> Any:
        return value


class MultiplyNode(Node):
    """The number times ``factor``; int times int is an int."""

    factor: int | float
    accepts = returns = "number"

    def process(self, value: Any) -> Any:
        return _number(value) * self.factor


class AddNode(Node):
    """The number plus ``addend``; int plus int is an int."""

    addend: int | float
    accepts = returns = "number"

    def process(self, value: Any) -> Any:
        return _number(value) + self.addend


_TEXT_OPERATIONS: Final[Mapping[str, Any]] = {
    "uppercase": str.upper,
    "lowercase": str.lower,
    "word_count": lambda text: len(text.split()),
    "char_count": len,
    "reverse": lambda text: text[::-1],
}


class TextProcessorNode(Node):
    """Operations on text: ``{original_text, results: {operation: value}}``.

    The item is text, any other value (its ``str``), or ``{text, operations?}``, whose operations win.
    """

    operations: Sequence[str] = ("uppercase", "word_count", "char_count")
    returns = "map"

    def setup(self) -> None:
        self._check(self.operations)

    def process(self, value: Any) -> Any:
        operations = self.operations
        if isinstance(value, dict) and "text" in value:
            operations = value.get("operations", operations)
            self._check(operations)
            value = value["text"]
        if kind_of(value) in ("array", "bytes"):
            raise TypeError(f"{kind_of(value)} is no text")
        text = str(value)
        return {"original_text": text, "results": {name: _TEXT_OPERATIONS[name](text) for name in operations}}

    def _check(self, operations: Any) -> None:
        if not isinstance(operations, list):
            raise TypeError(f"operations is a list, not {kind_of(operations)}")
        for name in operations:
            if not isinstance(name, str) or name not in _TEXT_OPERATIONS:
                raise ValueError(f"{name!r} is no operation; the operations are {', '.join(_TEXT_OPERATIONS)}")


class DataTransformNode(Node):
    """``operation`` on a number, or on each number of a list."""

    operation: Literal["passthrough", "double", "increment"] = "passthrough"

    def process(self, value: Any) -> Any:
        if self.operation == "passthrough":
            return value
        return [self._apply(number) for number in value] if isinstance(value, list) else self._apply(value)

    def _apply(self, value: Any) -> Any:
        return _number(value) * 2 if self.operation == "double" else _number(value) + 1


class Select(Node):
    """The value at ``path``, a list of keys and indexes."""

    path: list[str | int]

    def setup(self) -> None:
        _check_path(self.path)

    def process(self, value: Any) -> Any:
        return _at_path(value, self.path)


class Filter(Node):
    """The value where it (or what is at ``path``) compares so with ``value``, else nothing."""

    op: Literal["eq", "ne", "lt", "le", "gt", "ge", "truthy"]
    value: Any = None
    path: Sequence[str | int] = ()
    arity = "maybe"

    def setup(self) -> None:
        _check_path(self.path)

    def process(self, value: Any) -> Any:
        return value if self._holds(_at_path(value, self.path)) else SKIP

    def _holds(self, subject: Any) -> bool:
        match self.op:
            case "truthy":
                return all(subject.shape) if kind_of(subject) == "array" else bool(subject)
            case "eq":
                return _equal(subject, self.value)
            case "ne":
                return not _equal(subject, self.value)
        if not any(matches(kind, subject) and matches(kind, self.value) for kind in ("number", "text")):
            raise TypeError(f"{kind_of(subject)} and {kind_of(self.value)} have no order")
        match self.op:
            case "lt":
                return bool(subject < self.value)
            case "le":
                return bool(subject <= self.value)
            case "gt":
                return bool(subject > self.value)
        return bool(subject >= self.value)


class Range(Node):
    """The ints from 0 to below the item, one part each."""

    accepts = returns = "int"

    def process(self, value: Any) -> Iterator[int]:
        if type(value) is not int:
            raise TypeError(f"an int is needed, not {kind_of(value)}")
        yield from range(value)


class Window(Node):
    """Lists of ``size`` values in order, the rest at the end."""

    size: int
    returns = "list"
    arity = "maybe"
    stateful = True

    def setup(self) -> None:
        if self.size < 1:
            raise ValueError("size is at least 1")
        self._values: list[Any] = []

    def process(self, value: Any) -> Any:
        self._values.append(value)
        return self._take() if len(self._values) == self.size else SKIP

    def finish(self) -> Any:
        return self._take() if self._values else SKIP

    def snapshot(self) -> Any:
        return self._values

    def restore(self, state: Any) -> None:
        self._values = state

    def _take(self) -> list[Any]:
        window, self._values = self._values, []
        return window


class Counter(Node):
    """``{count, value}``: the item, and how many there were with it."""

    returns = "map"
    stateful = True

    def setup(self) -> None:
        self._count = 0

    def process(self, value: Any) -> Any:
        self._count += 1
        return {"count": self._count, "value": value}

    def snapshot(self) -> Any:
        return self._count

    def restore(self, state: Any) -> None:
        self._count = state


class Join(Node):
    """``{port: value}`` of all its ports."""

    accepts = returns = "map"
    join = True

    def process(self, value: Any) -> Any:
        return value


class Delay(Node):
    """Waits ``seconds`` without holding a processor; the value unchanged."""

    seconds: int | float

    async def process(self, value: Any) -> Any:
        await asyncio.sleep(self.seconds)
        return value


class Busy(Node):
    """Computes ``ms`` milliseconds on one core; the value unchanged."""

    ms: int | float

    def process(self, value: Any) -> Any:
        end = _clock() + self.ms / 1e3
        while _clock() < end:
            pass
        return value


class Fail(Node):
    """Raises ``message`` at a value equal to ``value``; passes the others."""

    value: Any
    message: str = "the value that fails"

    def process(self, value: Any) -> Any:
        if _equal(value, self.value):
            raise RuntimeError(self.message)
        return value


def _number(value: Any) -> Any:
    if not matches("number", value):
        raise TypeError(f"a number is needed, not {kind_of(value)}")
    return value


def _check_path(path: Sequence[Any]) -> None:
    for index, step in enumerate(path):
        if not isinstance(step, str) and (type(step) is not int or step < 0):
            raise ValueError(f"path[{index}]: a step is a key or an index from 0 on, not {step!r}")


def _at_path(value: Any, path: Sequence[Any]) -> Any:
    place = ""
    for step in path:
        place = at(place, step)
        try:
            if not isinstance(value, dict if isinstance(step, str) else list):
                raise LookupError
            value = value[step]
        except LookupError:
            raise LookupError(f"there is nothing at {place}") from None
    return value


def _equal(a: Any, b: Any) -> bool:
    """Whether two values are equal: type and value, except that an int equals a float of its value."""
    kind = kind_of(a)
    if matches("number", a) and matches("number", b):
        return bool(a == b)
    if kind != kind_of(b):
        return False
    if kind == "list":
        return len(a) == len(b) and all(map(_equal, a, b))
    if kind == "map":
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return encode(a) == encode(b) if kind == "array" else bool(a == b)
