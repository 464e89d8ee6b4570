"""Takes what a promise rests on out of copies of the sources, one thing at a time: the simulation must notice.

``python tests/sim/mutations.py`` (or ``make mutation``) plays at most 500 seeds for each, and fails where they pass.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
SEEDS: Final = "0:500"
CHECKED: Final = "0:100"  # seeds that pass where nothing is taken out

type Change = tuple[str, str, str]  # file, text that it has once, and what takes its place


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is taken out, and how."""

    name: str
    changes: tuple[Change, ...]


MUTATIONS: Final = (
    Mutation(
        "fencing of epochs that are over",
        (
            ("mesh/peer/hosting.py", "if site is not None and site.epoch == epoch else None", "if site else None"),
            ("mesh/peer/driving/run.py", "or self._epochs[-1].number != epoch:", "or not self._epochs:"),
            ("mesh/peer/driving/run.py", "and message.epoch != epoch.number:", "and False:"),
        ),
    ),
    Mutation(
        "dropping of what the application had already",
        (("mesh/run/driver.py", "            if self._heard > self._parts:\n", "            if True:\n"),),
    ),
    Mutation(
        "keeping items until the sinks have their results",
        (
            (
                "mesh/run/retention.py",
                "        before, item.sent = item.sent, True\n",
                "        before, item.sent = item.sent, True\n        self.passed(seq + 1)\n",
            ),
        ),
    ),
    Mutation(
        "credit",
        (
            ("mesh/run/outbox.py", "return strand.outstanding < self._credit_bytes or self._drops", "return True"),
            ("mesh/run/outbox.py", "strand.outstanding + cost(frame) > self._credit_bytes:", "False:"),
            ("mesh/run/inbox.py", "strand.outstanding + cost(frame) > self._credit_bytes:", "False:"),
        ),
    ),
    Mutation(
        "waiting for every stateful node before a checkpoint counts",
        (("mesh/run/retention.py", "if seq >= self._turn or oldest.missing:", "if seq >= self._turn:"),),
    ),
    Mutation(
        "holding a seq back until it is whole, where it may come out differently",
        (("mesh/run/driver.py", "        self._holds = _may_differ(graph)\n", "        self._holds = False\n"),),
    ),
    Mutation(
        "keeping an item until the application has taken all of its results",
        (
            (
                "mesh/run/driver.py",
                "                self._parts += 1\n",
                "                self._parts += 1\n                self._retention.passed(self._turn + 1)\n",
            ),
        ),
    ),
    Mutation(
        "replaying from the oldest item on",
        (
            (
                "mesh/run/retention.py",
                "for place, item in enumerate(self._kept)]",
                "for place, item in enumerate(self._kept) if place]",
            ),
        ),
    ),
    Mutation(
        "beginning a checkpoint anew in a new epoch",
        (
            (
                "mesh/run/retention.py",
                "            self._making[seq] = _Checkpoint(missing=set(self._nodes))\n        return",
                "            pass\n        return",
            ),
        ),
    ),
    Mutation(
        "the window of a run",
        (("mesh/run/retention.py", "return len(self._kept) < RUN_WINDOW_SEQS and", "return"),),
    ),
    Mutation(
        "giving credit back only once",
        (("mesh/run/inbox.py", "                strand.owed = 0\n", ""),),
    ),
    Mutation(
        "putting what replicas made into order",
        (
            (
                "mesh/run/inbox.py",
                "self._strands.get(self._placement.source(self.edge, self._turn))",
                "next((each for each in self._strands.values() if each.frames), None)",
            ),
        ),
    ),
    Mutation(
        "waiting for all ports of a join",
        (
            (
                "mesh/run/inbox.py",
                "self._head is None and not self._open:",
                "self._head is None and len(self._open) < len(self.ports):",
            ),
        ),
    ),
    Mutation(
        "not dropping a seq that has begun",
        (("mesh/run/outbox.py", " - {seq, strand.begun}", " - {seq}"),),
    ),
    Mutation(
        "saying of a dropped seq that it was dropped",
        (("mesh/run/outbox.py", "(frame.flags & Flag.FAILED or Flag.DROPPED)", "frame.flags & Flag.FAILED"),),
    ),
    Mutation(
        "the state that a node moves with",
        (("mesh/run/execution.py", '[Call(self.seat, "restore", state)]', '[Call(self.seat, "restore", b"\\0")]'),),
    ),
    Mutation(
        "leases",
        (("mesh/peer/driving/absence.py", "self.stuck(*expired)", "pass"),),
    ),
    Mutation(
        "freeing a run when it ends",
        (("mesh/peer/driving/run.py", "            epoch.stop(epoch.workers, self._status)\n", ""),),
    ),
    Mutation(
        "freeing a run whose driver is gone",
        (("mesh/peer/hosting.py", "            if key.driver == peer:\n", "            if False:\n"),),
    ),
    Mutation(
        "going on behind what has arrived, when a session resumes",
        (("mesh/protocol/session.py", "        self.acknowledged(arrived)\n", ""),),
    ),
    Mutation(
        "the window of a session",
        (("mesh/protocol/session.py", "min(room, SESSION_WINDOW_BYTES - self.unacknowledged)", "room"),),
    ),
)


def main() -> int:
    """Prints what noticed each mutation; answers how many went unnoticed."""
    unnoticed = 0
    if (said := _broken_promise((), CHECKED)) is not None:
        print(f"the sources as they are: {said}")
        return 1
    for mutation in MUTATIONS:
        said = _broken_promise(mutation.changes, SEEDS)
        print(f"{mutation.name}: {said or f'NOT NOTICED in seeds {SEEDS}'}", flush=True)
        unnoticed += said is None
    return unnoticed


def _broken_promise(changes: tuple[Change, ...], seeds: str) -> str | None:
    """The first failure of the simulation with these changes; None if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        for package in ("mesh", "signaling_server"):
            shutil.copytree(ROOT / package, Path(folder) / package, ignore=shutil.ignore_patterns("_assets"))
        for file, old, new in changes:
            path = Path(folder) / file
            text = path.read_text()
            if text.count(old) != 1:
                raise SystemExit(f"{file} has {text.count(old)} times what is to be taken out: {old!r}")
            path.write_text(text.replace(old, new))
        command = [sys.executable, str(HERE / "run.py"), "--seeds", seeds]
        played = subprocess.run(command, env={**os.environ, "MESH_SOURCES": folder}, capture_output=True, text=True)
    if played.returncode == 0:
        return None
    broken = [line for line in played.stdout.splitlines() if line.startswith("seed ")]
    if not broken:
        raise SystemExit(f"the simulation did not run:\n{played.stdout}{played.stderr}")
    return broken[0]


if __name__ == "__main__":
    sys.exit(main())
