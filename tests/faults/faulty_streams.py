"""A stream of items through three peers, what came of it and when, and what comes of it undisturbed."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

from processes import ROOT, mesh, results

COUNT = 1000
ENGINES = ("aiortc", "wrtc")
SLOW = {"id": "slow", "node_type": "Delay"}
TAB_LINE = (
    SLOW,
    {"id": "double", "node_type": "Multiply", "params": {"factor": 2}},
    {"id": "count", "node_type": "Counter"},
)
THROUGH_A_TAB = (  # two workers, a tab, and one of the workers again
    SLOW,
    {"id": "pass", "node_type": "PassThrough"},
    {"id": "double", "node_type": "Multiply", "params": {"factor": 2}},
    {"id": "count", "node_type": "Counter"},
)
FIRST, MIDDLE, LAST = ({"placement": {"labels": {"role": role}}} for role in ("first", "middle", "last"))
IN_A_TAB = {"placement": {"kind": "browser"}}

type Fields = dict[str, Any]
type Nodes = Sequence[Fields]


def labels(name: str, role: str) -> tuple[str, ...]:
    """Options of a worker."""
    return ("--label", f"role={role}", "--label", f"name={name}")


def rather(demand: Fields, name: str) -> Fields:
    """What a node demands, and the worker that it goes to where there are several."""
    return {**demand, "prefers": {"labels": {"name": name}}}


def manifest(nodes: Nodes, *demands: Fields, seconds: float) -> str:
    """A line of nodes, with what each demands of its peer; the first takes ``seconds`` an item."""
    line = [{**node, **demand} for node, demand in zip(nodes, demands, strict=True)]
    line[0]["params"] = {"seconds": seconds}
    links = [{"from": before["id"], "to": after["id"]} for before, after in pairwise(nodes)]
    return json.dumps({"version": "v1", "nodes": line, "connections": links})


def undisturbed(nodes: Nodes) -> list[Any]:
    """What a run in one process makes of the items."""
    return _undisturbed(manifest(nodes, *({} for _ in nodes), seconds=0))


@cache
def _undisturbed(text: str) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.json")
        path.write_text(text)
        return results(mesh("run", path, "--items", write_items(Path(folder))))


def write_items(folder: Path) -> Path:
    path = folder / "items.jsonl"
    path.write_text("".join(f"{number}\n" for number in range(COUNT)))
    return path


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one stream. ``stall_s``: its longest silence since the fault, or since it was mended. ``identical``: what came
    is what comes undisturbed; of a run that had to end, as far as it went.
    """

    stall_s: float
    identical: bool
    receipt: dict[str, Any]


type Drive = Callable[..., "Stream"]  # the fixture
type Outcomes = dict[tuple[str, str], list[Outcome]]  # of a fault and an engine


class Stream:
    """A driver, and the results of its run with the times at which they came."""

    def __init__(self, folder: Path, text: str, invite: str, *, engine: str, within: Sequence[str] = ()) -> None:
        self._receipt, self._said = folder / "receipt.json", folder / "driver.log"
        path = folder / "pipeline.json"
        path.write_text(text)
        self._receipt.unlink(missing_ok=True)
        command = ["run", path, "--join", invite, "--items", write_items(folder), "--receipt", self._receipt]
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", "mesh", *map(str, command), "--engine", engine],
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                cwd=ROOT,
            )
        assert self.process.stdout is not None
        self._stdout: IO[str] = self.process.stdout
        self.values: list[Any] = []
        self.times: list[float] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        for line in self._stdout:
            self.times.append(time.monotonic())
            self.values.append(json.loads(line))

    def reaches(self, count: int, *, within_s: float = 60.0) -> None:
        """Waits for so many results."""
        deadline = time.monotonic() + within_s
        while len(self.values) < count:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"{len(self.values)} of {count} results came in time\n{self.said()}"
            time.sleep(0.01)

    def said(self) -> str:
        return self._said.read_text()

    def ends(self, *, within_s: float = 60.0) -> int:
        """Waits for the end; answers the exit code."""
        code = self.process.wait(within_s)
        self._reading.join()
        self._stdout.close()
        return code

    def outcome(self, nodes: Nodes, *, since: float, within_s: float = 60.0) -> Outcome:
        """Of a run that must go well, in spite of a fault at the time ``since``."""
        code = self.ends(within_s=within_s)
        assert code == 0, self.said()
        receipt = json.loads(self._receipt.read_text())
        return Outcome(self.stall_s(since), self.values == undisturbed(nodes), receipt)

    def ended(self, nodes: Nodes, *, since: float, naming: str, within_s: float) -> Outcome:
        """Of a run that must end badly after a fault at the time ``since``, with a reason that names somebody."""
        code = self.ends(within_s=within_s)
        stall_s = time.monotonic() - since
        assert code == 1, self.said()
        assert naming in self.said()
        receipt = json.loads(self._receipt.read_text())
        return Outcome(stall_s, self.values == undisturbed(nodes)[: len(self.values)], receipt)

    def stall_s(self, since: float) -> float:
        """The longest time without a result, after ``since``."""
        times = [since, *(each for each in self.times if each > since)]
        return max(end - begin for begin, end in pairwise(times))

    def close(self) -> None:
        """Ends the driver, if it is still there."""
        self.process.kill()
        self.ends()
