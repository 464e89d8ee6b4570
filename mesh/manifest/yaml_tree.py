"""YAML as far as it says what JSON can say, in YAML 1.2's words: ``on`` and ``2024-01-01`` are text.

Anchors, aliases, tags, further documents and a key that comes twice are faults; each has its line and column.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import yaml

from mesh.errors import ValueFault
from mesh.limits import MAX_DEPTH
from mesh.values.forms import BadLiteral, read_float, read_int

_LEVELS: Final = 2 * MAX_DEPTH  # $map takes more levels than the map that it writes
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


def read(text: str) -> Any:
    """The tree of dicts, lists and scalars; raises ValueFault with the line."""
    events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    try:
        return _document(events)
    except yaml.MarkedYAMLError as error:
        _fault(error.problem_mark or error.context_mark, error.problem or error.context or "this is no YAML")
    except yaml.YAMLError as error:  # a character that YAML excludes
        raise ValueFault(" ".join(str(error).split())) from None


def _document(events: Iterator[Any]) -> Any:
    next(events)  # the stream's start
    first = next(events)
    if isinstance(first, yaml.StreamEndEvent):
        _fault(first.start_mark, "the file is empty")
    tree = _node(next(events), events, _LEVELS)
    next(events)  # the document's end
    if not isinstance(last := next(events), yaml.StreamEndEvent):
        _fault(last.start_mark, "a second document begins; a manifest is one document")
    return tree


def _node(event: Any, events: Iterator[Any], levels: int) -> Any:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        _fault(event.start_mark, "anchors and aliases are not taken; write the value out")
    if event.tag is not None:
        _fault(event.start_mark, f"the tag {event.tag} is not taken; write the value as JSON would")
    if isinstance(event, yaml.ScalarEvent):
        return event.value if event.style else _plain(event)
    if levels == 0:
        _fault(event.start_mark, "lists and maps nest too deep")
    if isinstance(event, yaml.SequenceStartEvent):
        return _sequence(events, levels - 1)
    return _mapping(events, levels - 1)


def _sequence(events: Iterator[Any], levels: int) -> list[Any]:
    members = []
    while not isinstance(event := next(events), yaml.SequenceEndEvent):
        members.append(_node(event, events, levels))
    return members


def _mapping(events: Iterator[Any], levels: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = _node(event, events, levels)
        if not isinstance(key, str):
            _fault(event.start_mark, "keys are text; write this one in quotes")
        if key in fields:
            _fault(event.start_mark, f"the key {key!r} comes twice")
        fields[key] = _node(next(events), events, levels)
    return fields


def _plain(event: Any) -> Any:
    text = event.value
    if text in _WORDS:
        return _WORDS[text]
    try:
        if _INT.fullmatch(text):
            return read_int(text.removeprefix("+"))
        return read_float(text) if _FLOAT.fullmatch(text) else text
    except BadLiteral as bad:
        _fault(event.start_mark, str(bad))


def _fault(mark: Any, message: str) -> NoReturn:
    raise ValueFault(f"line {mark.line + 1}, column {mark.column + 1}: {message}")
