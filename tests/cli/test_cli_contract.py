"""``mesh run`` in one process: the finer points of the contract, with nodes that nobody here wrote for it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, mesh, results

NODES = '''
import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar, Literal, Optional
from mesh.nodes import Node, SKIP, node

@node
async def later(value):
    await asyncio.sleep(0.01)
    return value

@node
async def steps(value: int) -> AsyncIterator[int]:
    for index in range(value):
        await asyncio.sleep(0)
        yield index

@node(arity="many")
def gaps(value):
    yield 1
    yield SKIP
    yield 2

@node(arity="maybe")
def above_one(value):
    if value > 1:
        yield value

@node(arity="maybe")
def two_of_one(value):
    yield value
    yield value

@node
def nothing_of_one(value):
    return SKIP

class Late(Node):
    arity = "many"

    def process(self, value):
        yield value
        raise ValueError("after the first")

class Many(Node):
    """Finishes with many parts."""
    stateful = True
    arity = "many"

    def process(self, value):
        return value

    def finish(self):
        yield from range(200)

class TooMany(Node):
    stateful = True

    def process(self, value):
        return value

    def finish(self):
        yield 1
        yield 2

class Forgetful(Node):
    """Stateful, without a snapshot."""
    stateful = True

    def process(self, value):
        import os
        if value == 2:
            os._exit(7)
        return value

class Every(Node):
    """Every kind of parameter."""
    a: int
    b: float = 1
    c: str = "x"
    d: list[int] = [1]
    e: Optional[int] = None
    f: Annotated[Literal["p", "q"], "which"] = "p"
    g: bytes = b""
    h: Any = None
    K: ClassVar[int] = 3

    def process(self, value):
        return [self.a, self.b, self.c, self.d, self.e, self.f, self.g, self.h]

class Odd(Node):
    def process(self, value):
        return {"int": 2**64, "set": {1}, "key": {1: 2}, "exit": None}[value] if value != "exit" else exit(3)

class Whole(Node):
    accepts = "int"
    returns = "text"

    def process(self, value):
        return str(value)

class Nest(Node):
    def process(self, value):
        nested = []
        for _ in range(value - 1):
            nested = [nested]
        return nested

class NoModel(Node):
    def setup(self):
        raise OSError("the model is not there")

    def process(self, value):
        return value
'''

N = {"id": "n", "node_type": "PassThrough"}


def run(folder: Path, nodes: list[Any], connections: list[tuple[str, ...]], items: Any, *more: object) -> Any:
    """``nodes`` are maps, or (id, type, parameters…)."""
    written = [each if isinstance(each, dict) else vertex(*each) for each in nodes]
    links = [dict(zip(("from", "to", "port"), each, strict=False)) for each in connections]
    (folder / "pipeline.json").write_text(json.dumps({"version": "v1", "nodes": written, "connections": links}))
    (folder / "own.py").write_text(NODES)
    arguments = ("--nodes", folder / "own.py", "--input", json.dumps(items))
    return mesh("run", folder / "pipeline.json", *arguments, *more)


def vertex(name: str, node_type: str, **params: Any) -> dict[str, Any]:
    return {"id": name, "node_type": node_type, "params": params}


@pytest.mark.parametrize(
    ("node_type", "items", "expected"),
    [
        ("later", [1, None], [1, None]),
        ("steps", [2, 0, 1], [0, 1, 0]),
        ("gaps", [0], [1, 2]),
        ("above_one", [1, 2], [2]),
        ("Many", [7], [7, *range(200)]),
    ],
)
def test_what_nodes_in_python_may_answer(tmp_path: Path, node_type: str, items: Any, expected: Any) -> None:
    assert results(run(tmp_path, [("a", node_type)], [], items)) == expected


@pytest.mark.parametrize(
    ("node_type", "items", "out", "words"),
    [
        ("two_of_one", [1], [], "a second part"),
        ("nothing_of_one", [1], [], "no part"),
        ("TooMany", [1], ["1"], "a second part"),
        ("Late", [1, 2], ["1", "2"], "after the first"),
        ("Whole", [1, "x", 2.0], ['"1"'], "accepts int"),
        ("Odd", ["int", "set", "key", "exit"], [], "SystemExit"),
    ],
)
def test_what_they_may_not(tmp_path: Path, node_type: str, items: Any, out: Any, words: str) -> None:
    done = run(tmp_path, [("a", node_type)], [], items, "--on-error", "continue")
    assert (done.returncode, done.stdout.split()) == (1, out)
    assert words in done.stderr
    assert done.stderr.count("node 'a' on peer 'driver'") >= len(items) - len(out)


def test_a_state_that_is_lost_ends_the_run_and_is_told_once(tmp_path: Path) -> None:
    done = run(tmp_path, [("a", "Forgetful")], [], [1, 2, 3], "--on-error", "continue")
    assert (done.returncode, done.stdout) == (1, "1\n")
    assert done.stderr.count("seq 2") == 1
    assert "no snapshots" in done.stderr


def test_a_node_that_cannot_be_set_up_fails_the_run_in_its_own_words(tmp_path: Path) -> None:
    done = run(tmp_path, [("a", "NoModel")], [], [1])
    assert (done.returncode, done.stdout) == (1, "")
    assert "node 'a' could not be set up: OSError: the model is not there" in done.stderr
    assert "Traceback" not in done.stderr


def test_parameters_of_every_kind(tmp_path: Path) -> None:
    given = {"b": 2.5, "d": [], "e": 4, "f": "q", "g": {"$bytes": "AAE="}, "h": {"$float": "NaN"}}
    nodes = [vertex("defaults", "Every", a=3), vertex("given", "Every", a=3, **given)]
    assert results(run(tmp_path, nodes, [], [0])) == [
        {
            "defaults": [3, 1, "x", [1], None, "p", {"$bytes": ""}, None],
            "given": [3, 2.5, "x", [], 4, "q", {"$bytes": "AAE="}, {"$float": "NaN"}],
        }
    ]
    wrong = run(tmp_path, [vertex("a", "Every", a=True, b="1", d={}, e=1.5, f="r", K=1)], [], [0])
    assert wrong.returncode == 2
    assert all(f"nodes[0].params.{name}: " in wrong.stderr for name in ("a", "b", "d", "e", "f", "K"))


def test_a_list_counts_from_the_last_join(tmp_path: Path) -> None:
    nodes = [N, ("r", "Range"), ("p", "PassThrough"), ("join", "Join"), ("again", "Join")]
    connections = [("n", "r"), ("r", "p"), ("p", "join"), ("n", "join"), ("join", "again"), ("n", "again", "m")]
    assert results(run(tmp_path, nodes, connections, [2, 0])) == [{"join": {"p": [0, 1], "n": 2}, "m": 2}]


def test_the_extra_seq_of_finish_obeys_the_joins(tmp_path: Path) -> None:
    nodes = [N, vertex("w", "Window", size=2), vertex("v", "Window", size=2), ("both", "Join"), ("one", "Join")]
    connections = [("n", "w"), ("n", "v"), ("w", "both"), ("v", "both"), ("n", "one"), ("w", "one")]
    assert results(run(tmp_path, nodes, connections, [1, 2, 3])) == [
        {"both": {"w": [1, 2], "v": [1, 2]}, "one": {"n": 2, "w": [1, 2]}},
        {"both": {"w": [3], "v": [3]}},
    ]


def test_maps_of_joins_and_sinks_come_on_top_of_64_levels(tmp_path: Path) -> None:
    nodes = [N, ("deep", "Nest"), ("r", "Range"), ("join", "Join"), ("again", "PassThrough")]
    connections = [("n", "deep"), ("n", "r"), ("deep", "join"), ("r", "join"), ("n", "again")]
    (answer,) = results(run(tmp_path, nodes, connections, [64]))
    assert json.dumps(answer["join"]["deep"]) == "[" * 64 + "]" * 64
    too_deep = run(tmp_path, [("deep", "Nest")], [], [65])
    assert (too_deep.returncode, "64 levels" in too_deep.stderr) == (1, True)


def test_dropped_seqs_are_counted(tmp_path: Path) -> None:
    (tmp_path / "blob.py").write_text(
        "from mesh.nodes import node\n@node\ndef blob(value: int) -> bytes:\n    return bytes(value)\n"
    )
    manifest = {
        "version": "v1",
        "nodes": [vertex("b", "blob"), vertex("slow", "Busy", ms=30), vertex("s", "Select", path=[])],
        "connections": [{"from": "b", "to": "slow", "overflow": "drop_oldest"}, {"from": "slow", "to": "s"}],
    }
    (tmp_path / "p.json").write_text(json.dumps(manifest))
    items, receipt = json.dumps([500_000] * 40), tmp_path / "receipt.json"
    nodes = ("--nodes", tmp_path / "blob.py", "--receipt", receipt)
    out = results(mesh("run", tmp_path / "p.json", "--input", items, *nodes))
    said = json.loads(receipt.read_text())
    assert said["dropped"] > 0
    assert said["seqs"]["done"] == len(out) == 40 - said["dropped"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {id: 1, type: PassThrough}", "nodes[0].id: write text, not 1"),
        ("- {id: a, type: Multiply, params: {factor: 1_000}}", "number"),
        ("- &x {id: a, type: PassThrough}\n- *x", "anchors"),
        ("- {id: a, id: b, type: PassThrough}", "'id' comes twice"),
        ("\t- {id: a, type: PassThrough}", "line 3"),
        ("- !!python/name:os.system {id: a}", "tag"),
        ("- {id: a, type: PassThrough}\n---\nb: 1", "second document"),
        ("- {id: a, type: PassThrough, config: {}}", "write params"),
        ("- {id: a, type: PassThrough, timeout_s: .inf}", "timeout_s"),
        ("- {id: a, type: Fail, params: {value: 18446744073709551616}}", "integer"),
        ("- " * 3000 + "1", "nest"),
    ],
)
def test_traps_of_yaml_are_faults_with_their_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.yaml").write_text(f"version: v1\nnodes:\n{text}\n")
    done = mesh("run", tmp_path / "p.yaml", "--input", "[1]")
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_yaml_words_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    nodes = "".join(f"- {{id: {name}, type: Multiply, params: {{factor: 1e3}}}}\n" for name in ("on", "no", "y"))
    (tmp_path / "p.yaml").write_text(f"version: v1\nx-note: 2024-01-01\nnodes:\n{nodes}")
    assert mesh("run", tmp_path / "p.yaml", "--input", "[1]").stdout == '{"on": 1000.0, "no": 1000.0, "y": 1000.0}\n'


@pytest.mark.parametrize("command", [("nodes",), ("validate", "examples/mixed.yaml")])
def test_a_wrong_file_of_nodes_is_a_usage_error_everywhere(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "none.py").write_text("def f(:\n")
    done = mesh(*command, "--nodes", tmp_path / "none.py")
    assert (done.returncode, "none.py: line 1" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_a_reader_that_leaves_ends_the_run_quietly(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("version: v1\nnodes: [{id: r, type: Range}]\n")
    head = shutil.which("head")
    assert head is not None
    run_it = [sys.executable, "-m", "mesh", "run", str(tmp_path / "p.yaml"), "--input", "[100000]"]
    with subprocess.Popen(run_it, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        first = subprocess.run([head, "-n1"], stdin=process.stdout, capture_output=True, text=True, timeout=30)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (first.stdout, process.stderr.read(), process.wait(timeout=30)) == ("0\n", "", 0)
