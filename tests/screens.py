"""A screen in a real Chromium: what it shows, what it complains of, how it looks and whether everybody can read it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page, sync_playwright
from processes import ROOT

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP, PHONE = (1440, 1024), (390, 844)
AXE = ROOT / "browser_peer/node_modules/axe-core/axe.min.js"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Screen:
    """One tab. What it writes to its console as a warning or an error is kept in ``complaints``."""

    def __init__(self, browser: Browser, url: str, *, size: tuple[int, int] = DESKTOP, dark: bool = False) -> None:
        self.page: Page = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", self._page_error)
        self.page.goto(url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("warning", "error"):
            self.complaints.append(message.text)

    def _page_error(self, error: Error) -> None:
        self.complaints.append(error.message)

    def at(self, selector: str, *, has_text: str | None = None) -> Locator:
        return self.page.locator(selector, has_text=has_text)

    def words(self, selector: str) -> list[str]:
        """The text of every match, as it is seen, with plain spaces."""
        return [" ".join(text.split()) for text in self.at(selector).all_inner_texts()]

    def violations(self) -> list[str]:
        """What axe finds serious or critical, with the elements."""
        self.page.evaluate(AXE.read_text())
        found: list[dict[str, Any]] = self.page.evaluate("axe.run().then((result) => result.violations)")
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return width

    def picture(self, path: Path) -> None:
        self.page.screenshot(path=path)
        assert path.stat().st_size > 10_000, "the picture is empty"

    def close(self) -> None:
        self.page.close()
