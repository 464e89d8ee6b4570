"""``mesh run --chaos``: what it refuses and notices, what it leaves behind, and a run through every kind of fault."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, mesh

from mesh.cli.chaos import FAULTS, LASTS_S, schedule

NODES = '''
import os
from mesh.nodes import Node, node

@node
def other_there(value: int) -> int:
    """On a worker of the private mesh something else than in the process of the command."""
    return -value if "MESH_CHAOS" in os.environ and value == 40 else value

@node(deterministic=False)
def any_of_them(value: int) -> int:
    return value

class Total(Node):
    stateful = True

    def process(self, value):
        return value
'''


def pipeline(tmp_path: Path, nodes: list[dict[str, Any]], *connections: dict[str, str]) -> tuple[str, str, str]:
    """The arguments of a pipeline and its nodes."""
    (tmp_path / "own.py").write_text(NODES)
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps({"version": "v1", "nodes": nodes, "connections": connections}))
    return str(path), "--nodes", str(tmp_path / "own.py")


def test_a_schedule_has_every_kind_where_results_allow_it() -> None:
    for seed in range(200):
        for number in (FAULTS + 1, 100, 5000):
            faults = schedule(seed, number)
            assert faults == schedule(seed, number)
            assert len(faults) == FAULTS
            assert {fault.kind for fault in faults} == set(LASTS_S)
            after = [fault.after for fault in faults]
            assert after == sorted(after)
            assert 1 <= after[0] <= after[-1] < number
    assert [len(schedule(1, number)) for number in (0, 1, 2, 4)] == [0, 0, 1, 3]
    assert schedule(1, 100) != schedule(2, 100)


@pytest.mark.parametrize(
    ("node_type", "words"),
    [
        ("any_of_them", "node 'x' (any_of_them) is not deterministic"),
        ("Total", "node 'x' (Total) keeps state and makes no snapshots"),
        ("PassThrough", "the edge x -> last may drop items"),
    ],
)
def test_what_cannot_be_promised_is_refused(tmp_path: Path, node_type: str, words: str) -> None:
    nodes = [{"id": "x", "node_type": node_type}, {"id": "last", "node_type": "PassThrough"}]
    overflow = "drop_oldest" if node_type == "PassThrough" else "block"
    arguments = pipeline(tmp_path, nodes, {"from": "x", "to": "last", "overflow": overflow})
    done = mesh("run", *arguments, "--chaos", 1, "--input", "[1]")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_it_has_a_mesh_of_its_own(tmp_path: Path) -> None:
    done = mesh("run", "x.yaml", "--chaos", 1, "--input", "[1]", "--join", "http://127.0.0.1/r/demo#k=a")
    assert (done.returncode, "--join" in done.stderr) == (2, True)


def test_a_difference_is_named(tmp_path: Path) -> None:
    arguments = pipeline(tmp_path, [{"id": "x", "node_type": "other_there"}])
    done = mesh("run", *arguments, "--chaos", 1, "--input", "[40]")
    assert (done.returncode, done.stdout) == (1, "")
    assert "NOT identical to the undisturbed run: seq 0, part 0 is -40 instead of 40" in done.stderr


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    arguments = pipeline(tmp_path, [{"id": "x", "node_type": "Delay", "params": {"seconds": 0.05}}])
    items = json.dumps(list(range(20)))
    run = subprocess.Popen(
        [sys.executable, "-m", "mesh", "run", *arguments, "--chaos", "1", "--input", items],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "0\n"
    own = {pid for pid in children(run.pid) if b"mesh" in Path(f"/proc/{pid}/cmdline").read_bytes()}
    assert len(own) >= 2  # the signaling server and a worker; another may be killed already
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=30)[1]
    assert (run.returncode, "Traceback" in said) == (130, False)
    assert not any(Path(f"/proc/{pid}").exists() for pid in own)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
def test_every_kind_of_fault_changes_nothing(tmp_path: Path) -> None:
    """Some 25 s. Placements of other rooms are left out; joins, generators, state and item errors are not."""
    nodes = [
        {"id": "range", "node_type": "Range", "placement": {"peer": "ada"}},
        {"id": "fail", "node_type": "Fail", "params": {"value": 3, "message": "three"}},
        {"id": "join", "node_type": "Join", "placement": {"labels": {"role": "gpu"}}},
        {"id": "count", "node_type": "Counter"},
    ]
    links = [("range", "join"), ("fail", "join"), ("join", "count")]
    arguments = pipeline(tmp_path, nodes, *({"from": a, "to": b} for a, b in links))
    receipt = tmp_path / "receipt.json"
    items = [2, 3, 1, 4, 0, 2, 1]  # five results: the range of 0 is empty, and 3 fails
    more = ("--on-error", "continue", "--receipt", receipt)
    done = mesh("run", *arguments, "--chaos", 3, "--input", json.dumps(items), *more)
    assert done.returncode == 1  # for the item that fails in both runs
    expected = [{"range": list(range(each)), "fail": each} for each in items if each not in (0, 3)]
    assert [json.loads(line)["value"] for line in done.stdout.splitlines()] == expected
    assert "4 faults struck (cut 1, kill 1, pause 1, restart 1)" in done.stderr
    assert "identical to the undisturbed run: 5 results, 1 item errors" in done.stderr
    assert json.loads(receipt.read_text())["seqs"] == {"done": 5, "filtered": 1, "failed": 1}
