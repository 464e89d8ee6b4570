"""A browser's tab in the middle of a stream of a thousand items is hidden, closed, or crashes."""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from faulty_streams import COUNT, ENGINES, FIRST, IN_A_TAB, LAST, TAB_LINE, Drive, Outcomes, labels, manifest
from faulty_tabs import open_tab
from playwright.sync_api import Browser, Error, Page, Playwright
from processes import Room
from screens import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]

EARLY = COUNT // 5
HIDE = """() => {
    Object.defineProperty(document, 'hidden', { value: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


@pytest.fixture
def tab(playwright: Playwright, room: Room, engine: str) -> Page:
    """That of the stream, whose workers are there too."""
    for name, role in (("ada", "first"), ("cleo", "last")):
        room.worker(name, *labels(name, role), "--engine", engine)
    return page_of(open_tab(playwright, room.url, room.invites["all"], "tab"))


def page_of(browser: Browser) -> Page:
    return browser.contexts[0].pages[0]


def close(tab: Page) -> None:
    tab.close()


def crash(tab: Page) -> None:
    with suppress(Error):  # it says that the page crashed
        tab.goto("chrome://crash", timeout=2000)


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("end", [close, crash])
def test_a_tab_ends(
    playwright: Playwright,
    room: Room,
    tab: Page,
    drive: Drive,
    outcomes: Outcomes,
    engine: str,
    end: Callable[[Page], None],
) -> None:
    """Half a minute. Another browser's tab takes over."""
    stream = drive(manifest(TAB_LINE, FIRST, IN_A_TAB, LAST, seconds=0.015), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    open_tab(playwright, room.url, room.invites["all"], "spare")
    at = time.monotonic()
    end(tab)
    outcome = stream.outcome(TAB_LINE, since=at)
    outcomes[f"tab, {end.__name__}, with a spare", engine].append(outcome)
    assert outcome.identical
    assert [epoch["placement"]["double"] for epoch in outcome.receipt["epochs"]] == [["tab"], ["spare"]]


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_a_tab_is_hidden(room: Room, tab: Page, drive: Drive, outcomes: Outcomes, engine: str) -> None:
    """Twenty seconds. It works on, though the registry says that it is slower now."""
    stream = drive(manifest(TAB_LINE, FIRST, IN_A_TAB, LAST, seconds=0.005), room.invites["submit"], engine=engine)
    stream.reaches(EARLY)
    at = time.monotonic()
    tab.evaluate(HIDE)
    outcome = stream.outcome(TAB_LINE, since=at)
    outcomes["tab, hidden", engine].append(outcome)
    assert outcome.identical
    assert (len(outcome.receipt["epochs"]), outcome.receipt["replayed"]) == (1, 0)
