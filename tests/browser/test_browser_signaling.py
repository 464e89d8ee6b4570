"""The signaling client in real tabs: who a tab is, and what it does when the server goes away."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright

from signaling_server.server import Config, Server, serve

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")]


@pytest.fixture
async def browser() -> AsyncIterator[BrowserContext]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield await chromium.new_context()
        finally:
            await chromium.close()


def peers(server: Server) -> list[str]:
    room = server.hub.rooms.get("demo")
    return list(room.peers) if room is not None else []


async def until(condition: Callable[[], Any], *, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


async def reload(tab: Page, server: Server) -> None:
    (before,) = server.hub.clients
    await tab.reload()
    await until(lambda: peers(server) and before not in server.hub.clients)


async def test_a_reloaded_tab_is_the_same_peer(browser: BrowserContext) -> None:
    async with serve(Config(port=0)) as server:
        tab = await browser.new_page()
        await tab.goto(server.url)
        await until(lambda: peers(server))
        before = peers(server)
        for _ in range(3):
            await reload(tab, server)
            assert peers(server) == before


async def test_a_duplicated_tab_is_another_peer(browser: BrowserContext) -> None:
    async with serve(Config(port=0)) as server:
        tab = await browser.new_page()
        await tab.goto(server.url)
        await until(lambda: peers(server))
        before = peers(server)
        async with browser.expect_page():
            await tab.evaluate("window.open(location.href)")  # with a copy of the tab's session storage
        await until(lambda: len(peers(server)) == 2)
        assert peers(server)[0] == before[0]


async def test_a_tab_comes_back_after_a_restart(browser: BrowserContext, tmp_path: Path) -> None:
    async with serve(Config(port=0, state=tmp_path)) as server:
        tab = await browser.new_page()
        await tab.goto(server.url)
        await until(lambda: peers(server))
        before = peers(server)
    await tab.wait_for_selector("text=Signaling away", timeout=5000)
    async with serve(Config(port=server.port, state=tmp_path)) as server:
        await until(lambda: peers(server) == before)
        await tab.wait_for_selector("text=Signaling connected", timeout=5000)
