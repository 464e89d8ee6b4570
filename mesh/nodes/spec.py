"""What a node type says of itself: the same for Python classes and for ``describe`` of a wasm module."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args

from mesh.errors import Fault
from mesh.limits import MAX_CHOICES, MAX_DOC_CHARS, MAX_ID_CHARS, MAX_PARAMS, MAX_PORTS
from mesh.values import Fields, at, fault, from_forms, kind_of, matches, to_forms

Arity = Literal["one", "maybe", "many"]
RuntimeName = Literal["wasm", "python", "pyodide"]

KINDS: Final = frozenset(
    ("any", "null", "bool", "int", "float", "number", "text", "bytes", "list", "map", "array", "audio", "image")
)
ALIASES: Final = {name: f"{name}Node" for name in ("Multiply", "Add", "TextProcessor", "DataTransform")}
_NARROWER: Final = {"number": {"int", "float"}, "map": {"audio"}, "array": {"image"}}


def may_feed(returns: str, accepts: str) -> bool:
    """Whether a value of kind ``returns`` can be one of kind ``accepts``."""
    if "any" in (returns, accepts) or returns == accepts:
        return True
    return returns in _NARROWER.get(accepts, ()) or accepts in _NARROWER.get(returns, ())


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'factor'?`` where a known word is near, else all of them where they are few."""
    words = list(known)
    near = get_close_matches(word, words, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    if not words:
        return "; there are none"
    return f"; known are {', '.join(map(repr, words))}" if len(words) <= 8 else ""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. Without a default it is required. ``choices``, where given, lists every allowed value."""

    kind: str = "any"
    required: bool = True
    default: Any = None
    doc: str = ""
    choices: tuple[Any, ...] = ()

    def wrong(self, value: Any) -> str | None:
        """What is wrong with a decoded ``value``; None if nothing. Null is right where it is the default."""
        if value is None and self.default is None and not self.required:
            return None
        if self.choices:
            if any(type(value) is type(choice) and value == choice for choice in self.choices):
                return None
            return f"write one of {', '.join(map(repr, self.choices))}"
        return None if matches(self.kind, value) else f"write a value of kind {self.kind}, not {kind_of(value)}"

    def to_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"kind": self.kind}
        if not self.required:
            fields["default"] = to_forms(self.default)
        if self.doc:
            fields["doc"] = self.doc
        if self.choices:
            fields["choices"] = to_forms(self.choices)
        return fields

    @classmethod
    def from_json(cls, fields: Any, place: str) -> "Param":
        reader = Fields(fields, place)
        required = "default" not in reader.fields
        param = cls(
            kind=reader.one_of("kind", KINDS, "any"),
            required=required,
            default=from_forms(reader.get("default", None), at(place, "default")),
            doc=reader.text("doc", MAX_DOC_CHARS, ""),
            choices=tuple(from_forms(reader.items("choices", MAX_CHOICES), at(place, "choices"))),
        )
        reader.end()
        if not required and (wrong := param.wrong(param.default)):
            fault(at(place, "default"), wrong)
        return param


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

    def check(self, params: Mapping[str, Any], place: str = "params") -> list[Fault]:
        """Everything wrong with decoded ``params``: unknown (``x-…`` apart), missing, of the wrong kind."""
        faults = [
            Fault(at(place, name), f"unknown parameter of {self.node_type}{suggestion(name, self.params)}")
            for name in params
            if name not in self.params and not name.startswith("x-")
        ]
        for name, param in self.params.items():
            if name not in params:
                if param.required:
                    faults.append(Fault(at(place, name), f"{self.node_type} needs this parameter ({param.kind})"))
            elif wrong := param.wrong(params[name]):
                faults.append(Fault(at(place, name), wrong))
        return faults

    def complete(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """``params`` with the defaults applied, in the order of the declaration."""
        return {name: params.get(name, param.default) for name, param in self.params.items()}

    def to_json(self) -> dict[str, Any]:
        """The spec as plain JSON: an entry of ``describe``, with ``runtimes`` where they are known."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["params"] = {name: param.to_json() for name, param in self.params.items()}
        fields["optional"] = list(self.optional)
        fields["runtimes"] = list(self.runtimes)
        return {name: value for name, value in fields.items() if value or name not in ("optional", "runtimes")}

    @classmethod
    def from_json(cls, fields: Any, place: str = "") -> "NodeSpec":
        """Reads what a module or a peer says of a type; raises ValueFault with the place for anything amiss."""
        reader = Fields(fields, place)
        params = reader.get("params", {})
        if not isinstance(params, dict) or len(params) > MAX_PARAMS:
            fault(at(place, "params"), f"write a map of at most {MAX_PARAMS} parameters")
        spec = cls(
            node_type=reader.text("node_type", MAX_ID_CHARS),
            doc=reader.text("doc", MAX_DOC_CHARS, ""),
            params={name: Param.from_json(param, at(at(place, "params"), name)) for name, param in params.items()},
            accepts=reader.one_of("accepts", KINDS, "any"),
            returns=reader.one_of("returns", KINDS, "any"),
            arity=reader.one_of("arity", get_args(Arity), "one"),
            join=reader.flag("join"),
            optional=reader.texts("optional", MAX_PORTS),
            stateful=reader.flag("stateful"),
            deterministic=reader.flag("deterministic", default=True),
            finishes=reader.flag("finishes"),
            snapshots=reader.flag("snapshots"),
            runtimes=reader.texts("runtimes", len(get_args(RuntimeName)), get_args(RuntimeName)),
        )
        reader.end()
        return spec
