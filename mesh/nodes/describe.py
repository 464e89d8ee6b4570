"""From a Python class to its spec, and from a spec's parameters to an instance."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, Literal, Union, get_args, get_origin, get_type_hints

from mesh.errors import NodeError, NodeSourceError, ValueFault
from mesh.nodes.base import FLAGS, FunctionNode, Node, parameters
from mesh.nodes.spec import KINDS, NodeSpec, Param
from mesh.values import Array, decode, encode

_MISSING: Final = inspect.Parameter.empty
_KIND_OF: Final[dict[Any, str]] = {
    Any: "any", object: "any", _MISSING: "any", None: "null", NoneType: "null", bool: "bool", int: "int",
    float: "number", str: "text", bytes: "bytes", list: "list", tuple: "list", Sequence: "list", dict: "map",
    Mapping: "map", Array: "array",
}  # fmt: skip


def spec_of(cls: type[Node]) -> NodeSpec:
    """The spec of a node class; raises NodeSourceError where the class is not a right one."""
    try:
        return _derive(cls)
    except (TypeError, ValueError, NameError, ValueFault) as error:
        raise NodeSourceError(cls.__name__, str(error)) from error


def bind(cls: type[Node], params: Mapping[str, Any]) -> Node:
    """An instance with ``params`` (decoded), not set up yet; raises NodeError for parameters that do not fit."""
    spec = spec_of(cls)
    if faults := spec.check(params):
        raise NodeError(f"{spec.node_type}: {'; '.join(map(str, faults))}")
    instance = cls.__new__(cls)
    for name, value in spec.complete(params).items():
        setattr(instance, name, deepcopy(value))
    cls.__init__(instance)
    return instance


def _derive(cls: type[Node]) -> NodeSpec:
    _check_flags(cls)
    finishes = cls.finish is not Node.finish
    snapshots = cls.snapshot is not Node.snapshot
    if cls.process is Node.process:
        raise TypeError("it has no process; a base class of others begins with '_'")
    if snapshots != (cls.restore is not Node.restore):
        raise TypeError("snapshot and restore come together")
    if (finishes or snapshots) and not cls.stateful:
        raise TypeError("finish, snapshot and restore are for stateful nodes: write stateful = True")
    accepts, returns = _function_kinds(cls) if issubclass(cls, FunctionNode) else (cls.accepts, cls.returns)
    declared = _declared(cls)
    if taken := next((name for name in declared if hasattr(Node, name)), None):
        raise TypeError(f"{taken!r} is a word of Node and cannot name a parameter")
    return NodeSpec(
        node_type=cls.__name__,
        doc=inspect.cleandoc(cls.__doc__ or ""),
        params={name: _param(name, *each) for name, each in declared.items()},
        accepts=accepts,
        returns=returns,
        arity=_arity(cls),
        join=cls.join,
        optional=cls.optional,
        stateful=cls.stateful,
        deterministic=cls.deterministic,
        finishes=finishes,
        snapshots=snapshots,
    )


def _check_flags(cls: type[Node]) -> None:
    for flag in ("accepts", "returns"):
        if getattr(cls, flag) not in KINDS:
            raise ValueError(f"{flag} is {getattr(cls, flag)!r}, but the kinds are {', '.join(sorted(KINDS))}")
    for flag in ("join", "stateful", "deterministic"):
        if not isinstance(getattr(cls, flag), bool):
            raise ValueError(f"{flag} is True or False")
    if cls.arity not in ("one", "maybe", "many"):
        raise ValueError(f"arity is {cls.arity!r}, but arities are 'one', 'maybe' and 'many'")
    if not isinstance(cls.optional, tuple) or not all(isinstance(port, str) for port in cls.optional):
        raise ValueError("optional is a tuple of port names: optional = ('port',)")
    if cls.optional and not cls.join:
        raise ValueError("optional ports are for joins: write join = True")


def _arity(cls: type[Node]) -> Any:
    if any("arity" in vars(base) for base in cls.__mro__ if base not in (Node, object)):
        return cls.arity
    process = cls.function if issubclass(cls, FunctionNode) else cls.process
    return "many" if inspect.isgeneratorfunction(process) or inspect.isasyncgenfunction(process) else "one"


def _declared(cls: type[Node]) -> dict[str, tuple[Any, Any]]:
    """Annotation and default of each parameter."""
    if issubclass(cls, FunctionNode):
        return {name: (each.annotation, each.default) for name, each in parameters(cls.signature).items()}
    return {
        name: (annotation, getattr(cls, name, _MISSING))
        for name, annotation in get_type_hints(cls, include_extras=True).items()
        if name not in FLAGS and not name.startswith("_") and get_origin(annotation) is not ClassVar
    }


def _function_kinds(cls: type[FunctionNode]) -> tuple[str, str]:
    values = [each for each in cls.signature.parameters.values() if each.kind is not each.KEYWORD_ONLY]
    if len(values) != 1 or values[0].kind.name.startswith("VAR_"):
        raise TypeError(
            f"a node function takes one value; parameters are keyword-only: def {cls.__name__}(value, *, …)"
        )
    returned = cls.signature.return_annotation
    if get_origin(returned) in (Iterator, Iterable, Generator, AsyncIterator, AsyncGenerator):
        returned = get_args(returned)[0]
    flags = vars(cls)
    return (
        flags.get("accepts") or _kind(values[0].annotation) or "any",
        flags.get("returns") or _kind(returned) or "any",
    )


def _param(name: str, annotation: Any, default: Any) -> Param:
    doc = ""
    if get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        doc = next((note for note in notes if isinstance(note, str)), "")
    if default is None:  # Optional[X] = None: the kind is X's, null is right because it is the default
        annotation = _without_none(annotation)
    kind = _kind(annotation)
    if kind is None:
        raise TypeError(f"{name}: {annotation!r} is no kind of value; only parameters are annotated")
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    if default is _MISSING:
        return Param(kind, doc=doc, choices=choices)
    param = Param(kind, required=False, default=decode(encode(default)), doc=doc, choices=choices)
    if wrong := param.wrong(param.default):
        raise TypeError(f"the default of {name}: {wrong}")
    return param


def _kind(annotation: Any) -> str | None:
    """The kind that a Python annotation means; None for a class whose instances are no values."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin in (Union, UnionType, Literal):
        members = get_args(annotation)
        kinds = {_kind(type(member) if origin is Literal else member) for member in members}
        if len(kinds) == 1:
            return kinds.pop()
        return "number" if kinds <= {"int", "number"} else "any"
    base = origin or annotation
    if base in _KIND_OF:
        return _KIND_OF[base]
    if isinstance(base, type) and issubclass(base, dict):  # TypedDict
        return "map"
    return "array" if getattr(base, "__name__", "") == "ndarray" else None


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    return reduce(or_, (member for member in get_args(annotation) if member is not NoneType))
