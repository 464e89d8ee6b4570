"""Kinds, by which ports and parameters are declared."""

from typing import Any, Final

_KINDS: Final = {
    type(None): "null", bool: "bool", int: "int", float: "float",
    str: "text", bytes: "bytes", list: "list", dict: "map",
}  # fmt: skip


def kind_of(value: Any) -> str:
    """The narrowest basic kind of a decoded value: ``null``, ``bool``, ``int``, …, ``array``."""
    return _KINDS.get(type(value), "array")


def matches(kind: str, value: Any) -> bool:
    """Whether a decoded value is of ``kind``; a bool is no number."""
    actual = kind_of(value)
    if kind == "number":
        return actual in ("int", "float")
    if kind == "audio":
        return actual == "map" and _is_audio(value)
    if kind == "image":
        return actual == "array" and _is_image(value)
    return kind in ("any", actual)


def _is_audio(value: dict[str, Any]) -> bool:
    samples: Any = value.get("samples")
    rate = value.get("rate")
    if kind_of(samples) != "array" or type(rate) is not int or rate <= 0:
        return False
    return bool(samples.dtype == "float32") and len(samples.shape) in (1, 2)


def _is_image(array: Any) -> bool:
    return bool(array.dtype == "uint8") and len(array.shape) == 3 and array.shape[2] in (1, 3, 4)
