"""The dashboard in a real Chromium: it sees real peers come, work, and die."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from processes import ROOT, Room, mesh, results, until
from screens import DESKTOP, PHONE, Screen, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]

SLOW = {
    "version": "v1",
    "metadata": {"name": "slow"},
    "nodes": [{"id": "wait", "type": "Delay", "params": {"seconds": 0.2}, "placement": {"peer": "ada"}}],
    "connections": [],
}


def driven(room: Room, folder: Path) -> subprocess.Popen[bytes]:
    """A driver whose run goes on for a minute."""
    manifest = folder / "slow.json"
    manifest.write_text(json.dumps(SLOW))
    items = json.dumps(list(range(300)))
    command = [sys.executable, "-m", "mesh", "run", str(manifest), "--input", items, "--join", room.invites["submit"]]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)


def test_workers_are_seen_when_they_come_and_when_they_die(browser: Browser, room: Room) -> None:
    screen = Screen(browser, room.dashboard)
    expect(screen.at(".mesh-body")).to_contain_text("Nobody is here yet")
    ada = room.worker("ada", "--cap", "gpu=cuda:24")
    card = screen.at('.card[data-peer="ada"]')
    expect(card).to_be_visible(timeout=2_000)
    expect(card).to_contain_text("CPython")
    expect(card).to_contain_text("GPU cuda")
    ada.kill()
    expect(screen.at('.card.gone[data-peer="ada"]')).to_be_visible(timeout=5_000)
    expect(screen.at(".strip")).to_contain_text("ada")
    expect(screen.at(".event-list li").first).to_contain_text("ada left")
    screen.at(".strip").get_by_role("button", name="Dismiss").click()
    expect(screen.at(".strip")).to_be_hidden()
    assert screen.complaints == []
    screen.close()


def test_a_run_is_shown_live_and_its_loss_in_red_until_it_goes_on(browser: Browser, room: Room, tmp_path: Path) -> None:
    room.worker("ada")
    room.worker("bea")
    screen = Screen(browser, room.dashboard)
    expect(screen.at(".card")).to_have_count(2)
    driver = driven(room, tmp_path)
    try:
        row = screen.at(".runs tbody tr").first
        expect(row).to_contain_text("running", timeout=20_000)
        expect(screen.at('.card[data-peer="ada"] .chips')).to_contain_text("wait")
        expect(screen.at(".placement")).to_contain_text("ada")
        expect(screen.at(".link-words").first).to_contain_text("ms", timeout=10_000)
        counted = [int(screen.words(".runs tbody td.number")[1])]
        time.sleep(1.5)
        counted.append(int(screen.words(".runs tbody td.number")[1]))
        assert counted[1] > counted[0]
        killed = room.workers.pop("ada")
        killed.kill()
        killed.end()
        lost = screen.at('.card.lost[data-peer="ada"]')
        expect(lost).to_contain_text("it held wait", timeout=5_000)
        expect(screen.at(".strip.lost")).to_contain_text("1 node of slow (wait)")
        expect(screen.at(".run-details .danger")).to_contain_text("ada was", timeout=10_000)
        before = int(screen.words(".runs tbody td.number")[1])
        room.worker("ada")  # the run waits for it
        expect(screen.at(".run-details .danger")).to_have_count(0, timeout=20_000)
        until(lambda: int(screen.words(".runs tbody td.number")[1]) > before)
        expect(row).to_contain_text("running")
    finally:
        driver.terminate()
        driver.wait()
    screen.close()


def test_an_ended_run_keeps_its_numbers_and_times(browser: Browser, room: Room) -> None:
    room.worker("ada")
    done = mesh("run", ROOT / "examples/calculator.yaml", "--input", "[5, 7, 3]", "--join", room.invites["submit"])
    assert results(done) == [20, 24, 16]
    screen = Screen(browser, room.dashboard)
    expect(screen.at(".runs tbody tr")).to_contain_text("done")
    assert screen.words(".runs tbody td.number") == ["3", "3", "0"]
    assert [row.split()[0] for row in screen.words(".time-table tbody tr")] == ["multiply", "add"]
    screen.close()


def test_an_invite_that_may_not_watch_is_told_so(browser: Browser, room: Room) -> None:
    address = room.invites["submit"].replace("/r/demo#", "/dashboard#r=demo&")
    screen = Screen(browser, address)
    expect(screen.at("h1")).to_have_text("Cannot watch demo")
    expect(screen.at(".alone p")).to_contain_text("needs one that allows to watch")
    screen.close()


def test_without_an_invite_it_says_what_is_missing(browser: Browser, room: Room) -> None:
    screen = Screen(browser, f"{room.url}/dashboard")
    expect(screen.at("h1")).to_have_text("A dashboard opens with its invite")
    screen.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_is_readable(browser: Browser, room: Room, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    ada = room.worker("ada")
    room.worker("bea")
    results(mesh("run", ROOT / "examples/calculator.yaml", "--input", "[1]", "--join", room.invites["submit"]))
    screen = Screen(browser, room.dashboard, size=size, dark=dark)
    expect(screen.at('[data-peer="ada"]')).to_be_visible()
    ada.kill()
    expect(screen.at(".gone").first).to_be_visible()
    for form in ("List", "Map"):
        screen.page.get_by_role("button", name=form).click()
        expect(screen.at('[data-peer="bea"]')).to_be_visible()
        assert screen.overflow() == 0
        assert screen.violations() == []
        screen.picture(tmp_path / f"{form}.png")
    assert screen.complaints == []
    screen.close()
