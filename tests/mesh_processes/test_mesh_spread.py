"""The contract over real workers: what a pipeline answers does not depend on where its nodes are."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, Room, mesh, results, until

NODES = '''
import os
from mesh.nodes import Node, SKIP, node

@node
def shout(value: str, *, mark: str = "!") -> str:
    return value.upper() + mark

@node(arity="maybe")
def even(value: int) -> int:
    return SKIP if value % 2 else value

class Either(Node):
    join = True
    optional = ("b",)

    def process(self, value):
        return value

class Sum(Node):
    """Stateful, with a snapshot; hangs or dies at ``bad``."""
    bad: int
    how: str
    stateful = True

    def setup(self):
        self.total = 0

    def process(self, value):
        while value == self.bad and self.how == "hang":
            pass
        if value == self.bad:
            os._exit(9)
        self.total += value
        return self.total

    def snapshot(self):
        return self.total

    def restore(self, state):
        self.total = state

class Blob(Node):
    def process(self, value):
        return bytes(value)
'''

PASS = "PassThrough"
type Nodes = list[tuple[str, str, str, dict[str, Any]]]  # id, type, peer, parameters


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Place"]:
    made = Place(tmp_path_factory.mktemp("spread"))
    try:
        yield made
    finally:
        made.room.close()


class Place:
    """A room with the workers ada and bea, and runs in it whose driver has nodes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes = folder / "own.py"
        self.nodes.write_text(NODES)
        self.room = Room()
        for name in ("ada", "bea"):
            self.room.worker(name, "--nodes", self.nodes)

    def arguments(self, nodes: Nodes, connections: list[tuple[str, ...]], *more: object) -> list[object]:
        """Those of a ``mesh run``; ``more`` goes behind."""
        written = [
            {"id": name, "node_type": kind, "params": params, "placement": {"peer": peer}, "timeout_s": 2}
            for name, kind, peer, params in nodes
        ]
        links = [dict(zip(("from", "to", "port"), each, strict=False)) for each in connections]
        path = self.folder / "pipeline.json"
        path.write_text(json.dumps({"version": "v1", "nodes": written, "connections": links}))
        return ["run", path, "--join", self.room.invites["submit"], "--nodes", self.nodes, *more]

    def run(self, nodes: Nodes, connections: list[tuple[str, ...]], items: str, *more: object) -> Any:
        """A run to its end; ``items`` is a JSON array."""
        return mesh(*self.arguments(nodes, connections, "--input", items, "--receipt", self.receipt_path, *more))

    def start(self, nodes: Nodes, connections: list[tuple[str, ...]], items: str) -> "subprocess.Popen[str]":
        """A run under way: its first result is out."""
        command = [sys.executable, "-m", "mesh", *map(str, self.arguments(nodes, connections, "--input", items))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline(), process.communicate()[1]
        return process

    @property
    def receipt_path(self) -> Path:
        return self.folder / "receipt.json"

    def receipt(self) -> Any:
        return json.loads(self.receipt_path.read_text())


def test_a_join_of_all_peers_and_the_drivers_own_nodes(place: Place) -> None:
    nodes: Nodes = [
        ("n", PASS, "ada", {}),
        ("range", "Range", "bea", {}),
        ("even", "even", "driver", {}),
        ("join", "Either", "bea", {}),
    ]
    connections = [("n", "range"), ("n", "even"), ("even", "join", "b"), ("range", "join", "a")]
    assert results(place.run(nodes, connections, "[1, 2, 0]")) == [{"a": [0]}, {"b": 2, "a": [0, 1]}]
    receipt = place.receipt()
    assert receipt["seqs"] == {"done": 2, "filtered": 1, "failed": 0}
    assert receipt["epochs"][0]["placement"] == {"n": ["ada"], "range": ["bea"], "even": ["driver"], "join": ["bea"]}
    assert {name: times["count"] for name, times in receipt["node_ms"].items()}["even"] == 3
    # one byte for each small int: what ada makes goes to both; bea's parts of the range stay there
    assert receipt["link_bytes"]["driver->ada"] == receipt["link_bytes"]["ada->bea"] == 3


def test_sinks_on_every_peer_and_finish(place: Place) -> None:
    nodes: Nodes = [
        ("window", "Window", "ada", {"size": 2}),
        ("other", "Window", "bea", {"size": 3}),
        ("even", "even", "driver", {}),
    ]
    assert results(place.run(nodes, [], "[1, 2, 3, 5]")) == [
        {"window": [1, 2], "even": 2},
        {"other": [1, 2, 3]},
        {"window": [3, 5]},
        {"other": [5]},
    ]


@pytest.mark.parametrize("kind", [PASS, "Counter"])  # in wasm, and in Python
def test_odd_values_cross_every_link_unchanged(place: Place, kind: str) -> None:
    written = [
        "2.0", "2", "-0.0", "18446744073709551615", "-9223372036854775808", '{"$float": "NaN"}', "null", "false",
        '""', "[]", "{}", '{"$bytes": "AAEC"}', '{"$array": {"dtype": "float32", "shape": [2, 0], "data": ""}}',
        '{"$array": {"dtype": "bool", "shape": [3], "data": "AQAB"}}', '{"$map": [["$float", 1]]}', '"\\u0000 😀 ü"',
        "[" * 63 + "]" * 63,
    ]  # fmt: skip
    nodes: Nodes = [("a", kind, "ada", {}), ("b", PASS, "bea", {})]
    done = place.run(nodes, [("a", "b")], f"[{', '.join(written)}]")
    answers = done.stdout.splitlines()
    if kind == "Counter":
        answers = [line.removeprefix(f'{{"count": {n}, "value": ')[:-1] for n, line in enumerate(answers, 1)]
    assert answers == written, done.stderr


def test_a_thousand_items_many_parts_and_large_ones(place: Place) -> None:
    chain: Nodes = [("a", "Multiply", "ada", {"factor": 2}), ("b", "Add", "bea", {"addend": 1})]
    items = json.dumps(list(range(1000)))
    assert results(place.run(chain, [("a", "b")], items)) == [2 * n + 1 for n in range(1000)]
    parts: Nodes = [("a", "Range", "ada", {}), ("b", PASS, "bea", {})]
    assert results(place.run(parts, [("a", "b")], "[5000, 3]")) == [*range(5000), 0, 1, 2]
    blobs: Nodes = [("a", "Blob", "ada", {}), ("b", "Select", "bea", {"path": []})]
    megabytes = [3_000_000, 1_500_000]
    answers = results(place.run(blobs, [("a", "b")], json.dumps(megabytes)))
    assert [len(each["$bytes"]) for each in answers] == [size * 4 // 3 for size in megabytes]
    assert place.receipt()["link_bytes"]["ada->bea"] >= sum(megabytes)


def test_item_errors_of_several_workers_and_what_goes_on(place: Place) -> None:
    nodes: Nodes = [
        ("f", "Fail", "ada", {"value": 2, "message": "two"}),
        ("g", "Fail", "bea", {"value": 3, "message": "three"}),
        ("n", PASS, "driver", {}),
    ]
    done = place.run(nodes, [("f", "g"), ("g", "n")], "[1, 2, 3, 4]", "--on-error", "continue")
    assert (done.returncode, done.stdout.split()) == (1, ["1", "4"])
    for word in ("seq 1, node 'f' on peer 'ada'", "seq 2, node 'g' on peer 'bea'", "two", "three"):
        assert done.stderr.count(word) >= 1
    assert place.receipt()["seqs"] == {"done": 2, "filtered": 0, "failed": 2}


@pytest.mark.parametrize(("how", "words"), [("die", "exited with code 9"), ("hang", "longer than 2 s")])
def test_a_stateful_node_goes_on_from_where_it_was(place: Place, how: str, words: str) -> None:
    nodes: Nodes = [("sum", "Sum", "ada", {"bad": 40, "how": how}), ("n", PASS, "bea", {})]
    items = [*range(1, 40), 40, 1000]  # beyond a snapshot
    done = place.run(nodes, [("sum", "n")], json.dumps(items), "--on-error", "continue")
    assert done.returncode == 1
    assert words in done.stderr
    assert [int(each) for each in done.stdout.split()][-2:] == [780, 1780]


def test_a_worker_that_cannot_set_a_node_up_says_why(place: Place) -> None:
    done = place.run([("w", "Window", "ada", {"size": 0})], [], "[1]")
    assert (done.returncode, done.stdout) == (1, "")
    for word in ("ada", "'w'", "size is at least 1"):
        assert word in done.stderr


def test_two_drivers_at_once(place: Place) -> None:
    runs = [
        place.start([("a", "Delay", "ada", {"seconds": 0.01}), ("b", "Add", "bea", {"addend": k})], [("a", "b")], items)
        for k in (1000, 2000)
        for items in [json.dumps(list(range(50)))]
    ]
    for k, process in zip((1000, 2000), runs, strict=True):
        said, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints
        assert [int(each) for each in said.split()] == [n + k for n in range(1, 50)]


@pytest.mark.parametrize("signal", ["interrupt", "kill"])
def test_a_driver_that_ends_in_the_middle_frees_its_workers(place: Place, signal: str) -> None:
    nodes: Nodes = [("a", "Delay", "ada", {"seconds": 0.2}), ("b", "Counter", "bea", {})]
    process = place.start(nodes, [("a", "b")], json.dumps(list(range(100))))
    if signal == "interrupt":
        process.send_signal(2)
        said = process.communicate(timeout=20)[1]
        assert (process.returncode, "Traceback" in said) == (130, False)
    else:
        process.kill()
        process.communicate()
    until(lambda: not any(node_processes(place.room, name) for name in ("ada", "bea")))
    assert results(place.run(nodes, [("a", "b")], "[7]")) == [{"count": 1, "value": 7}]


def node_processes(room: Room, name: str) -> list[str]:
    """The processes of nodes on a worker: the children of its only child."""
    nursery = children(str(room.workers[name].process.pid))
    return [each for pid in nursery for each in children(pid)]


def children(pid: str) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_killed_neighbour_is_waited_for_where_nobody_else_fits(place: Place) -> None:
    worker = place.room.worker("cy")
    nodes: Nodes = [("a", "Delay", "ada", {"seconds": 0.1}), ("b", PASS, "cy", {})]
    process = place.start(nodes, [("a", "b")], json.dumps(list(range(50))))
    worker.kill()
    worker.end()  # reads what it said: its name goes to another
    place.room.worker("cy")
    came, said = process.communicate(timeout=40)
    assert process.returncode == 0, said
    assert [json.loads(line) for line in came.splitlines()] == list(range(1, 50))
