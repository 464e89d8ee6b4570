"""What several test files share: the command as a user types it, and a room of real processes."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
PATIENCE_S = 60.0


def mesh(*arguments: object, stdin: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs ``mesh …`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "mesh", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=cwd or ROOT,
    )


def results(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """The values on stdout of a run that must have succeeded."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Process:
    """A long-lived ``mesh …``, whose first line on stdout is JSON. ``within``: the command that starts it."""

    def __init__(
        self,
        *arguments: object,
        env: dict[str, str] | None = None,
        within: Sequence[str] = (),
        program: Sequence[str] = ("-m", "mesh"),
    ) -> None:
        self.process = subprocess.Popen(
            [*within, sys.executable, *program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )

    def ready(self) -> Any:
        """Waits for the line that says it is up."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], PATIENCE_S)[0]:
            self.kill()
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> tuple[int, str]:
        """Stops it as Ctrl-C does; answers its exit code and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            _, said = self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, said = self.process.communicate()
        return self.process.returncode, said


class Room:
    """A signaling server of its own and the workers that a test starts in it; ``arguments`` are the server's."""

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments
        self.server = Process("signal", "--port", "0", "--json", *arguments)
        hello = self.server.ready()
        self.url: str = hello["url"]
        self.dashboard: str = hello["dashboard"]
        self.invites: dict[str, str] = hello["invites"]
        self.workers: dict[str, Process] = {}

    def worker(self, name: str, *arguments: object) -> Process:
        """Starts a worker and waits until it is in the room."""
        process = Process("worker", "--join", self.invites["work"], "--name", name, "--json", *arguments)
        self.workers[name] = process
        assert process.ready()["name"] == name
        return process

    def restart(self) -> None:
        """Starts another server in the place of the one that was killed; the invites stay those of before."""
        self.server.end()
        self.server = Process("signal", "--port", self.url.rpartition(":")[2], "--json", *self._arguments)
        assert self.server.ready()["url"] == self.url

    def clients(self) -> int:
        """How many are connected to the signaling server."""
        with urlopen(f"{self.url}/healthz") as answer:
            return int(json.load(answer)["clients"])

    def close(self) -> None:
        for process in (*self.workers.values(), self.server):
            process.end()


@contextmanager
def calls_that_do_not_end(worker: Process) -> Iterator[None]:
    """The worker lives and beats, but the processes of its Python nodes are gone, and nobody can tell it so: the one
    that forked them stands still."""
    (nursery,) = children(worker.process.pid)
    os.kill(nursery, signal.SIGSTOP)
    for child in children(nursery):
        os.kill(child, signal.SIGKILL)
    yield
    os.kill(nursery, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition: Any, *, seconds: float = 20.0) -> None:
    """Waits for something that must become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
