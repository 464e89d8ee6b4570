"""How long a stream stands still when the worker that does it is killed with -9, and there is a spare.

    python bench/recovery.py --rounds 10

The same job for all: items of 1 KiB, 2 ms for each, 32 of them in flight, results taken in order. The stall is the
longest pause between two results, from the kill on. Ours is a run by a driver with a worker and a spare; Dask
`distributed` (installed into an environment of its own) has two workers, of which one is killed.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final

from echoes import HOST
from venv_of_others import VENV, install

from mesh.peer import Peer

WORK_S: Final = 0.002
LABEL: Final = ("--label", "job=work")  # which the driver does not have
IN_FLIGHT: Final = 32
ITEM: Final = os.urandom(1024)
FLOWING_S, WATCHED_S = 1.5, 7.0  # before the kill, and after it
PATIENCE_S: Final = 120.0


class Stream(ABC):
    """Calls ``result`` for each result, in order, until it is cancelled."""

    def __init__(self, result: Callable[[], None]) -> None:
        self.result = result

    @abstractmethod
    async def run(self) -> None: ...

    @abstractmethod
    async def kill(self) -> None:
        """Kills the worker, or one of two; the spare is ready."""

    @abstractmethod
    async def close(self) -> None: ...


class Ours(Stream):
    """``mesh signal``, two ``mesh worker``; this process drives."""

    def __init__(self, result: Callable[[], None], engine: str) -> None:
        super().__init__(result)
        self._engine = engine
        self._processes: list[Process] = []
        self._workers: dict[str, Process] = {}

    async def _mesh(self, *arguments: str) -> Any:
        command = (sys.executable, "-m", "mesh", *arguments, "--json")
        self._processes.append(await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL))
        assert self._processes[-1].stdout is not None
        return json.loads(await self._processes[-1].stdout.readline())

    async def _items(self) -> AsyncIterator[bytes]:
        self._room = asyncio.Semaphore(IN_FLIGHT)
        while True:
            await self._room.acquire()
            yield ITEM

    async def run(self) -> None:
        invites = (await self._mesh("signal", "--port", "0", "--host", HOST))["invites"]
        for name in ("ada", "bea"):
            await self._mesh("worker", "--join", invites["work"], "--name", name, *LABEL, "--engine", self._engine)
            self._workers[name] = self._processes[-1]
        node = {"id": "work", "type": "Delay", "params": {"seconds": WORK_S}, "placement": {"labels": {"job": "work"}}}
        manifest = {"version": "v1", "metadata": {"name": "work"}, "nodes": [node], "connections": []}
        async with Peer.join(invites["submit"], engine=self._engine) as peer:
            self._run = peer.run(manifest, self._items())
            async for _ in self._run:
                self._room.release()
                self.result()

    async def kill(self) -> None:
        assert self._run.plan is not None
        name = next(each["name"] for each in self._run.plan["why"]["work"] if each["chosen"])
        self._workers[name].kill()

    async def close(self) -> None:
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def work(item: bytes, _number: int) -> bytes:
    time.sleep(WORK_S)
    return item


class Dask(Stream):
    """A scheduler in this process, and two workers."""

    async def run(self) -> None:
        from distributed import Client, LocalCluster

        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
        async with (
            LocalCluster(asynchronous=True, **options) as cluster,
            Client(cluster, asynchronous=True) as self._client,
        ):
            futures: deque[Any] = deque()
            for number in range(10**9):
                futures.append(self._client.submit(work, ITEM, number, pure=False))
                if len(futures) == IN_FLIGHT:
                    await futures.popleft()
                    self.result()

    async def kill(self) -> None:
        os.kill(next(iter((await self._client.run(os.getpid)).values())), signal.SIGKILL)

    async def close(self) -> None: ...


async def stall_s(make: Callable[[Callable[[], None]], Stream]) -> float:
    """The longest pause between two results, from the kill on."""
    times: list[float] = []
    flowing = asyncio.Event()

    def result() -> None:
        times.append(time.perf_counter())
        flowing.set()

    stream = make(result)
    running = asyncio.create_task(stream.run())
    try:
        await asyncio.wait((running, asyncio.create_task(flowing.wait())), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((running,), timeout=FLOWING_S)
        if running.done():
            running.result()
        await stream.kill()
        killed = time.perf_counter()
        await asyncio.wait((running,), timeout=WATCHED_S)
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await stream.close()
    moments = [killed, *(moment for moment in times if moment > killed), killed + WATCHED_S]
    return max(after - before for before, after in pairwise(moments))


STREAMS: Final[dict[str, Callable[[Callable[[], None]], Stream]]] = {
    "mesh, aiortc": lambda result: Ours(result, "aiortc"),
    "mesh, wrtc": lambda result: Ours(result, "wrtc"),
    "dask distributed": Dask,
}


def measure_apart(name: str, python: str) -> float | str:
    """In a new process; text says what went wrong."""
    command = [python, __file__, "--only", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"it did not finish within {PATIENCE_S:.0f} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=STREAMS, help="one round of one, here; prints seconds")
    options = parser.parse_args()
    if options.only:
        print(asyncio.run(stall_s(STREAMS[options.only])))
        return
    stalls: dict[str, list[float]] = {name: [] for name in STREAMS}
    if fault := install(("distributed",)):
        print(f"dask distributed is left out: {fault}")
        del stalls["dask distributed"]
    for number in range(options.rounds):
        for name, done in stalls.items():
            python = str(VENV / "bin" / "python") if name.startswith("dask") else sys.executable
            stall = measure_apart(name, python)
            if isinstance(stall, float):
                done.append(stall)
            else:
                print(f"{name}, round {number + 1}: {stall}", flush=True)
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print(f"{'stall in s':20}{'median':>9}{'shortest':>9}{'longest':>9}{'rounds':>8}")
    for name, done in stalls.items():
        if done:
            print(f"{name:20}{statistics.median(done):9.2f}{min(done):9.2f}{max(done):9.2f}{len(done):8}")


if __name__ == "__main__":
    main()
