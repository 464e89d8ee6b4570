"""Streams between peers behind NATs whose paths break under them: every result comes once, in order, and soon again.

TURN credentials are good for a few seconds, so they are over at the first break. Measured: docs/performance.md.
"""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from nat_world import OBSTACLE, Nat, World
from processes import ROOT, until

pytestmark = pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))

ITEM_S = 0.025
CREDENTIALS_S = 5.0  # more than aiortc tries without TURN
QUIET_S = 4.0  # after which a path that broke is no longer used
BREAKS: dict[str, Callable[[World], object]] = {
    "NATs flushed": World.flush,
    "coturn restarted": World.restart_turn,
    "now symmetric": lambda world: world.set_nats("symmetric", "symmetric"),  # as in another network
    "now blocked": lambda world: world.set_nats("blocked", "blocked"),
}
BACK_WITHIN_S = {"aiortc": 20.0, "wrtc": 10.0}


class Stream:
    """A worker with one engine on one host, and on the other its driver, which gets an item each ITEM_S."""

    def __init__(self, world: World, folder: Path, engine: str) -> None:
        self.came: list[Any] = []
        self.times: list[float] = []  # when each of them came
        self._receipt = folder / f"{engine}-receipt.json"
        self._worker = world.worker(f"{folder.name}-{engine}", "--engine", engine, "--label", f"engine={engine}")
        count = {"id": "count", "node_type": "Counter", "placement": {"labels": {"engine": engine}}}
        path = folder / f"{engine}.json"
        path.write_text(json.dumps({"version": "v1", "nodes": [count], "connections": []}))
        command: list[str | Path] = [*world.within("host-a"), sys.executable, "-m", "mesh", "run", path, "--items", "-"]
        command += ["--join", world.invite, "--engine", engine, "--receipt", self._receipt]
        pipe = subprocess.PIPE
        self._driver = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._write, self._read)]
        for thread in self._threads:
            thread.start()

    def _write(self) -> None:
        assert self._driver.stdin is not None
        with suppress(BrokenPipeError), self._driver.stdin as items:
            for number in itertools.count():
                if self._enough.wait(ITEM_S):
                    break
                items.write(f"{number}\n")
                items.flush()

    def _read(self) -> None:
        assert self._driver.stdout is not None
        with self._driver.stdout as results:
            for line in results:
                self.came.append(json.loads(line))
                self.times.append(time.monotonic())

    def finish(self) -> dict[str, Any]:
        """No more items: the receipt of the run, which must end well."""
        self._enough.set()
        assert self._driver.wait(timeout=30) == 0
        self.close()
        receipt: dict[str, Any] = json.loads(self._receipt.read_text())
        return receipt

    def close(self) -> None:
        self._enough.set()
        for process in (self._driver, self._worker.process):
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join()


def stalls(streams: dict[str, Stream], break_it: Callable[[], object]) -> dict[str, float]:
    """For how long no result comes when their paths break (s)."""
    broken = time.monotonic()
    break_it()
    until(lambda: all(stream.times[-1] > broken + QUIET_S for stream in streams.values()), seconds=30)
    return {engine: longest_gap(stream.times, broken) for engine, stream in streams.items()}


def longest_gap(times: list[float], since: float) -> float:
    return round(max(later - earlier for earlier, later in pairwise(times) if later > since), 1)


@pytest.fixture(scope="module")
def signaling(world: World) -> None:
    world.start_signaling(credentials_s=CREDENTIALS_S)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nat", "breaks"),
    [
        ("symmetric", ["NATs flushed", "coturn restarted"]),
        pytest.param("blocked", ["NATs flushed", "coturn restarted"], marks=pytest.mark.long),
        pytest.param("cone", ["NATs flushed", "now symmetric", "now blocked"], marks=pytest.mark.long),
    ],
)
def test_streams_outlive_their_paths(
    world: World, signaling: None, tmp_path: Path, nat: Nat, breaks: list[str]
) -> None:
    world.set_nats(nat, nat)
    streams = {engine: Stream(world, tmp_path, engine) for engine in BACK_WITHIN_S}
    try:
        until(lambda: all(len(each.times) * ITEM_S > CREDENTIALS_S for each in streams.values()), seconds=60)
        for name in breaks:
            still = stalls(streams, lambda name=name: BREAKS[name](world))
            print(f"{nat}, {name}: no result for {still} s")
            assert all(still[engine] < limit for engine, limit in BACK_WITHIN_S.items())
        for stream in streams.values():
            done = stream.finish()["seqs"]["done"]
            assert stream.came == [{"count": number + 1, "value": number} for number in range(done)]
    finally:
        for stream in streams.values():
            stream.close()
