"""Which Python node types there are here: the built-in ones, and those that the peer's owner loads."""

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Collection, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mesh.errors import NodeError, NodeSourceError
from mesh.nodes import builtin, speech
from mesh.nodes.base import DECLARED, FunctionNode, Node
from mesh.nodes.describe import spec_of
from mesh.nodes.spec import ALIASES, NodeSpec, suggestion

ENTRY_POINTS: Final = "remotemedia_mesh.nodes"
BUILT_IN: Final = "built in"


class Registry:
    """Node types by name. ``allow``, where given, names the only ones that are given out."""

    def __init__(self, *, allow: Collection[str] | None = None) -> None:
        self._allow = None if allow is None else {ALIASES.get(name, name) for name in allow}
        self._types: dict[str, tuple[type[Node], NodeSpec, str]] = {}
        self._add(_types_in(builtin), BUILT_IN)
        if importlib.util.find_spec("pocketsphinx"):
            self._add(_types_in(speech), BUILT_IN)

    def load(self, source: str) -> tuple[str, ...]:
        """Loads FILE.py or a module, and answers the names of its types; raises NodeSourceError."""
        return self._add(_types_in(_module(source)), source)

    def load_entry_points(self) -> tuple[str, ...]:
        """Loads what installed distributions offer in the group ``remotemedia_mesh.nodes``."""
        names: list[str] = []
        for point in entry_points(group=ENTRY_POINTS):
            with _reported(f"{point.name} ({point.value})"):
                offered = point.load()
            types = _types_in(offered) if isinstance(offered, ModuleType) else [_declared_class(offered)]
            names += self._add([cls for cls in types if cls is not None], point.value)
        return tuple(names)

    def specs(self) -> list[NodeSpec]:
        """Every type that is given out."""
        return [spec for name, (_, spec, _) in self._types.items() if self._gives(name)]

    def get(self, node_type: str) -> type[Node]:
        """The class of a type; raises NodeError where it is unknown or not allowed."""
        name = node_type if node_type in self._types else ALIASES.get(node_type, node_type)
        if name not in self._types:
            raise NodeError(f"there is no Python node type {node_type!r} here{suggestion(node_type, self._types)}")
        if not self._gives(name):
            raise NodeError(f"the owner of this peer does not allow {name}")
        return self._types[name][0]

    def _gives(self, name: str) -> bool:
        return self._allow is None or name in self._allow

    def _add(self, classes: Collection[type[Node]], source: str) -> tuple[str, ...]:
        if not classes:
            raise NodeSourceError(
                source, "it defines no nodes; subclass mesh.nodes.Node or decorate with @mesh.nodes.node"
            )
        for cls in classes:
            spec = spec_of(cls)
            known = self._types.get(spec.node_type)
            if known is not None and known[2] != source:
                raise NodeSourceError(source, f"{spec.node_type} is already there ({known[2]}); choose another name")
            self._types[spec.node_type] = (cls, spec, source)
        return tuple(cls.__name__ for cls in classes)


def _types_in(module: ModuleType) -> list[type[Node]]:
    """The node types that the module, or one below it, defines."""
    classes = [cls for member in vars(module).values() if (cls := _declared_class(member)) is not None]
    return [
        cls
        for cls in dict.fromkeys(classes)
        if cls.__module__ == module.__name__ or cls.__module__.startswith(f"{module.__name__}.")
    ]


def _declared_class(member: Any) -> type[Node] | None:
    if inspect.isfunction(member):
        return vars(member).get(DECLARED)
    if not inspect.isclass(member) or not issubclass(member, Node) or member.__name__.startswith("_"):
        return None
    return None if member in (Node, FunctionNode) else member


def _module(source: str) -> ModuleType:
    if not source.endswith(".py"):
        _search(os.getcwd())
        with _reported(source):
            return importlib.import_module(source)
    path = Path(source).resolve()
    if not path.is_file():
        raise NodeSourceError(source, "there is no such file")
    _search(str(path.parent))
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise NodeSourceError(source, "Python cannot load it")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with _reported(source):
        spec.loader.exec_module(module)
    return module


def _search(folder: str) -> None:
    """Lets sources import what lies beside them; what is installed comes first."""
    if folder not in sys.path:
        sys.path.append(folder)


@contextlib.contextmanager
def _reported(source: str) -> Iterator[None]:
    """Turns whatever loading raises into a NodeSourceError with the line; what is printed goes to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SyntaxError as error:
        raise NodeSourceError(source, f"line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise NodeSourceError(
            source, f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: {error}"
        ) from error
