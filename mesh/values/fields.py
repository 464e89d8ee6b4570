"""Reading maps that come from outside, field by field."""

from collections.abc import Collection
from typing import Any

from mesh.limits import MAX_ID_CHARS
from mesh.values.kinds import kind_of
from mesh.values.places import at, fault


class Fields:
    """Takes the fields of ``fields``, which is to be a map, one by one; ``end`` refuses what was not taken."""

    def __init__(self, fields: Any, place: str = "") -> None:
        if not isinstance(fields, dict):
            fault(place, f"write a map, not {kind_of(fields)}")
        self.fields: dict[str, Any] = fields
        self._place = place
        self._taken: set[str] = set()

    def get(self, name: str, default: Any) -> Any:
        self._taken.add(name)
        return self.fields.get(name, default)

    def text(self, name: str, limit: int, default: str | None = None) -> str:
        value = self.get(name, default)
        if not isinstance(value, str) or len(value) > limit or (default is None and not value):
            fault(at(self._place, name), f"write text of at most {limit} characters")
        return value

    def one_of(self, name: str, choices: Collection[str], default: str | None = None) -> Any:
        value = self.get(name, default)
        if not isinstance(value, str) or value not in choices:
            fault(at(self._place, name), f"write one of {', '.join(sorted(choices))}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.get(name, default)
        if not isinstance(value, bool):
            fault(at(self._place, name), "write true or false")
        return value

    def items(self, name: str, limit: int) -> list[Any]:
        value = self.get(name, [])
        if not isinstance(value, list) or len(value) > limit:
            fault(at(self._place, name), f"write a list of at most {limit}")
        return value

    def texts(self, name: str, limit: int, choices: Collection[str] | None = None) -> tuple[Any, ...]:
        value = self.items(name, limit)
        if not all(isinstance(text, str) and len(text) <= MAX_ID_CHARS for text in value):
            fault(at(self._place, name), "write texts")
        if choices is not None and not set(value) <= set(choices):
            fault(at(self._place, name), f"write some of {', '.join(choices)}")
        return tuple(value)

    def number(self, name: str, *, low: float, high: float) -> float:
        value = self.get(name, None)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            fault(at(self._place, name), f"write a number from {low:g} to {high:g}")
        return value

    def end(self) -> None:
        for name in self.fields:
            if name not in self._taken:
                fault(at(self._place, str(name)), "unknown field")
