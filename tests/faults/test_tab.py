"""A browser tab in the middle of a stream of a thousand items: its neighbour is killed with -9, or its browser."""

import signal
import time

import pytest
from faulty_streams import COUNT, FIRST, IN_A_TAB, LAST, TAB_LINE, Drive, Outcomes, labels, manifest, rather
from faulty_tabs import open_tab, signal_all
from playwright.sync_api import Playwright
from processes import Room
from screens import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]

EARLY = COUNT // 5


@pytest.mark.long
@pytest.mark.parametrize("engine", ["aiortc", "wrtc"])
def test_the_neighbour_of_a_tab_killed(
    playwright: Playwright, room: Room, drive: Drive, outcomes: Outcomes, engine: str
) -> None:
    """Twenty-five seconds. The neighbour keeps state."""
    for name, role in (("ada", "first"), ("cleo", "last"), ("dan", "last")):
        room.worker(name, *labels(name, role), "--engine", engine)
    browser = open_tab(playwright, room.url, room.invites["all"], "tab")
    text = manifest(TAB_LINE, FIRST, IN_A_TAB, rather(LAST, "cleo"), seconds=0.005)
    stream = drive(text, room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    at = time.monotonic()
    room.workers["cleo"].kill()
    outcome = stream.outcome(TAB_LINE, since=at)
    browser.close()
    outcomes["worker beside a tab killed", engine].append(outcome)
    assert outcome.identical
    assert [epoch["placement"]["double"] for epoch in outcome.receipt["epochs"]] == [["tab"], ["tab"]]


@pytest.mark.long
@pytest.mark.parametrize("engine", ["aiortc", "wrtc"])
def test_a_browser_killed(playwright: Playwright, room: Room, drive: Drive, outcomes: Outcomes, engine: str) -> None:
    """Half a minute. Another browser's tab takes over."""
    for name, role in (("ada", "first"), ("cleo", "last")):
        room.worker(name, *labels(name, role), "--engine", engine)
    browser = open_tab(playwright, room.url, room.invites["all"], "tab")
    text = manifest(TAB_LINE, FIRST, IN_A_TAB, LAST, seconds=0.015)
    stream = drive(text, room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    spare = open_tab(playwright, room.url, room.invites["all"], "spare")
    at = time.monotonic()
    signal_all(browser, signal.SIGKILL)
    outcome = stream.outcome(TAB_LINE, since=at)
    spare.close()
    outcomes["browser killed, with a spare", engine].append(outcome)
    assert outcome.identical
    assert [epoch["placement"]["double"] for epoch in outcome.receipt["epochs"]] == [["tab"], ["spare"]]
