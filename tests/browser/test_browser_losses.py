"""Peers are lost while a tab drives, or works in the middle, and the run goes on: every result once, in order."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import deadly_nodes
import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from processes import ROOT, Room, calls_that_do_not_end, until
from receipts import adds_up
from screens import CHROMIUM, FLAGS, Screen, needs_chromium
from tabs import Tab, node, pipeline

pytestmark = [pytest.mark.browser, needs_chromium]

COUNT, BEFORE_THE_LOSS = 300, 50
NUMBERS = list(range(1000, 1000 + COUNT))
WORKER = {"labels": {"role": "worker"}}
SLOW = {**node("slow", "Delay", seconds=0.02), "placement": WORKER}


def test_a_tab_drives_on_when_a_worker_is_killed(context: BrowserContext, room: Room) -> None:
    tab = Tab(context.new_page(), room.url, room.invites["all"], name="tab")
    ada = room.worker("ada", "--label", "role=worker", "--allow", "Multiply")
    room.worker("bea", "--label", "role=worker", "--allow", "Delay")
    tab.sees("ada", "bea")
    tab.start(pipeline(SLOW, {**node("double", "Multiply", factor=2), "placement": WORKER}), NUMBERS)
    room.worker("cleo", "--label", "role=worker", "--allow", "Multiply")
    until(lambda: tab.do("count") > BEFORE_THE_LOSS)
    assert tab.do("count") < COUNT, "the run was over before the loss"
    ada.kill()
    outcome = tab.do("outcome")
    stall = max(after - before for before, after in pairwise(outcome["times_ms"]))
    print(f"the stream flows again {stall / 1e3:.2f} s after kill -9")
    assert [json.loads(result) for result in outcome["results"]] == [2 * number for number in NUMBERS]
    receipt = outcome["receipt"]
    assert receipt["seqs"] == {"done": COUNT, "filtered": 0, "failed": 0}
    first, second = receipt["epochs"]
    assert (first["reason"], first["placement"]) == ("start", {"slow": ["bea"], "double": ["ada"]})
    assert re.match(r"ada was (lost|suspected): ", second["reason"])
    assert second["placement"] == {"slow": ["bea"], "double": ["cleo"]}
    adds_up(receipt, slow="bea", lost="ada", spare="cleo")


@pytest.mark.long
def test_a_tab_gives_up_an_item_that_kills_its_workers(context: BrowserContext, room: Room) -> None:
    """Twenty seconds. Four die: one with other items on their way, three with this one alone."""
    tab = Tab(context.new_page(), room.url, room.invites["all"], name="tab")
    workers = {
        name: room.worker(name, "--label", "role=worker", "--nodes", deadly_nodes.__file__)
        for name in ("ada", "bea", "cleo", "dora", "emma")
    }
    tab.sees(*workers)
    numbers = range(1000, 1060)
    poison = {**node("poison", "kills"), "placement": WORKER}
    outcome = tab.run(pipeline(SLOW, poison), [*numbers], onError="continue")
    assert outcome["results"] == [2 * number for number in numbers if number != deadly_nodes.DEADLY]
    receipt = outcome["receipt"]
    assert receipt["seqs"] == {"done": len(numbers) - 1, "filtered": 0, "failed": 1}
    (error,) = receipt["errors"]
    died = [name for name, worker in workers.items() if worker.process.poll() is not None]
    assert len(died) == 4
    assert error["seq"] == 30
    assert error["cause"].startswith("peers were lost while it was alone in slow or poison: ")
    assert error["peer"] in died


@pytest.mark.long
@pytest.mark.parametrize("spare", ["bea", None])
def test_a_tab_drives_on_without_a_worker_that_does_not_get_on(
    context: BrowserContext, room: Room, spare: str | None
) -> None:
    """Fifteen seconds with a spare, of which the lease takes six; forty without."""
    tab = Tab(context.new_page(), room.url, room.invites["all"], name="tab")
    ada = room.worker("ada", "--label", "role=worker")
    tab.sees("ada")
    line = pipeline(
        *({**each, "timeout_s": 1, "placement": WORKER} for each in (SLOW, node("double", "Multiply", factor=2)))
    )
    tab.start(line, NUMBERS)
    until(lambda: tab.do("count") > BEFORE_THE_LOSS)
    if spare:
        room.worker(spare, "--label", "role=worker")
    with calls_that_do_not_end(ada):
        outcome = tab.do("outcome")
    stuck = r"ada is stuck: node '(slow|double)' stands still there at seq \d+: nothing was heard of its call for \d+ s"
    if spare:
        assert [json.loads(result) for result in outcome["results"]] == [2 * number for number in NUMBERS]
        first, second = outcome["receipt"]["epochs"]
        assert (first["placement"]["double"], second["placement"]["double"]) == (["ada"], [spare])
        assert re.fullmatch(stuck, second["reason"])
    else:
        assert re.match(rf"{stuck}; no peer took over within 30 s what it ran \(slow, double\): ", outcome["message"])
    assert ada.process.poll() is None


def test_the_page_says_whom_a_run_waits_for_and_who_took_over(browser: Browser, room: Room) -> None:
    """First somebody comes in time, then nobody does."""
    ada = room.worker("ada", "--label", "role=worker")
    screen = Screen(browser, room.invites["all"])
    manifest = json.dumps(pipeline(SLOW, {**node("double", "Multiply", factor=2), "placement": WORKER})).encode()
    expect(screen.at(".action")).to_be_enabled()
    screen.page.set_input_files(
        ".manifest-actions input", files={"name": "mine.json", "mimeType": "application/json", "buffer": manifest}
    )
    expect(screen.at("button.box", has_text="double")).to_be_visible()
    screen.page.fill(".json", json.dumps(NUMBERS))
    screen.at(".action").click()
    expect(screen.at(".rows .value").first).to_be_visible()
    ada.kill()
    words = screen.at(".loss .sentence")
    expect(words).to_have_text(re.compile(r"^ada was .*\. Waiting for a peer for slow and double, 30 s at most\.$"))
    expect(screen.at(".run-state b")).to_have_text("Waiting")
    assert screen.violations() == []
    cleo = room.worker("cleo", "--label", "role=worker")
    expect(words).to_contain_text("slow and double moved to cleo; the run goes on.")
    assert screen.words(".lane.gone .lane-name") == ["ada, lost"]
    cleo.kill()
    expect(screen.at(".run-state b")).to_have_text("Failed", timeout=60_000)
    said = screen.words(".notice .incident")
    assert re.match(r"cleo was .*; no peer took over within 30 s what it ran \(slow, double\)", said[0])
    assert len(screen.words(".receipt .epoch")) == 2
    assert screen.complaints == []
    screen.close()


def test_a_tab_drives_on_when_the_server_and_then_a_worker_are_killed(context: BrowserContext, room: Room) -> None:
    tab = Tab(context.new_page(), room.url, room.invites["all"], name="tab")
    for name, node_type in (("ada", "Multiply"), ("bea", "Delay"), ("cleo", "Multiply")):
        room.worker(name, "--label", "role=worker", "--label", f"name={name}", "--allow", node_type)
    tab.sees("ada", "bea", "cleo")
    rather_ada = {"prefers": {"labels": {"name": "ada"}}}
    line = pipeline(SLOW, {**node("double", "Multiply", factor=2), "placement": WORKER, **rather_ada})
    tab.start(line, NUMBERS)
    until(lambda: tab.do("count") > BEFORE_THE_LOSS)
    room.server.kill()
    until(lambda: tab.do("count") > 2 * BEFORE_THE_LOSS)
    room.workers["ada"].kill()
    outcome = tab.do("outcome")
    assert [json.loads(result) for result in outcome["results"]] == [2 * number for number in NUMBERS], outcome
    placements = [epoch["placement"]["double"] for epoch in outcome["receipt"]["epochs"]]
    assert placements == [["ada"], ["cleo"]]
    assert outcome["receipt"]["link_bytes"]["bea->cleo"] > 0  # over a link that was negotiated through the tab
    room.restart()
    until(lambda: room.clients() == 3, seconds=5)
    assert tab.run(line, [1, 2])["results"] == [2, 4]


def test_a_tab_that_drives_moves_the_nodes_of_a_worker_that_drains(context: BrowserContext, room: Room) -> None:
    tab = Tab(context.new_page(), room.url, room.invites["all"], name="tab")
    ada = room.worker("ada", "--label", "role=worker", "--label", "name=ada")
    room.worker("cleo", "--label", "role=worker")
    tab.sees("ada", "cleo")
    rather_ada = {"prefers": {"labels": {"name": "ada"}}}
    count = {**node("count", "Counter"), "placement": WORKER}
    tab.start(pipeline({**SLOW, **rather_ada}, {**count, **rather_ada}), NUMBERS)
    until(lambda: tab.do("count") > 0)
    ada.process.send_signal(signal.SIGTERM)
    outcome = tab.do("outcome")
    counted = [{"count": count, "value": number} for count, number in enumerate(NUMBERS, 1)]
    assert [json.loads(result) for result in outcome["results"]] == counted
    assert ada.process.wait(20) == 0
    receipt = outcome["receipt"]
    assert [epoch["placement"] for epoch in receipt["epochs"]] == [{"slow": ["ada"], "count": ["ada"]}]
    assert receipt["moves"][-1]["placement"] == {"slow": ["cleo"], "count": ["cleo"]}
    assert receipt["moves"][-1]["reason"] == "ada drains"
    assert (receipt["replayed"], receipt["node_ms"]["count"]["count"]) == (0, COUNT)


class Chromium:
    """A browser of its own, which can be killed."""

    def __init__(self, browser: Browser, tmp_path: Path) -> None:
        self._mark = f"--mesh-test={tmp_path}"
        self.browser = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, self._mark])

    def kill(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if self._mark in words and not any(word.startswith("--type=") for word in words):
                os.kill(int(path.parent.name), signal.SIGKILL)


def driven(room: Room, tmp_path: Path) -> "subprocess.Popen[str]":
    """A Python driver, whose second node runs in a tab."""
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(pipeline(SLOW, node("double", "Multiply", {"kind": "browser"}, factor=2))))
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "mesh", "run", str(path), "--join", room.invites["submit"]),
            *("--input", json.dumps(NUMBERS), "--receipt", str(tmp_path / "receipt.json")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize("end", ["closed", pytest.param("killed", marks=pytest.mark.long)])
def test_a_tab_in_the_middle_ends_and_another_takes_over(
    browser: Browser, context: BrowserContext, room: Room, tmp_path: Path, end: str
) -> None:
    other = Chromium(browser, tmp_path)
    lost = Tab(other.browser.new_page(), room.url, room.invites["all"], name="lost")
    room.worker("bea", "--label", "role=worker")
    lost.sees("bea")
    driver = driven(room, tmp_path)
    assert driver.stdout is not None
    came = [driver.stdout.readline() for _ in range(BEFORE_THE_LOSS)]
    Tab(context.new_page(), room.url, room.invites["all"], name="spare")
    stop: Callable[[], Any] = lost.page.close if end == "closed" else other.kill
    stop()
    out, said = driver.communicate(timeout=60)
    assert driver.returncode == 0, said
    assert [json.loads(line) for line in [*came, *out.splitlines()]] == [2 * number for number in NUMBERS]
    receipt = json.loads((tmp_path / "receipt.json").read_text())
    assert [epoch["placement"]["double"] for epoch in receipt["epochs"]] == [["lost"], ["spare"]]
    adds_up(receipt, slow="bea", lost="lost", spare="spare")
    if end == "closed":
        assert receipt["epochs"][1]["reason"] == "lost was lost: its page was closed"
        other.browser.close()
