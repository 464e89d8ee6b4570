"""A browser with a tab that serves, and its processes."""

from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, Playwright
from screens import CHROMIUM, FLAGS

JOIN = "async ([invite, name]) => { await (await import('/mesh.js')).Peer.join(invite, { name }); }"


def open_tab(
    playwright: Playwright,
    url: str,
    invite: str,
    name: str,
    *,
    executable: str | Path | None = CHROMIUM,
    flags: Sequence[str] = (),
) -> Browser:
    """A browser of its own, with a tab that serves."""
    browser = playwright.chromium.launch(executable_path=executable, args=[*FLAGS, *flags])
    page = browser.new_page()
    page.goto(f"{url}/healthz")  # a page of the server that joins nothing by itself
    page.evaluate(JOIN, [invite, name])
    return browser


def processes_of(browser: Browser) -> list[int]:
    """The ids of all processes of a browser."""
    said = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    return [each["id"] for each in said["processInfo"]]
