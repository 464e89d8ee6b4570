"""Where in a value something is: ``[2].a``, ``nodes[1].params["odd key"]``."""

import json
import re
from typing import Final, NoReturn

from mesh.errors import ValueFault
from mesh.limits import MAX_DEPTH

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def at(place: str, step: str | int) -> str:
    """The place one step further: ``nodes[2].params``; keys that are no plain word are written as JSON."""
    if isinstance(step, int):
        return f"{place}[{step}]"
    if not _WORD.fullmatch(step):
        return f"{place}[{json.dumps(step, ensure_ascii=False)}]"
    return f"{place}.{step}" if place else step


def fault(place: str, message: str) -> NoReturn:
    """Raises the ValueFault of ``place``."""
    raise ValueFault(message, place=place)


def descend(place: str, levels: int) -> None:
    if levels == 0:
        fault(place, f"lists and maps nest deeper than {MAX_DEPTH} levels")
