"""Processes stand still (SIGSTOP) within a stream of a thousand items, and go on after a while.

The stream goes from the driver through ada, a browser's tab and cleo, which keeps state.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from faulty_streams import (
    COUNT,
    ENGINES,
    FIRST,
    IN_A_TAB,
    LAST,
    TAB_LINE,
    Drive,
    Outcomes,
    Stream,
    labels,
    manifest,
    rather,
)
from faulty_tabs import open_tab, processes_of
from playwright.sync_api import Browser, Playwright
from processes import Room
from screens import needs_chromium

from mesh.limits import SUSPECT_AFTER_S

pytestmark = [pytest.mark.browser, needs_chromium]

EARLY = COUNT // 5
every_engine = pytest.mark.parametrize("engine", ENGINES)
every_time = pytest.mark.parametrize("seconds", [5, 20])
everybody = pytest.mark.parametrize("who", ["cleo", "tab"])


class Meshed:
    """A room with the peers of the stream, of which one may stand still."""

    def __init__(self, folder: Path, playwright: Playwright, engine: str) -> None:
        self.room = Room("--state", folder / "state")  # its signaling server can be killed
        self._playwright, self._engine = playwright, engine
        self._browsers: dict[str, Browser] = {}
        self._pids: dict[str, Sequence[int]] = {}
        for name, role in (("ada", "first"), ("cleo", "last")):
            self._worker(name, role)
        self._tab("tab")

    def _worker(self, name: str, role: str) -> None:
        worker = self.room.worker(name, *labels(name, role), "--engine", self._engine)
        self._pids[name] = [worker.process.pid]

    def _tab(self, name: str) -> None:
        browser = self._browsers[name] = open_tab(self._playwright, self.room.url, self.room.invites["all"], name)
        self._pids[name] = processes_of(browser)

    def spare_for(self, who: str) -> None:
        if who == "tab":
            self._tab("spare")
        else:
            self._worker("spare", "last")

    def stream(self, drive: Drive, *, pace_s: float) -> Stream:
        """Some of its results are there already."""
        text = manifest(TAB_LINE, FIRST, IN_A_TAB, rather(LAST, "cleo"), seconds=pace_s)
        stream = drive(text, self.room.invites["submit"], engine=self._engine)
        stream.reaches(EARLY)
        return stream

    def stand_still(self, who: str, seconds: float) -> tuple[float, float]:
        """A worker, all processes of a tab, or the signaling server; answers when, and when it went on."""
        pids = [self.room.server.process.pid] if who == "signaling" else self._pids[who]
        at = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        return at, time.monotonic()

    def close(self) -> None:
        for browser in self._browsers.values():
            browser.close()
        self.room.close()


@pytest.fixture
def meshed(tmp_path: Path, playwright: Playwright, engine: str) -> Iterator[Meshed]:
    made = Meshed(tmp_path, playwright, engine)
    yield made
    made.close()


@pytest.mark.long
@every_engine
@everybody
@every_time
def test_who_has_no_spare_is_waited_for(
    meshed: Meshed, drive: Drive, outcomes: Outcomes, engine: str, who: str, seconds: float
) -> None:
    """Half a minute. Nothing has happened: its links go on where they were."""
    stream = meshed.stream(drive, pace_s=0.01)
    _, goes_on = meshed.stand_still(who, seconds)
    outcome = stream.outcome(TAB_LINE, since=goes_on)
    outcomes[f"{who} stopped for {seconds} s", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < 3
    assert outcome.receipt["replayed"] == 0


@pytest.mark.long
@every_engine
@everybody
@pytest.mark.parametrize(("seconds", "pace_s"), [(5, 0.02), (20, 0.04)], ids=["5s", "20s"])
def test_who_has_a_spare_is_fenced_off(
    meshed: Meshed, drive: Drive, outcomes: Outcomes, engine: str, who: str, seconds: float, pace_s: float
) -> None:
    """Half a minute or one. The run moves when it is suspected; when it comes back, it has no part in it."""
    meshed.spare_for(who)
    stream = meshed.stream(drive, pace_s=pace_s)
    stopped = meshed.stand_still(who, seconds)[0]
    outcome = stream.outcome(TAB_LINE, since=stopped)
    outcomes[f"{who} stopped for {seconds} s, with a spare", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < SUSPECT_AFTER_S + 4
    assert len(outcome.receipt["epochs"]) == 2


@pytest.mark.long
@every_engine
@pytest.mark.parametrize(("seconds", "pace_s"), [(5, 0.01), (20, 0.03)], ids=["5s", "20s"])
def test_the_signaling_server(
    meshed: Meshed, drive: Drive, outcomes: Outcomes, engine: str, seconds: float, pace_s: float
) -> None:
    """Half a minute. The run does not notice."""
    stream = meshed.stream(drive, pace_s=pace_s)
    stopped = meshed.stand_still("signaling", seconds)[0]
    outcome = stream.outcome(TAB_LINE, since=stopped)
    outcomes[f"signaling stopped for {seconds} s", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < 3
    assert len(outcome.receipt["epochs"]) == 1


@pytest.mark.parametrize("engine", [pytest.param("aiortc", marks=pytest.mark.long), "wrtc"])
@pytest.mark.parametrize("who", ["cleo", pytest.param("tab", marks=pytest.mark.long)])
@pytest.mark.parametrize("seconds", [5, pytest.param(20, marks=pytest.mark.long)])
def test_whose_links_are_all_silent_while_signaling_is_away(
    meshed: Meshed, drive: Drive, outcomes: Outcomes, engine: str, who: str, seconds: float
) -> None:
    """Half a minute. Nobody can carry offers to it: it is heard again on the connections that it had."""
    stream = meshed.stream(drive, pace_s=0.01)
    meshed.room.server.kill()
    time.sleep(1)
    _, goes_on = meshed.stand_still(who, seconds)
    outcome = stream.outcome(TAB_LINE, since=goes_on)
    outcomes[f"{who} stopped for {seconds} s while signaling is away", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < 3
    assert outcome.receipt["replayed"] == 0
