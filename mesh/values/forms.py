"""Values as JSON: JSON as it is, and the ``$`` forms for what it lacks."""

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Callable
from typing import Any, Final, NoReturn

from mesh.errors import ValueFault
from mesh.limits import MAX_DEPTH
from mesh.values.arrays import DTYPES, array_parts, read_array
from mesh.values.codec import plain_scalar
from mesh.values.places import at, fault

MIN_INT: Final = -(2**63)
MAX_INT: Final = 2**64 - 1
_LITERAL: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:"]+')


def to_json(value: Any, *, indent: int | None = None) -> str:
    """``value`` as people write it: what JSON lacks becomes ``$float``, ``$bytes``, ``$array`` and ``$map``."""
    return json.dumps(to_forms(value), ensure_ascii=False, allow_nan=False, indent=indent)


def from_json(text: str) -> Any:
    """The value that ``text`` writes; a fault gives the line, or the place where the JSON itself is right."""
    special = '"$' in text or r"\u0024" in text

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal special
        fields = dict(pairs)
        if len(fields) < len(pairs):
            special = True
            keys = [key for key, _ in pairs]
            fields |= {key: _TWICE for key in fields if keys.count(key) > 1}
        return fields

    try:
        tree = json.loads(
            text, object_pairs_hook=mapping, parse_int=read_int, parse_float=read_float, parse_constant=_refuse
        )
        return from_forms(tree) if special else tree
    except json.JSONDecodeError as error:
        raise ValueFault(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except BadLiteral as bad:
        raise ValueFault(f"line {_line_of(text, bad.literal)}: {bad}") from None
    except RecursionError:
        raise ValueFault(f"lists and maps nest deeper than {MAX_DEPTH} levels") from None


def from_forms(tree: Any, place: str = "") -> Any:
    """``tree``, parsed JSON or YAML, with every ``$`` form replaced by the value that it writes."""
    if tree is _TWICE:
        fault(place, "the key comes twice")
    if isinstance(tree, list):
        return [from_forms(member, at(place, index)) for index, member in enumerate(tree)]
    if not isinstance(tree, dict):
        return tree
    form = next((key for key in tree if key.startswith("$")), None)
    if form is None:
        return {key: from_forms(member, at(place, key)) for key, member in tree.items()}
    if form not in _FORMS or len(tree) > 1:
        wrong = "is no form" if form not in _FORMS else "stands alone"
        fault(place, f"{form!r} {wrong}; the forms are {', '.join(_FORMS)}, a map with such keys is {_MAP_HINT}")
    return _FORMS[form](tree[form], place)


class BadLiteral(Exception):
    """A number, or a word in the place of one, that is no value."""

    def __init__(self, literal: str, message: str) -> None:
        self.literal = literal
        super().__init__(message)


def read_int(literal: str) -> int:
    if len(literal) <= 20 and MIN_INT <= (number := int(literal)) <= MAX_INT:
        return number
    raise BadLiteral(literal, "the integer is outside -2**63 … 2**64-1")


def read_float(literal: str) -> float:
    if math.isfinite(number := float(literal)):
        return number
    raise BadLiteral(literal, "the number is too large for a float")


def _refuse(literal: str) -> NoReturn:
    raise BadLiteral(literal, f'{literal} is no JSON; write {{"$float": "{literal}"}}')


def _line_of(text: str, literal: str) -> int:
    start = next(match.start() for match in _LITERAL.finditer(text) if match.group() == literal)
    return text.count("\n", 0, start) + 1


def to_forms(value: Any, place: str = "") -> Any:
    """``value`` as plain JSON, with ``$`` forms for what JSON lacks."""
    if isinstance(value, dict):
        fields = {key: to_forms(member, at(place, key)) for key, member in value.items()}
        if any(key.startswith("$") for key in fields):
            return {"$map": [[key, member] for key, member in fields.items()]}
        return fields
    if isinstance(value, list | tuple):
        return [to_forms(member, at(place, index)) for index, member in enumerate(value)]
    if parts := array_parts(value, place):
        dtype, shape, data = parts
        return {"$array": {"dtype": DTYPES[dtype], "shape": list(shape), "data": base64.b64encode(data).decode()}}
    plain = plain_scalar(value, place)
    if isinstance(plain, float) and not math.isfinite(plain):
        return {"$float": "NaN" if math.isnan(plain) else "Infinity" if plain > 0 else "-Infinity"}
    if isinstance(plain, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(plain).decode()}
    return plain


def _float_form(body: Any, place: str) -> float:
    if body not in ("NaN", "Infinity", "-Infinity"):
        fault(place, "$float is one of 'NaN', 'Infinity', '-Infinity'")
    return float(body)


def _bytes_form(body: Any, place: str) -> bytes:
    try:
        return base64.b64decode(body if isinstance(body, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        fault(place, "$bytes is base64 text")


def _array_form(body: Any, place: str) -> Any:
    if not isinstance(body, dict) or set(body) != {"dtype", "shape", "data"}:
        fault(place, "$array has the keys dtype, shape and data")
    dtype, shape = body["dtype"], body["shape"]
    if dtype not in DTYPES:
        fault(place, f"the dtype of an array is one of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**32 for n in shape):
        fault(place, "the shape of an array is a list of sizes")
    data = _bytes_form(body["data"], place)
    header = struct.pack(f"<4B{len(shape)}I", DTYPES.index(dtype), len(shape) & 0xFF, 0, 0, *shape)
    try:
        return read_array(header + data)
    except ValueFault as error:
        fault(place, str(error))


def _map_form(body: Any, place: str) -> dict[str, Any]:
    if not isinstance(body, list) or not all(
        isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) for entry in body
    ):
        fault(place, f"$map is a list of [key, value]: {_MAP_HINT}")
    if len({key for key, _ in body}) < len(body):
        fault(place, "$map has a key twice")
    return {key: from_forms(member, at(place, key)) for key, member in body}


_TWICE: Final = object()  # stands for the value of a key that comes twice, until its place is known
_MAP_HINT: Final = '{"$map": [[key, value], …]}'
_FORMS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "$float": _float_form,
    "$bytes": _bytes_form,
    "$array": _array_form,
    "$map": _map_form,
}
