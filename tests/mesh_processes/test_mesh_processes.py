"""Real processes on loopback: a signaling server, workers, a driver, and what happens when one of them dies."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from processes import ROOT, Process, Room, mesh, results

from mesh.limits import REPLACEMENT_TIMEOUT_S

NODES = '''
from mesh.nodes import Node, node

class Blob(Node):
    """A payload of that many bytes."""
    def process(self, value):
        return bytes(value)

@node
def size(value: bytes) -> int:
    return len(value)
'''


def manifest(tmp_path: Path, nodes: list[dict[str, Any]], connections: list[tuple[str, str]]) -> Path:
    path = tmp_path / "pipeline.json"
    links = [{"from": source, "to": target} for source, target in connections]
    path.write_text(json.dumps({"version": "v1", "nodes": nodes, "connections": links}))
    (tmp_path / "own.py").write_text(NODES)
    return path


def spread(tmp_path: Path) -> Path:
    return manifest(
        tmp_path,
        [
            {"id": "blob", "node_type": "Blob", "placement": {"peer": "ada"}},
            {"id": "size", "node_type": "size", "placement": {"peer": "bea"}},
        ],
        [("blob", "size")],
    )


@pytest.mark.parametrize("engines", [("aiortc", "aiortc"), ("wrtc", "wrtc"), ("aiortc", "wrtc")])
def test_neighbouring_workers_exchange_results_directly(room: Room, tmp_path: Path, engines: tuple[str, str]) -> None:
    path = spread(tmp_path)
    for name, engine in zip(("ada", "bea"), engines, strict=True):
        room.worker(name, "--nodes", tmp_path / "own.py", "--engine", engine)
    size, count = 100_000, 20
    receipt = tmp_path / "receipt.json"
    done = mesh(
        *("run", path, "--join", room.invites["submit"], "--input", json.dumps([size] * count)),
        *("--receipt", receipt, "--engine", engines[1]),
    )
    assert results(done) == [size] * count
    sent = json.loads(receipt.read_text())["link_bytes"]
    assert sent.keys() == {"driver->ada", "ada->bea", "bea->driver"}
    assert sent["ada->bea"] >= size * count
    assert sent["driver->ada"] + sent["bea->driver"] < 1000  # not one payload went through the driver,
    with urlopen(f"{room.url}/healthz") as answer:  # nor through the signaling server, in all its life
        assert json.load(answer)["received_bytes"] < size


def test_a_plan_says_why_and_a_refusal_names_every_peer(room: Room, tmp_path: Path) -> None:
    path = spread(tmp_path)
    room.worker("ada", "--nodes", tmp_path / "own.py")
    refused = mesh("plan", path, "--join", room.invites["submit"])
    assert refused.returncode == 1
    assert "ada" in refused.stderr
    assert "bea" in refused.stderr
    room.worker("bea", "--nodes", tmp_path / "own.py", "--label", "region=eu")
    planned = mesh("plan", path, "--join", room.invites["submit"], "--json")
    assert planned.returncode == 0, planned.stderr
    why = json.loads(planned.stdout)["why"]["size"]
    assert {each["name"]: each["chosen"] for each in why}["bea"] is True
    gpu = manifest(tmp_path, [{"id": "n", "node_type": "PassThrough", "capabilities": {"gpu": True}}], [])
    nobody = mesh("run", gpu, "--join", room.invites["submit"], "--input", "[1]")
    assert nobody.returncode == 1
    assert nobody.stderr.count("gpu") >= 3  # ada, bea and the driver itself


def test_a_killed_worker_whom_nobody_replaces_ends_the_run_with_its_name(room: Room, tmp_path: Path) -> None:
    path = manifest(
        tmp_path, [{"id": "slow", "node_type": "Delay", "params": {"seconds": 30}, "placement": {"peer": "ada"}}], []
    )
    worker = room.worker("ada")
    driver = subprocess.Popen(
        [sys.executable, "-m", "mesh", "run", str(path), "--join", room.invites["submit"], "--input", "[1]"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    time.sleep(4)
    worker.kill()
    killed = time.monotonic()
    _, said = driver.communicate(timeout=60)
    assert REPLACEMENT_TIMEOUT_S < time.monotonic() - killed < REPLACEMENT_TIMEOUT_S + 10
    assert driver.returncode == 1
    assert "ada was lost" in said
    assert "slow" in said


def test_rights_are_checked(room: Room, tmp_path: Path) -> None:
    path = manifest(tmp_path, [{"id": "n", "node_type": "PassThrough"}], [])
    watching = mesh("run", path, "--join", room.invites["watch"], "--input", "[1]")
    assert watching.returncode == 1
    assert "submit" in watching.stderr
    working = Process("worker", "--join", room.invites["submit"], "--name", "ada")
    assert working.process.wait(timeout=30) == 1
    assert "work" in working.end()[1]
    nonsense = mesh("run", path, "--join", "http://127.0.0.1:1/r/demo", "--input", "[1]")
    assert nonsense.returncode in (1, 2)
    assert "Traceback" not in nonsense.stderr


def test_a_name_is_taken_once(room: Room) -> None:
    room.worker("ada")
    second = Process("worker", "--join", room.invites["work"], "--name", "ada")
    assert second.process.wait(timeout=30) == 1
    assert "ada" in second.end()[1]


def test_a_worker_offers_what_its_owner_allows(room: Room, tmp_path: Path) -> None:
    room.worker("ada", "--allow", "Add")
    nodes = [{"id": "n", "node_type": "Multiply", "params": {"factor": 2}, "placement": {"peer": "ada"}}]
    refused = mesh("run", manifest(tmp_path, nodes, []), "--join", room.invites["submit"], "--input", "[1]")
    assert refused.returncode == 1
    assert "MultiplyNode" in refused.stderr


def test_sigint_and_sigterm_end_everything_cleanly(room: Room) -> None:
    worker = room.worker("ada")
    code, said = worker.end()
    assert (code, "Traceback" in said) == (0, False)
    code, said = room.server.end()
    assert (code, "Traceback" in said) == (130, False)


def test_an_item_error_on_a_worker_names_it(room: Room, tmp_path: Path) -> None:
    room.worker("ada")
    nodes = [{"id": "f", "node_type": "Fail", "params": {"value": 2, "message": "two"}, "placement": {"peer": "ada"}}]
    done = mesh("run", manifest(tmp_path, nodes, []), "--join", room.invites["submit"], "--input", "[1, 2, 3]")
    assert done.returncode == 1
    assert done.stdout.split() == ["1"]
    for word in ("seq 1", "'f'", "'ada'", "two"):
        assert word in done.stderr
