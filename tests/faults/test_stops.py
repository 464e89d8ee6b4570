"""Processes stand still (SIGSTOP) within a stream of a thousand items, and go on after a while."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_streams import (
    COUNT,
    ENGINES,
    FIRST,
    LAST,
    LINE,
    MIDDLE,
    Drive,
    Outcomes,
    labels,
    manifest,
)
from processes import Process, Room

EARLY = COUNT // 5
STOPS_S = [5, pytest.param(20, marks=pytest.mark.long)]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """One whose signaling server can be killed."""
    made = Room("--state", tmp_path / "state")
    try:
        yield made
    finally:
        made.close()


def start_workers(room: Room, engine: str) -> None:
    for name, role in (("ada", "first"), ("bea", "middle"), ("cleo", "last")):
        room.worker(name, *labels(name, role), "--engine", engine)


def stand_still(process: Process, seconds: float) -> float:
    """Answers when it went on."""
    os.kill(process.process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(process.process.pid, signal.SIGCONT)
    return time.monotonic()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seconds", STOPS_S)
def test_a_worker_without_a_spare_while_signaling_is_away(
    room: Room, drive: Drive, outcomes: Outcomes, engine: str, seconds: float
) -> None:
    """All its links are silent and nobody can carry offers to it: it is heard again on the connections that it had."""
    start_workers(room, engine)
    stream = drive(manifest(LINE, FIRST, MIDDLE, LAST, seconds=0.01), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    room.server.kill()
    time.sleep(1)
    goes_on = stand_still(room.workers["bea"], seconds)
    outcome = stream.outcome(LINE, since=goes_on)
    outcomes[f"worker stopped for {seconds} s while signaling is away", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < 3
    assert outcome.receipt["replayed"] == 0
