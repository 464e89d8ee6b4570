"""Loading nodes from files, modules and installed distributions."""

import importlib
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mesh.errors import NodeSourceError
from mesh.nodes import Registry, registry

NODES = """
from mesh.nodes import Node, node, SKIP
from {lib} import WORD

print("loading")

class _Base(Node):
    pass

class Greet(_Base):
    def process(self, value):
        return WORD

@node
def shout(value: str) -> str:
    return value.upper()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(loaded: Registry) -> set[str]:
    return {spec.node_type for spec in loaded.specs()} - {spec.node_type for spec in Registry().specs()}


def test_a_file_with_what_lies_beside_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "beside_a_file.py").write_text("WORD = 'hi'")
    (folder / "my nodes.py").write_text(NODES.format(lib="beside_a_file"))
    loaded = Registry()
    assert loaded.load(str(folder / "my nodes.py")) == ("Greet", "shout")
    assert loaded.load(str(folder / "my nodes.py")) == ("Greet", "shout")
    assert names(loaded) == {"Greet", "shout"}
    assert loaded.get("Greet")().process(1) == "hi"
    told = capsys.readouterr()
    assert told.out == ""
    assert "loading" in told.err


def test_a_package(folder: Path) -> None:
    (folder / "some_package").mkdir()
    (folder / "some_package" / "__init__.py").write_text("from some_package.parts import Greet, Node, shout")
    (folder / "some_package" / "words.py").write_text("WORD = 'hi'")
    (folder / "some_package" / "parts.py").write_text(NODES.format(lib="some_package.words"))
    loaded = Registry()
    assert loaded.load("some_package") == ("Greet", "shout")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", "line 1: '(' was never closed"),
        ("\n\n1 / 0", "line 3: ZeroDivisionError: division by zero"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("import sys\nsys.exit(3)", "line 2: SystemExit: 3"),
        ("x = 1", "it defines no nodes; subclass mesh.nodes.Node or decorate with @mesh.nodes.node"),
        ("from mesh.nodes.builtin import Join", "it defines no nodes"),
        (
            "from mesh.nodes import Node\nclass Join(Node):\n  def process(self, v): return v",
            "Join is already there (built in)",
        ),
    ],
)
def test_what_cannot_be_loaded(folder: Path, text: str, message: str) -> None:
    (folder / "bad.py").write_text(text)
    with pytest.raises(NodeSourceError) as caught:
        Registry().load("bad.py")
    assert str(caught.value).startswith("bad.py: ")
    assert message in str(caught.value)


def test_a_wrong_class_in_a_file(folder: Path) -> None:
    (folder / "wrong.py").write_text("from mesh.nodes import Node\nclass Scale(Node):\n  factor: float")
    with pytest.raises(NodeSourceError, match=r"^Scale: it has no process"):
        Registry().load("wrong.py")


def test_a_module_that_is_not_there(folder: Path) -> None:
    with pytest.raises(NodeSourceError, match=r"^no\.such: .*No module named 'no'"):
        Registry().load("no.such")


def test_two_sources_of_one_name(folder: Path) -> None:
    text = "from mesh.nodes import node\n@node\ndef shout(value): return value"
    (folder / "one.py").write_text(text)
    (folder / "two.py").write_text(text)
    loaded = Registry()
    loaded.load("one.py")
    with pytest.raises(NodeSourceError, match=r"two.py: shout is already there \(one.py\)"):
        loaded.load("two.py")


def test_entry_points(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "installed_nodes.py").write_text(
        "from mesh.nodes import Node, node\n"
        "class Whole(Node):\n  def process(self, v): return v\n"
        "@node\ndef single(value): return value\n"
    )
    (folder / "installed_broken.py").write_text("1 / 0")
    sys.path.append(str(folder))
    importlib.invalidate_caches()
    points = [EntryPoint("single", "installed_nodes:single", registry.ENTRY_POINTS)]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    loaded = Registry()
    assert loaded.load_entry_points() == ("single",)
    points[:] = [EntryPoint("all", "installed_nodes", registry.ENTRY_POINTS)]
    assert Registry().load_entry_points() == ("Whole", "single")
    points[:] = [EntryPoint("broken", "installed_broken", registry.ENTRY_POINTS)]
    with pytest.raises(NodeSourceError, match=r"^broken \(installed_broken\): .*ZeroDivisionError"):
        Registry().load_entry_points()
    points[:] = [EntryPoint("nothing", "math:pi", registry.ENTRY_POINTS)]
    with pytest.raises(NodeSourceError, match="defines no nodes"):
        Registry().load_entry_points()


PYODIDE = """
import sys
for name in ("aiortc", "wasmtime", "websockets", "networkx", "numpy", "yaml", "pocketsphinx", "cryptography", "jwt"):
    sys.modules[name] = None
import mesh.values, mesh.nodes, mesh.nodes.instance, mesh.manifest
from mesh.nodes import Registry, bind
assert "SpeechToText" not in {spec.node_type for spec in Registry().specs()}
pipeline = mesh.manifest.parse('{"version": "v1", "nodes": [{"id": "a", "type": "Range"}]}', name="test")
types = {spec.node_type: spec for spec in Registry().specs()}
assert mesh.manifest.compile_graph(pipeline, types).order == ("a",)
assert bind(Registry().get("Multiply"), {"factor": 2}).process(3) == 6
"""


def test_imports_in_pyodide() -> None:
    """Nothing that is not there is needed, with msgpack written in Python too."""
    subprocess.run([sys.executable, "-W", "error", "-c", PYODIDE], check=True)
    subprocess.run([sys.executable, "-c", PYODIDE], check=True, env={"MSGPACK_PUREPYTHON": "1"})
