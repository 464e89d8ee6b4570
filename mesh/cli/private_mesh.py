"""A mesh of processes on loopback that one command has to itself."""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mesh.errors import MeshError
from mesh.ids import PeerId

WORKERS_A_SIDE: Final = 2  # one of them to spare
READY_TIMEOUT_S: Final = 60.0  # for a process to be up


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process of the private mesh."""

    name: str
    peer: PeerId
    side: str
    process: asyncio.subprocess.Process


class PrivateMesh:
    """A signaling server and workers, as processes of their own; each writes what it says to a file in ``folder``."""

    def __init__(self, folder: Path, *, nodes: Sequence[str], engine: str) -> None:
        self.workers: dict[PeerId, Worker] = {}
        self.invites: dict[str, str] = {}
        self._folder = folder
        self._options = ["--engine", engine, *itertools.chain.from_iterable(("--nodes", each) for each in nodes)]
        self._numbers = itertools.count(1)
        self._port = 0
        self._processes: list[asyncio.subprocess.Process] = []

    async def start_signaling(self) -> None:
        """Starts the signaling server, or another one in its place, with its state and on its port."""
        where = ("--host", "127.0.0.1", "--port", str(self._port), "--state", str(self._folder / "state"))
        self._signaling, hello = await self._start("signaling", "signal", *where)
        self._port = urlsplit(hello["url"]).port
        self.invites = hello["invites"]

    async def kill_signaling(self) -> None:
        self._signaling.kill()
        await self._signaling.wait()

    async def add_worker(self, side: str) -> Worker:
        """Starts a worker for the nodes of a side, and waits until it is in the room."""
        name = f"worker-{next(self._numbers)}"
        process, hello = await self._start(name, "worker", "--name", name, "--label", f"chaos={side}", *self._options)
        worker = self.workers[hello["peer"]] = Worker(name, hello["peer"], side, process)
        return worker

    async def _start(self, name: str, *command: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
        """``mesh …`` as a process of its own, and the line of JSON that it says when it is up."""
        log = self._folder / f"{name}.log"
        with log.open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mesh", *command, "--json"),
                env={**os.environ, "MESH_JOIN": self.invites.get("work", ""), "MESH_CHAOS": "1"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=said,
            )
        self._processes.append(process)
        assert process.stdout is not None
        line = b""
        with suppress(TimeoutError):
            line = await asyncio.wait_for(process.stdout.readline(), READY_TIMEOUT_S)
        if not line:
            raise MeshError(f"{name} of the private mesh did not start: {log.read_text(errors='replace').strip()}")
        return process, json.loads(line)

    async def end(self) -> None:
        """Kills what lives: a process may be paused, and has nothing to lose."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*(process.wait() for process in self._processes))


@asynccontextmanager
async def private_mesh(
    folder: Path, sides: set[str], *, nodes: Sequence[str], engine: str
) -> AsyncIterator[PrivateMesh]:
    mesh = PrivateMesh(folder, nodes=nodes, engine=engine)
    try:
        await mesh.start_signaling()
        await asyncio.gather(*(mesh.add_worker(side) for side in sides for _ in range(WORKERS_A_SIDE)))
        yield mesh
    finally:
        await mesh.end()
