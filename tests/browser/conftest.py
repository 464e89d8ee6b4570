"""The Chromium that a test file shares."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext
from screens import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Its tabs are closed with the test."""
    context = browser.new_context()
    yield context
    context.close()
