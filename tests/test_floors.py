"""The house of docs/architecture.md: a module imports only from floors below its own."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    {"errors", "limits", "ids", "values"},
    {"protocol", "nodes"},
    {"manifest"},
    {"partitioner", "run"},
    {"runtimes", "transport"},
    {"peer"},
    {"cli"},
]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}
SANS_IO = {"protocol", "run", "partitioner"}  # time, bytes and randomness come in as arguments
ONLY_IN = {"aiortc": "mesh/transport/aiortc_engine.py", "wasmtime": "mesh/runtimes/guest.py"}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs; what is only for the type checker does not count."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


MODULES = sorted(path for folder in ("mesh", "signaling_server") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_below(path: Path) -> None:
    where = path.relative_to(ROOT)
    part = where.parts[1].removesuffix(".py") if where.parts[0] == "mesh" else ""
    for name in imports(path):
        top, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if top == "mesh" and other in FLOOR:
            if where.parts[0] == "signaling_server":
                assert FLOOR[other] <= FLOOR["partitioner"], f"{where} imports {name}"
            elif part in FLOOR:
                below = FLOOR[other] < FLOOR[part] or other == part or {other, part} <= FLOORS[0]
                assert below, f"{where} imports {name}"
        if top == "signaling_server":
            assert where.parts[0] == "signaling_server" or part == "cli", f"{where} imports {name}"
        if part in SANS_IO:
            assert top not in {"asyncio", "time", "random", "secrets", "socket", "threading"}, f"{where} imports {name}"
        if top in ONLY_IN:
            assert str(where) == ONLY_IN[top], f"{where} imports {name}"


BLOCKED = ("aiortc", "wasmtime", "websockets", "networkx", "numpy")


def test_values_nodes_and_manifests_import_in_pyodide() -> None:
    """There none of these is installed; a fresh interpreter without them must do."""
    blocked = f"import sys\nfor name in {BLOCKED}: sys.modules[name] = None\n"
    code = blocked + "import mesh, mesh.values, mesh.nodes, mesh.manifest"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
