"""``mesh run`` in one process, as a user types it: item flow, odd values, errors, exit codes (the contract)."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, mesh, results

NODES = '''
from mesh.nodes import Node, SKIP, node

class Scale(Node):
    """Scales a number."""
    factor: float
    offset: float = 0.0
    accepts = "number"
    returns = "number"

    def process(self, value):
        return value * self.factor + self.offset

@node
def shout(value: str, *, mark: str = "!") -> str:
    return value.upper() + mark

class Total(Node):
    stateful = True

    def setup(self):
        self.total = 0

    def process(self, value):
        self.total += value
        return SKIP

    arity = "maybe"

    def finish(self):
        return {"total": self.total}

class Dots(Node):
    arity = "many"

    async def process(self, value):
        for index in range(value):
            yield "." * index

class Pair(Node):
    join = True
    optional = ("right",)

    def process(self, ports):
        return sorted(ports.items())

class Hang(Node):
    def process(self, value):
        while True:
            pass

class Die(Node):
    def process(self, value):
        import os
        if value == 2:
            os._exit(3)
        return value

class Loud(Node):
    def process(self, value):
        print("this must not reach stdout")
        return value
'''


def manifest(tmp_path: Path, nodes: list[dict[str, Any]], connections: list[Any]) -> Path:
    """A manifest file; a connection is (from, to) or (from, to, port)."""
    links = [dict(zip(("from", "to", "port"), each, strict=False)) for each in connections]
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps({"version": "v1", "metadata": {"name": "t"}, "nodes": nodes, "connections": links}))
    (tmp_path / "own.py").write_text(NODES)
    return path


def run(tmp_path: Path, nodes: list[dict[str, Any]], connections: list[Any], items: Any, *more: object) -> Any:
    return mesh(
        "run",
        manifest(tmp_path, nodes, connections),
        "--nodes",
        tmp_path / "own.py",
        "--input",
        json.dumps(items),
        *more,
    )


@pytest.mark.parametrize(
    ("file", "items", "expected"),
    [
        ("calculator.yaml", [5, 7, 3], [20, 24, 16]),
        (
            "text.yaml",
            [{"text": "Hello WASM", "operations": ["uppercase", "word_count"]}],
            [{"original_text": "Hello WASM", "results": {"uppercase": "HELLO WASM", "word_count": 2}}],
        ),
        (
            "mixed.yaml",
            [5, 7, 10],
            [
                {"original_text": text, "results": {"uppercase": text, "word_count": 1, "char_count": 2}}
                for text in ("15", "21", "30")
            ],
        ),
    ],
)
def test_the_three_pipelines_of_the_seed(file: str, items: Any, expected: Any) -> None:
    assert results(mesh("run", ROOT / "examples" / file, "--input", json.dumps(items))) == expected


def test_the_receipt_names_the_order_and_adds_up(tmp_path: Path) -> None:
    receipt = tmp_path / "receipt.json"
    results(mesh("run", "examples/mixed.yaml", "--input", "[5, 7, 10]", "--receipt", receipt))
    said = json.loads(receipt.read_text())
    assert said["execution_order"] == ["multiply", "text"]
    assert (said["status"], said["items_in"], said["results_out"]) == ("done", 3, 3)
    assert said["seqs"] == {"done": 3, "filtered": 0, "failed": 0}
    assert said["epochs"][0]["placement"] == {"multiply": ["driver"], "text": ["driver"]}
    assert said["node_ms"]["multiply"]["count"] == 3


def test_fan_out_and_join_give_a_map_in_the_order_of_the_connections(tmp_path: Path) -> None:
    nodes = [
        {"id": "in", "node_type": "PassThrough"},
        {"id": "b", "node_type": "Add", "params": {"addend": 1}},
        {"id": "a", "node_type": "Multiply", "params": {"factor": 10}},
        {"id": "join", "node_type": "Join"},
    ]
    done = run(tmp_path, nodes, [("in", "b"), ("in", "a"), ("b", "join"), ("a", "join", "times")], [1, 2])
    assert done.stdout.splitlines() == ['{"b": 2, "times": 10}', '{"b": 3, "times": 20}'], done.stderr


def test_a_generator_before_a_join_makes_its_port_a_list(tmp_path: Path) -> None:
    nodes = [
        {"id": "n", "node_type": "PassThrough"},
        {"id": "range", "node_type": "Range"},
        {"id": "join", "node_type": "Join"},
    ]
    done = run(tmp_path, nodes, [("n", "range"), ("n", "join"), ("range", "join")], [2, 0, 3])
    assert results(done) == [{"n": 2, "range": [0, 1]}, {"n": 3, "range": [0, 1, 2]}]


def test_an_optional_port_may_be_absent(tmp_path: Path) -> None:
    nodes = [
        {"id": "n", "node_type": "PassThrough"},
        {"id": "big", "node_type": "Filter", "params": {"op": "gt", "value": 1}},
        {"id": "pair", "node_type": "Pair"},
    ]
    done = run(tmp_path, nodes, [("n", "big"), ("n", "pair", "left"), ("big", "pair", "right")], [1, 2])
    assert results(done) == [[["left", 1]], [["left", 2], ["right", 2]]]


def test_several_sinks_give_one_map_for_each_seq(tmp_path: Path) -> None:
    nodes = [
        {"id": "double", "node_type": "Multiply", "params": {"factor": 2}},
        {"id": "odd ids: ü/\"'", "node_type": "Filter", "params": {"op": "gt", "value": 1}},
    ]
    done = run(tmp_path, nodes, [], [1, 2])
    assert results(done) == [{"double": 2}, {"double": 4, "odd ids: ü/\"'": 2}]


def test_finish_belongs_to_one_extra_seq(tmp_path: Path) -> None:
    nodes = [{"id": "w", "node_type": "Window", "params": {"size": 2}}, {"id": "c", "node_type": "Counter"}]
    done = run(tmp_path, nodes, [("w", "c")], [1, 2, 3], "--receipt", tmp_path / "r.json")
    assert results(done) == [{"count": 1, "value": [1, 2]}, {"count": 2, "value": [3]}]
    receipt = json.loads((tmp_path / "r.json").read_text())
    assert receipt["seqs"] == {"done": 1, "filtered": 2, "failed": 0}
    assert (receipt["items_in"], receipt["results_out"]) == (3, 2)


def test_a_stateful_node_of_the_user_and_async_generators(tmp_path: Path) -> None:
    assert results(run(tmp_path, [{"id": "t", "node_type": "Total"}], [], [1, 2, 3])) == [{"total": 6}]
    assert results(run(tmp_path, [{"id": "d", "node_type": "Dots"}], [], [3, 0, 1])) == ["", ".", "..", ""]


@pytest.mark.parametrize(
    "text",
    [
        "[2.0, 2, -0.0, 1e300, 18446744073709551615, -9223372036854775808]",
        '[{"$float": "NaN"}, {"$float": "-Infinity"}, null, false, "", [], {}]',
        '[{"$bytes": "AAEC"}, {"$array": {"dtype": "float32", "shape": [2, 0], "data": ""}}]',
        '[{"$map": [["$float", 1]]}, "\\u0000 \\ud83d\\ude00 ü"]',
    ],
)
@pytest.mark.parametrize("runtime", ["python", "wasm"])
def test_odd_values_come_out_as_they_went_in(tmp_path: Path, text: str, runtime: str) -> None:
    path = manifest(tmp_path, [{"id": "p", "node_type": "PassThrough", "placement": {"runtime": runtime}}], [])
    done = mesh("run", path, "--input", text)
    assert done.returncode == 0, done.stderr
    assert "[" + ", ".join(done.stdout.splitlines()) + "]" == json.dumps(
        json.loads(text), ensure_ascii=False
    ) or json.loads("[" + ",".join(done.stdout.splitlines()) + "]") == json.loads(text)


def test_an_item_error_stops_the_run_after_the_results_below_it(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        [{"id": "f", "node_type": "Fail", "params": {"value": 3, "message": "three is bad"}}],
        [],
        [1, 2, 3, 4],
    )
    assert done.returncode == 1
    assert done.stdout.split() == ["1", "2"]
    for word in ("seq 2", "'f'", "driver", "three is bad"):
        assert word in done.stderr


def test_continue_goes_on_and_still_fails_at_the_end(tmp_path: Path) -> None:
    nodes = [{"id": "f", "node_type": "Fail", "params": {"value": 3, "message": "no"}}]
    done = run(tmp_path, nodes, [], [1, 3, 4], "--on-error", "continue")
    assert (done.returncode, done.stdout.split()) == (1, ["1", "4"])


@pytest.mark.parametrize(("node", "words"), [("Hang", "0.5 s"), ("Die", "exit")])
def test_a_node_that_hangs_or_dies_fails_its_item_only(tmp_path: Path, node: str, words: str) -> None:
    nodes = [{"id": "n", "node_type": node, "timeout_s": 0.5 if node == "Hang" else 30}]
    done = run(tmp_path, nodes, [], [1, 2, 3] if node == "Die" else [1], "--on-error", "continue")
    assert done.returncode == 1
    assert done.stdout.split() == (["1", "3"] if node == "Die" else [])
    assert words in done.stderr


def test_what_a_node_prints_is_not_a_result(tmp_path: Path) -> None:
    done = run(tmp_path, [{"id": "n", "node_type": "Loud"}], [], [1])
    assert (done.stdout, "must not reach" in done.stderr) == ("1\n", True)


def test_items_from_a_file_and_from_stdin_as_they_come(tmp_path: Path) -> None:
    path = manifest(tmp_path, [{"id": "s", "node_type": "Scale", "params": {"factor": 2}}], [])
    lines = tmp_path / "items.jsonl"
    lines.write_text("1\n2.5\n\n")
    assert results(mesh("run", path, "--nodes", tmp_path / "own.py", "--items", lines)) == [2.0, 5.0]
    process = subprocess.Popen(
        [sys.executable, "-m", "mesh", "run", str(path), "--nodes", str(tmp_path / "own.py"), "--items", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("4\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == 8.0  # while stdin is still open
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    process.communicate()


def test_usage_and_invalid_manifests_exit_with_2(tmp_path: Path) -> None:
    path = manifest(tmp_path, [{"id": "m", "node_type": "MultiplyNode", "params": {"factr": 2}}], [])
    no_items = mesh("run", path)
    assert (no_items.returncode, "--input" in no_items.stderr) == (2, True)
    typo = mesh("run", path, "--input", "[1]")
    assert typo.returncode == 2
    assert "nodes[0].params.factr: unknown parameter of MultiplyNode; did you mean 'factor'?" in typo.stderr
    assert mesh("run", tmp_path / "absent.yaml", "--input", "[1]").returncode == 2
    assert mesh("run", path, "--input", "[1,").returncode == 2
    assert mesh("run", path, "--input", "3").returncode == 2
    (tmp_path / "bad.jsonl").write_text("1\n{\n")
    good = manifest(tmp_path, [{"id": "p", "node_type": "PassThrough"}], [])
    bad_line = mesh("run", good, "--items", tmp_path / "bad.jsonl")
    assert (bad_line.returncode, "line 2" in bad_line.stderr) == (2, True)


def test_no_items_is_a_run_too(tmp_path: Path) -> None:
    assert results(run(tmp_path, [{"id": "t", "node_type": "Total"}], [], [])) == [{"total": 0}]


def test_sigterm_ends_in_143(tmp_path: Path) -> None:
    path = manifest(tmp_path, [{"id": "d", "node_type": "Delay", "params": {"seconds": 20}}], [])
    process = subprocess.Popen(
        [sys.executable, "-m", "mesh", "run", str(path), "--input", "[1]"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    time.sleep(2)
    process.terminate()
    assert process.wait(timeout=20) == 143
    assert "Traceback" not in process.communicate()[1]
