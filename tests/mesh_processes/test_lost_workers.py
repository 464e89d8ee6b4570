"""Real workers are killed within a stream, and the stream goes on: every result once, in order."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, Room

COUNT, BEFORE_THE_KILL = 500, 100
NUMBERS, BYTES = range(1000, 1000 + COUNT), 3  # of each number, and of its double, as an encoded value
DOUBLE = {"id": "double", "node_type": "Multiply", "params": {"factor": 2}}


def pipeline(tmp_path: Path, *nodes: dict[str, Any]) -> Path:
    """A line of nodes on workers, behind one that takes its time."""
    slow = {"id": "slow", "node_type": "Delay", "params": {"seconds": 0.01}}
    line = [{**node, "placement": {"kind": "server", "labels": {"role": "worker"}}} for node in (slow, *nodes)]
    links = [{"from": before["id"], "to": after["id"]} for before, after in pairwise(line)]
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps({"version": "v1", "nodes": line, "connections": links}))
    return path


class Stream:
    """A driver over NUMBERS, whose results are read one by one."""

    def __init__(self, room: Room, path: Path) -> None:
        self._receipt = path.with_name("receipt.json")
        items = json.dumps(list(NUMBERS))
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mesh", "run", str(path), "--join", room.invites["submit"]),
                *("--input", items, "--receipt", str(self._receipt)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def take(self, count: int) -> list[Any]:
        assert self._process.stdout is not None
        lines = [self._process.stdout.readline() for _ in range(count)]
        assert all(lines), self._process.communicate()[1]
        return [json.loads(line) for line in lines]

    def receipt(self) -> dict[str, Any]:
        said = self._process.communicate(timeout=30)[1]
        assert self._process.returncode == 0, said
        receipt: dict[str, Any] = json.loads(self._receipt.read_text())
        return receipt


@pytest.mark.parametrize("engine", ["aiortc", "wrtc"])
def test_a_spare_worker_takes_over(room: Room, tmp_path: Path, engine: str) -> None:
    ada = room.worker("ada", "--label", "role=worker", "--engine", engine)
    stream = Stream(room, pipeline(tmp_path, DOUBLE))
    came = stream.take(BEFORE_THE_KILL)
    room.worker("bea", "--label", "role=worker", "--engine", engine)
    ada.kill()
    came += stream.take(COUNT - BEFORE_THE_KILL)
    receipt = stream.receipt()
    assert came == [2 * number for number in NUMBERS]
    assert receipt["seqs"] == {"done": COUNT, "filtered": 0, "failed": 0}
    first, second = receipt["epochs"]
    assert (first["epoch"], first["reason"], first["placement"]["double"]) == (1, "start", ["ada"])
    assert (second["epoch"], second["placement"]["double"]) == (2, ["bea"])
    assert second["reason"].startswith("ada was lost")
    assert receipt["replayed"] > 0


def test_state_goes_on_from_the_last_checkpoint(room: Room, tmp_path: Path) -> None:
    ada = room.worker("ada", "--label", "role=worker")
    stream = Stream(room, pipeline(tmp_path, {"id": "count", "node_type": "Counter"}))
    came = stream.take(BEFORE_THE_KILL)
    room.worker("bea", "--label", "role=worker")
    ada.kill()
    came += stream.take(COUNT - BEFORE_THE_KILL)
    receipt = stream.receipt()
    assert came == [{"count": count, "value": number} for count, number in enumerate(NUMBERS, 1)]
    assert 0 < receipt["replayed"] < 200  # it did not begin anew


def test_the_neighbour_of_a_lost_worker_goes_on(room: Room, tmp_path: Path) -> None:
    ada = room.worker("ada", "--label", "role=worker", "--allow", "Multiply")
    room.worker("bea", "--label", "role=worker", "--allow", "Delay")
    stream = Stream(room, pipeline(tmp_path, DOUBLE))
    came = stream.take(BEFORE_THE_KILL)
    room.worker("cleo", "--label", "role=worker", "--allow", "Multiply")
    ada.kill()
    came += stream.take(COUNT - BEFORE_THE_KILL)
    assert came == [2 * number for number in NUMBERS]
    receipt = stream.receipt()
    assert [epoch["placement"]["double"] for epoch in receipt["epochs"]] == [["ada"], ["cleo"]]
    adds_up(receipt)


def adds_up(receipt: dict[str, Any]) -> None:
    """Bea counts over both epochs; what the lost worker counted is lost with it."""
    assert receipt["items_in"] == sum(receipt["seqs"].values()) + receipt["dropped"] == receipt["results_out"]
    links, calls = receipt["link_bytes"], {node: times["count"] for node, times in receipt["node_ms"].items()}
    assert links.keys() == {"driver->bea", "bea->ada", "bea->cleo", "cleo->driver"}
    assert links["driver->bea"] == BYTES * (receipt["items_in"] + receipt["replayed"])
    assert COUNT <= calls["slow"] <= receipt["items_in"] + receipt["replayed"]
    assert links["bea->ada"] + links["bea->cleo"] == BYTES * calls["slow"]
    assert links["bea->cleo"] == links["cleo->driver"] == BYTES * calls["double"]
