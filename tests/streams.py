"""A driver whose results are read one by one, while something happens to its workers."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from processes import ROOT, Process, Room

ON_WORKERS = {"kind": "server", "labels": {"role": "worker"}}


def pipeline(tmp_path: Path, *nodes: dict[str, Any], seconds: float = 0.01, timeout_s: float = 30) -> Path:
    """A line of nodes on workers, behind one that takes its time."""
    slow = {"id": "slow", "node_type": "Delay", "params": {"seconds": seconds}}
    line = [{**node, "placement": ON_WORKERS, "timeout_s": timeout_s} for node in (slow, *nodes)]
    links = [{"from": before["id"], "to": after["id"]} for before, after in pairwise(line)]
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps({"version": "v1", "nodes": line, "connections": links}))
    return path


def worker(room: Room, name: str, *arguments: object) -> Process:
    """One that such a pipeline fits."""
    return room.worker(name, "--label", "role=worker", *arguments)


class Stream:
    """A driver over ``numbers``."""

    def __init__(self, room: Room, path: Path, numbers: range, *arguments: object) -> None:
        self.came: list[Any] = []
        self.times: list[float] = []  # when each of them came
        self._receipt = path.with_name("receipt.json")
        items = path.with_name("items.jsonl")
        items.write_text("".join(f"{number}\n" for number in numbers))
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mesh", "run", str(path), "--join", room.invites["submit"]),
                *("--items", str(items), "--receipt", str(self._receipt), *map(str, arguments)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def take(self, count: int) -> list[Any]:
        """The next results."""
        assert self._process.stdout is not None
        for _ in range(count):
            line = self._process.stdout.readline()
            assert line, self._process.communicate()[1]
            self.came.append(json.loads(line))
            self.times.append(time.monotonic())
        return self.came[-count:]

    def take_all(self) -> list[Any]:
        """Every result, from the first."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.came.append(json.loads(line))
            self.times.append(time.monotonic())
        return self.came

    def stall_after(self, disturb: Callable[[], object]) -> float:
        """After how long results come again (s), as opposed to those that were on their way already."""
        before = time.monotonic()
        disturb()
        waited = 0.0
        while waited < 0.5:
            self.take(1)
            waited = self.times[-1] - max(before, self.times[-2])
        return self.times[-1] - before

    def receipt(self, *, code: int = 0) -> dict[str, Any]:
        """Of the run, once it has ended with that exit code."""
        said = self._process.communicate(timeout=60)[1]
        assert self._process.returncode == code, said
        receipt: dict[str, Any] = json.loads(self._receipt.read_text())
        return receipt
