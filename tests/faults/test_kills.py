"""Peers and the signaling server are killed with -9 within a stream of a thousand items."""

import time
from statistics import median

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
    rather,
    undisturbed,
)
from processes import Room

from mesh.limits import REPLACEMENT_TIMEOUT_S

EARLY = COUNT // 5


def start_workers(room: Room, engine: str) -> None:
    for name, role in (("ada", "first"), ("bea-0", "middle"), ("cleo", "last")):
        room.worker(name, *labels(name, role), "--engine", engine)


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_ten_workers_killed_one_after_the_other(room: Room, drive: Drive, outcomes: Outcomes, engine: str) -> None:
    """Four minutes. Each has a spare, and the stream flows again within four seconds of the kill."""
    start_workers(room, engine)
    runs = outcomes["worker killed, with a spare", engine]
    for number in range(10):
        spare = f"bea-{number + 1}"
        room.worker(spare, *labels(spare, "middle"), "--engine", engine)
        text = manifest(LINE, FIRST, rather(MIDDLE, f"bea-{number}"), LAST, seconds=0.005)
        stream = drive(text, room.invites["submit"], engine=engine)
        stream.reaches(EARLY)
        at = time.monotonic()
        room.workers[f"bea-{number}"].kill()
        runs.append(stream.outcome(LINE, since=at))
    assert all(run.identical for run in runs)
    assert all(len(run.receipt["epochs"]) == 2 for run in runs)
    assert median(run.stall_s for run in runs) < 4


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_killed_without_a_spare(room: Room, drive: Drive, engine: str) -> None:
    """Forty seconds: the run waits for somebody, and ends with the name of the peer that it lacks."""
    start_workers(room, engine)
    stream = drive(manifest(LINE, FIRST, MIDDLE, LAST, seconds=0.005), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    at = time.monotonic()
    room.workers["bea-0"].kill()
    assert stream.ends(within_s=REPLACEMENT_TIMEOUT_S + 20) == 1
    assert time.monotonic() - at >= REPLACEMENT_TIMEOUT_S
    assert "bea-0" in stream.said()
    assert stream.values == undisturbed(LINE)[: len(stream.values)]


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("returns", [True, False])
def test_the_signaling_server_killed(
    room: Room, drive: Drive, outcomes: Outcomes, engine: str, *, returns: bool
) -> None:
    """Fifteen seconds. The run does not notice; when the server is back, everybody is in its room within 5 s."""
    start_workers(room, engine)
    stream = drive(manifest(LINE, FIRST, MIDDLE, LAST, seconds=0.005), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    at = time.monotonic()
    room.server.kill()
    fault = "signaling killed for good"
    if returns:
        fault = "signaling killed, back after 2 s"
        time.sleep(2)
        room.restart()
    outcome = stream.outcome(LINE, since=at)
    outcomes[fault, engine].append(outcome)
    assert outcome.identical
    assert len(outcome.receipt["epochs"]) == 1
    if returns:
        again = drive(manifest(LINE, FIRST, MIDDLE, LAST, seconds=0), room.invites["submit"], engine=engine)
        assert again.outcome(LINE, since=at).identical
