"""What a node type says of itself: the same for Python classes and for ``describe`` of a wasm module."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Arity = Literal["one", "maybe", "many"]
RuntimeName = Literal["wasm", "python", "pyodide"]

KINDS = frozenset(("any", "null", "bool", "int", "float", "number", "text", "bytes", "list", "map", "array", "audio", "image"))


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. Without a default it is required. ``choices``, where given, lists every allowed value."""

    kind: str = "any"
    required: bool = True
    default: Any = None
    doc: str = ""
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node type; ``runtimes`` says where it runs on the peer that announces it."""

    node_type: str
    doc: str = ""
    params: Mapping[str, Param] = field(default_factory=dict)
    accepts: str = "any"
    returns: str = "any"
    arity: Arity = "one"
    join: bool = False
    optional: tuple[str, ...] = ()
    stateful: bool = False
    deterministic: bool = True
    finishes: bool = False
    snapshots: bool = False
    runtimes: tuple[RuntimeName, ...] = ()
