"""Peers and the signaling server are killed with -9 within a stream of a thousand items.

The stream goes from the driver through ada, bea, a browser's tab and cleo, which keeps state.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from faulty_streams import (
    COUNT,
    ENGINES,
    FIRST,
    IN_A_TAB,
    LAST,
    MIDDLE,
    THROUGH_A_TAB,
    Drive,
    Outcomes,
    labels,
    manifest,
    rather,
)
from faulty_tabs import open_tab, processes_of
from playwright.sync_api import Browser, Playwright
from processes import Room
from screens import needs_chromium

from mesh.limits import REPLACEMENT_TIMEOUT_S

pytestmark = [pytest.mark.browser, needs_chromium]

EARLY = COUNT // 5
every_engine = pytest.mark.parametrize("engine", ENGINES)


def line(*, bea: str = "bea-0", seconds: float = 0.005) -> str:
    """The manifest of the stream; ``bea``: the worker that is rather in the middle than another one."""
    return manifest(THROUGH_A_TAB, FIRST, rather(MIDDLE, bea), IN_A_TAB, rather(LAST, "cleo"), seconds=seconds)


@pytest.fixture
def room(tmp_path: Path, engine: str) -> Iterator[Room]:
    """With the workers of the stream; its signaling server can be killed and restarted."""
    made = Room("--state", tmp_path / "state")
    try:
        for name, role in (("ada", "first"), ("bea-0", "middle"), ("cleo", "last")):
            made.worker(name, *labels(name, role), "--engine", engine)
        yield made
    finally:
        made.close()


@pytest.fixture
def browser(playwright: Playwright, room: Room) -> Browser:
    """With the tab of the stream."""
    return open_tab(playwright, room.url, room.invites["all"], "tab")


def kill(browser: Browser) -> None:
    for process in processes_of(browser):
        os.kill(process, signal.SIGKILL)


@pytest.mark.long
@every_engine
def test_ten_workers_one_after_the_other(
    room: Room, browser: Browser, drive: Drive, outcomes: Outcomes, engine: str
) -> None:
    """Five minutes. Each has a spare, and the stream flows again within four seconds of the kill."""
    runs = outcomes["worker killed, with a spare", engine]
    for number in range(10):
        stream = drive(line(bea=f"bea-{number}", seconds=0.02), room.invites["submit"], engine=engine)
        stream.reaches(EARLY)
        spare = f"bea-{number + 1}"  # it comes now, so that the stream is not on it already
        room.worker(spare, *labels(spare, "middle"), "--engine", engine)
        at = time.monotonic()
        room.workers[f"bea-{number}"].kill()
        runs.append(stream.outcome(THROUGH_A_TAB, since=at))
    assert all(run.identical for run in runs)
    assert all(len(run.receipt["epochs"]) == 2 for run in runs)
    assert median(run.stall_s for run in runs) < 4


@pytest.mark.long
@every_engine
def test_a_worker_that_keeps_state(room: Room, browser: Browser, drive: Drive, outcomes: Outcomes, engine: str) -> None:
    """Half a minute. It is the neighbour of a tab, which stays."""
    room.worker("dan", *labels("dan", "last"), "--engine", engine)
    stream = drive(line(), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    at = time.monotonic()
    room.workers["cleo"].kill()
    outcome = stream.outcome(THROUGH_A_TAB, since=at)
    outcomes["worker with state killed, with a spare", engine].append(outcome)
    assert outcome.identical
    assert [epoch["placement"]["double"] for epoch in outcome.receipt["epochs"]] == [["tab"], ["tab"]]


@pytest.mark.long
@every_engine
def test_a_browser(
    playwright: Playwright, room: Room, browser: Browser, drive: Drive, outcomes: Outcomes, engine: str
) -> None:
    """Half a minute. Another browser's tab takes over."""
    stream = drive(line(seconds=0.015), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    open_tab(playwright, room.url, room.invites["all"], "spare")
    at = time.monotonic()
    kill(browser)
    outcome = stream.outcome(THROUGH_A_TAB, since=at)
    outcomes["browser killed, with a spare", engine].append(outcome)
    assert outcome.identical
    assert [epoch["placement"]["double"] for epoch in outcome.receipt["epochs"]] == [["tab"], ["spare"]]


@pytest.mark.long
@every_engine
@pytest.mark.parametrize("who", ["bea-0", "tab"])
def test_who_has_no_spare(
    room: Room, browser: Browser, drive: Drive, outcomes: Outcomes, engine: str, who: str
) -> None:
    """Fifty seconds: the run waits for somebody, and ends with the name of the peer that it lacks."""
    stream = drive(line(), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    at = time.monotonic()
    if who == "tab":
        kill(browser)
    else:
        room.workers[who].kill()
    outcome = stream.ended(THROUGH_A_TAB, since=at, naming=who, within_s=REPLACEMENT_TIMEOUT_S + 20)
    outcomes[f"{who} killed", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s >= REPLACEMENT_TIMEOUT_S


@pytest.mark.long
@every_engine
@pytest.mark.parametrize("returns", [True, False])
def test_the_signaling_server(
    room: Room, browser: Browser, drive: Drive, outcomes: Outcomes, engine: str, *, returns: bool
) -> None:
    """Half a minute. The run does not notice; when the server is back, everybody is in its room within 5 s."""
    stream = drive(line(), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    at = time.monotonic()
    room.server.kill()
    fault = "signaling killed for good"
    if returns:
        fault = "signaling killed, back after 2 s"
        time.sleep(2)
        room.restart()
    outcome = stream.outcome(THROUGH_A_TAB, since=at)
    outcomes[fault, engine].append(outcome)
    assert outcome.identical
    assert len(outcome.receipt["epochs"]) == 1
    if returns:
        again = drive(line(seconds=0), room.invites["submit"], engine=engine)
        assert again.outcome(THROUGH_A_TAB, since=at).identical
