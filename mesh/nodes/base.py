"""Writing nodes in Python: ``Node`` for classes, ``@node`` for functions, ``SKIP`` for "nothing"."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, final, overload


@final
class Skip:
    """The type of ``SKIP``."""

    def __repr__(self) -> str:
        return "SKIP"

    def __reduce__(self) -> str:
        return "SKIP"


SKIP: Final = Skip()  # a node that filters returns it: no part


class Node:
    """A node type. The class's name is its ``node_type``, its docstring describes it, its annotated attributes are its
    parameters (required without a default; names that begin with ``_`` are the class's own).

    Flags, not annotated: ``accepts`` and ``returns`` are kinds; ``arity`` is ``"one"``, ``"maybe"`` or ``"many"`` (a
    generator is ``"many"`` unless the class says otherwise); ``join = True`` takes ``{port: value}``, where the
    ports named in ``optional`` may be absent.
    """

    accepts = "any"
    returns = "any"
    arity = "one"
    join = False
    optional: tuple[str, ...] = ()
    stateful = False
    deterministic = True

    def setup(self) -> Any:
        """Called once, before the first item; may be async."""

    def process(self, value: Any) -> Any:
        """One item: return its part or SKIP, or yield parts; may be async."""
        raise NotImplementedError

    def finish(self) -> Any:
        """Called after the last item of a stateful node; answers as ``process`` does."""
        return SKIP

    def snapshot(self) -> Any:
        """The state of a stateful node, as a value."""
        raise NotImplementedError

    def restore(self, state: Any) -> Any:
        """Back to a state that ``snapshot`` gave."""
        raise NotImplementedError

    def close(self) -> Any:
        """Called once, at the end."""


FLAGS: Final = ("accepts", "returns", "arity", "join", "optional", "stateful", "deterministic")

DECLARED: Final = "__mesh_node__"  # where ``@node`` leaves the class that it made of a function

type Function = Callable[..., Any]


@overload
def node[F: Function](function: F, /) -> F: ...
@overload
def node[F: Function](
    *,
    accepts: str = ...,
    returns: str = ...,
    arity: Literal["one", "maybe", "many"] = ...,
    join: bool = ...,
    optional: tuple[str, ...] = ...,
    stateful: bool = ...,
    deterministic: bool = ...,
) -> Callable[[F], F]: ...
def node(function: Function | None = None, /, **flags: Any) -> Any:
    """Makes a function a node type of its name: its argument is the item, its keyword-only arguments are parameters.

    Kinds come from its annotations where the flags do not say them. The function stays what it was.
    """
    if function is None:
        return partial(_declare, flags=flags)
    return _declare(function, flags={})


def _declare(function: Function, *, flags: dict[str, Any]) -> Function:
    if unknown := set(flags) - set(FLAGS):
        raise TypeError(f"@node takes the flags {', '.join(FLAGS)}, not {', '.join(sorted(unknown))}")
    function.__dict__[DECLARED] = _class_of(function, flags)
    return function


class FunctionNode(Node):
    """The base of what ``@node`` makes. ``function`` and ``signature`` are its subclass's."""

    function: Function
    signature: inspect.Signature

    def setup(self) -> None:
        self._call = partial(type(self).function, **{name: getattr(self, name) for name in parameters(self.signature)})

    def process(self, value: Any) -> Any:
        return self._call(value)


def parameters(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    """The keyword-only arguments."""
    return {name: each for name, each in signature.parameters.items() if each.kind is each.KEYWORD_ONLY}


def _class_of(function: Function, flags: dict[str, Any]) -> type[FunctionNode]:
    signature = inspect.signature(function, eval_str=True)
    return type(
        function.__name__,
        (FunctionNode,),
        {
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "function": staticmethod(function),
            "signature": signature,
            **flags,
        },
    )
