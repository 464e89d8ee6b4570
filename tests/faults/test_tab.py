"""A browser tab in the middle of a stream of a thousand items: its neighbour is killed with -9, or its browser."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from faulty_streams import COUNT, FIRST, IN_A_TAB, LAST, TAB_LINE, Drive, Outcomes, labels, manifest, rather
from playwright.sync_api import Browser, Playwright, sync_playwright
from processes import Room
from screens import CHROMIUM, FLAGS, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]

EARLY = COUNT // 5
JOIN = "async ([invite, name]) => { await (await import('/mesh.js')).Peer.join(invite, { name }); }"


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


def open_tab(playwright: Playwright, room: Room, name: str) -> Browser:
    """A browser of its own, with a tab that serves."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    page = browser.new_page()
    page.goto(f"{room.url}/healthz")  # a page of the server that joins nothing by itself
    page.evaluate(JOIN, [room.invites["all"], name])
    return browser


def kill(browser: Browser) -> None:
    """The processes of a browser, with -9."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    for process in processes:
        os.kill(process["id"], signal.SIGKILL)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["aiortc", "wrtc"])
def test_the_neighbour_of_a_tab_killed(
    playwright: Playwright, room: Room, drive: Drive, outcomes: Outcomes, engine: str
) -> None:
    """Twenty-five seconds. The neighbour keeps state."""
    for name, role in (("ada", "first"), ("cleo", "last"), ("dan", "last")):
        room.worker(name, *labels(name, role), "--engine", engine)
    browser = open_tab(playwright, room, "tab")
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
    browser = open_tab(playwright, room, "tab")
    text = manifest(TAB_LINE, FIRST, IN_A_TAB, LAST, seconds=0.015)
    stream = drive(text, room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    spare = open_tab(playwright, room, "spare")
    at = time.monotonic()
    kill(browser)
    outcome = stream.outcome(TAB_LINE, since=at)
    spare.close()
    outcomes["browser killed, with a spare", engine].append(outcome)
    assert outcome.identical
    assert [epoch["placement"]["double"] for epoch in outcome.receipt["epochs"]] == [["tab"], ["spare"]]
