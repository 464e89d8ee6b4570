"""The page as a person uses it: in a real Chromium, in a room with two real workers."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, expect
from processes import Room, until
from screens import DESKTOP, PHONE, Screen, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]

type Open = Callable[..., Screen]


@pytest.fixture(scope="module")
def meshed() -> Iterator[Room]:
    """A room with the workers ada and bea."""
    room = Room()
    try:
        room.worker("ada")
        room.worker("bea")
        yield room
    finally:
        room.close()


@pytest.fixture
def opened(browser: Browser, meshed: Room) -> Iterator[Open]:
    screens: list[Screen] = []

    def open_page(*, size: tuple[int, int] = DESKTOP, dark: bool = False) -> Screen:
        screen = Screen(browser, meshed.invites["all"], size=size, dark=dark)
        screens.append(screen)
        expect(screen.at(".action")).to_be_enabled(timeout=20_000)
        return screen

    yield open_page
    for screen in screens:
        screen.close()
        assert screen.complaints == []


def load(screen: Screen, manifest: object) -> None:
    """Opens a manifest as a file."""
    text = json.dumps(manifest).encode()
    file: FilePayload = {"name": "mine.json", "mimeType": "application/json", "buffer": text}
    screen.page.set_input_files(".manifest-actions input", files=file)


def run(screen: Screen, items: str | None = None) -> None:
    if items is not None:
        screen.page.fill(".json", items)
    screen.at(".action").click()


def ended(screen: Screen, word: str, *, within_s: float = 30) -> None:
    expect(screen.at(".action")).to_have_text("Run again", timeout=within_s * 1000)
    said = [] if word == "Failed" else screen.words(".incident:visible")
    assert (screen.words(".run-state b"), said) == ([word], [])


def chain(*nodes: Mapping[str, object]) -> dict[str, object]:
    ids = [str(node["id"]) for node in nodes]
    pairs = itertools.pairwise(ids)
    return {
        "version": "v1",
        "metadata": {"name": "mine"},
        "nodes": nodes,
        "connections": [{"from": a, "to": b} for a, b in pairs],
    }


def test_the_calculator_runs_with_one_click(opened: Open) -> None:
    screen = opened()
    run(screen)
    ended(screen, "Done")
    assert screen.words(".rows .value") == ["16", "24", "20"]  # newest first
    assert screen.words(".rows .seq") == ["2", "1", "0"]
    assert screen.words(".receipt dd")[:2] == ["3", "3"]
    assert screen.words("button.box .title") == ["multiply", "add"]
    assert all(re.fullmatch(r"[\d.<]+ ms", time) for time in screen.words("button.box .time"))


def test_values_keep_what_was_typed(opened: Open) -> None:
    screen = opened()
    load(screen, chain({"id": "same", "type": "PassThrough"}))
    expect(screen.at("button.box")).to_have_count(1)
    run(screen, '[2.0, 9007199254740993, "<b>é</b>", {"$float": "NaN"}, null]')
    ended(screen, "Done")
    assert screen.words(".rows .value")[::-1] == ["2.0", "9007199254740993", "<b>é</b>", '{"$float": "NaN"}', "null"]


def test_a_node_stands_in_the_lane_of_its_peer(opened: Open) -> None:
    screen = opened()
    screen.page.select_option(".picker select", "mixed.mesh")
    expect(screen.at('[data-node="text"] .kind')).to_have_text("CPython")
    run(screen)
    ended(screen, "Done")
    slot = screen.at('[data-node="text"]').get_attribute("data-slot")
    assert slot != screen.at('[data-node="multiply"]').get_attribute("data-slot") == "1"
    lane = screen.at(f'.lane[data-slot="{slot}"]').bounding_box()
    box = screen.at('[data-node="text"]').bounding_box()
    assert lane
    assert box
    assert lane["y"] < box["y"] < lane["y"] + lane["height"]
    assert len(screen.words(".wire-label.crossing:not([hidden])")) == 2
    assert '"15"' in screen.words(".rows .value")[-1]


def test_where_and_why_lists_every_candidate(opened: Open) -> None:
    screen = opened()
    screen.at('[data-node="add"]').click()
    assert screen.words(".inspector h2") == ["add"]
    assert screen.words(".inspector > .sentence")[0].startswith("Runs on ")
    names = " ".join(screen.words(".candidate-head"))
    assert "ada" in names
    assert "bea" in names
    assert "chosen" in names
    screen.page.keyboard.press("Escape")
    expect(screen.at(".inspector h2")).to_have_text("Where and why")


def test_a_pin_moves_the_node(opened: Open) -> None:
    screen = opened()
    load(screen, chain({"id": "twice", "type": "MultiplyNode", "params": {"factor": 2}}))
    screen.at('[data-node="twice"]').click()
    screen.at(".candidate", has_text="bea").first.get_by_role("button", name="Pin here").click()
    expect(screen.at(".candidate", has_text="chosen").first).to_contain_text("bea")
    run(screen, "[21]")
    ended(screen, "Done")
    assert screen.words(".receipt .placed") == ["twice on bea"]


def test_faults_are_listed_with_their_paths_and_found_in_the_text(opened: Open) -> None:
    screen = opened()
    screen.page.get_by_role("button", name="Edit", exact=True).click()
    text = screen.at("textarea").input_value()
    screen.page.fill("textarea", text.replace("factor:", "factr:").replace("addend: 10", 'addend: "ten"'))
    expect(screen.at(".editor .path")).to_have_count(3)
    assert "nodes[0].params.factr" in screen.words(".editor .path")
    assert "did you mean 'factor'?" in " ".join(screen.words(".editor .fault-list"))
    expect(screen.at(".stage")).to_have_class(re.compile("stale"))
    expect(screen.at(".action")).to_be_disabled()
    screen.at(".editor .path", has_text="factr").click()
    until(lambda: screen.page.evaluate("getSelection().toString()") == "factr")
    screen.page.fill("textarea", text)
    expect(screen.at(".action")).to_be_enabled()
    assert screen.words(".editor .path") == []


def test_no_plan_fits_names_every_peer_and_what_it_lacks(opened: Open) -> None:
    screen = opened()
    big = {"id": "big", "type": "PassThrough", "capabilities": {"memory_gb": 4096}}
    load(screen, chain(big))
    expect(screen.at(".refusals tbody tr")).to_have_count(3, timeout=20_000)
    table = " ".join(screen.words(".refusals tbody"))
    assert all(name in table for name in ("ada", "bea", "tab-"))
    assert "memory" in table
    assert screen.words(".run-state") == ["No plan fits"]


def test_escape_twice_cancels(opened: Open) -> None:
    screen = opened()
    load(screen, chain({"id": "wait", "type": "Delay", "params": {"seconds": 0.2}, "placement": {"kind": "server"}}))
    expect(screen.at("button.box")).to_have_count(1)
    run(screen, json.dumps(list(range(500))))
    expect(screen.at(".rows .result").first).to_be_visible(timeout=20_000)
    screen.page.keyboard.press("Escape")
    expect(screen.at(".action")).to_contain_text("Again to cancel")
    screen.page.keyboard.press("Escape")
    ended(screen, "Cancelled")
    assert len(screen.words(".rows .result")) < 500
    expect(screen.at(".action")).to_have_text("Run again")


def test_a_failed_item_is_a_row_in_its_place(opened: Open) -> None:
    screen = opened()
    load(screen, chain({"id": "picky", "type": "Fail", "params": {"value": 2, "message": "not two"}}))
    expect(screen.at("button.box")).to_have_count(1)
    run(screen, "[1, 2, 3]")
    ended(screen, "Done")
    expect(screen.at(".rows .failed")).to_contain_text("picky failed on")
    expect(screen.at(".rows .failed")).to_contain_text("not two")
    assert screen.words(".rows .seq") == ["2", "1", "0"]


def test_bad_items_are_said_at_the_field(opened: Open) -> None:
    screen = opened()
    for text, complaint in (("[1, 2", "line 1"), ("5", "JSON array")):
        run(screen, text)
        expect(screen.at(".problem")).to_contain_text(complaint)
    assert screen.at(".json").get_attribute("aria-invalid") == "true"


def test_only_the_last_rows_stay_in_the_page(opened: Open) -> None:
    screen = opened()
    load(screen, chain({"id": "count", "type": "Range", "placement": {"runtime": "wasm"}}))
    expect(screen.at("button.box")).to_have_count(1)
    run(screen, "[1000]")
    ended(screen, "Done")
    expect(screen.at(".rows .result")).to_have_count(200)
    assert screen.words(".rows .value")[0] == "999"
    assert screen.words(".results .panel-head")[0].startswith("Results 1 000")


def test_new_rows_do_not_scroll_under_a_reader(opened: Open) -> None:
    screen = opened(size=(1440, 760))
    load(screen, chain({"id": "wait", "type": "Delay", "params": {"seconds": 0.1}, "placement": {"kind": "server"}}))
    expect(screen.at("button.box")).to_have_count(1)
    run(screen, json.dumps(list(range(5000))))
    expect(screen.at(".rows .result").nth(20)).to_be_attached(timeout=20_000)
    screen.page.evaluate("document.querySelector('.scroll').scrollTop = 150")
    assert screen.words(".rows .failed") == []
    newest = screen.words(".rows .value")[0]
    expect(screen.at(".more")).to_contain_text("new")
    assert screen.words(".rows .value")[0] == newest
    screen.at(".more").click()
    expect(screen.at(".rows .value").first).not_to_have_text(newest)
    expect(screen.at(".more")).to_be_hidden()


def test_speech_becomes_text_in_order(opened: Open) -> None:
    pytest.importorskip("pocketsphinx")
    screen = opened()
    screen.page.select_option(".picker select", "speech")
    expect(screen.at('[data-node="recognise"]')).to_be_visible()
    run(screen)
    ended(screen, "Done", within_s=60)
    assert [int(seq.split()[0]) for seq in screen.words(".rows .seq")] == [4, 3, 2, 1, 0]
    assert "young man" in " ".join(screen.words(".rows .value"))


def test_python_loads_quietly_and_then_runs_in_the_tab_alone(browser: Browser, room: Room) -> None:
    screen = Screen(browser, room.invites["all"])
    expect(screen.at(".alone-card")).to_contain_text("Only this tab is here", timeout=20_000)
    assert screen.words(".alone-card .command")[0].startswith(f"mesh worker --join '{room.url}/r/")
    screen.page.select_option(".picker select", "mixed")
    expect(screen.at('[data-node="text"] .kind')).to_have_text("Pyodide")
    screen.page.evaluate(
        "() => { const line = document.querySelector('.status .spread'); globalThis.said = [];"
        "new MutationObserver(() => said.push(line.textContent)).observe(line, { subtree: true, childList: true }); }"
    )
    run(screen)
    ended(screen, "Done")
    assert any(re.search(r"loading, [\d.]+ MB of [\d.]+ MB", line) for line in screen.page.evaluate("said"))
    assert screen.at(".status .spread").is_hidden()
    assert len(screen.words(".rows .value")) == 3
    assert screen.complaints == []
    screen.close()


def test_without_an_invite_the_page_asks_for_one(browser: Browser, meshed: Room) -> None:
    screen = Screen(browser, f"{meshed.url}/r/demo")
    expect(screen.at("h1")).to_have_text("A room opens with its invite")
    screen.page.fill("input[name=invite]", "https://example.org/")
    screen.page.get_by_role("button", name="Join").click()
    expect(screen.at("[role=alert]")).to_contain_text("no invite")
    screen.page.fill("input[name=invite]", meshed.invites["all"])
    screen.page.get_by_role("button", name="Join").click()
    expect(screen.at(".run-bar")).to_be_visible()
    screen.close()


def test_a_foreign_grant_is_refused_in_words(browser: Browser, meshed: Room) -> None:
    screen = Screen(browser, re.sub(r"g=([^.]+)\.[^.]+", r"g=\1.e30", meshed.invites["all"]))
    expect(screen.at("h1")).to_have_text("Could not join demo")
    expect(screen.at(".alone p")).to_contain_text("grant")
    screen.close()


def test_the_keyboard_walks_the_graph(opened: Open) -> None:
    screen = opened()
    screen.at('[data-node="multiply"]').focus()
    screen.page.keyboard.press("ArrowRight")
    assert screen.page.evaluate("document.activeElement.dataset.node") == "add"
    screen.page.keyboard.press("ArrowLeft")
    screen.page.keyboard.press("Enter")
    expect(screen.at(".inspector h2")).to_have_text("multiply")
    screen.page.keyboard.press("?")
    expect(screen.at(".keys")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_is_readable_in_every_state(opened: Open, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    screen = opened(size=size, dark=dark)

    def look(state: str) -> None:
        assert screen.overflow() == 0, state
        assert screen.violations() == [], state
        screen.picture(tmp_path / f"{state}.png")

    look("empty")
    screen.page.select_option(".picker select", "mixed.mesh")
    expect(screen.at('[data-node="text"]')).to_be_visible()
    run(screen)
    ended(screen, "Done")
    look("done")
    screen.at('[data-node="text"]').click()
    look("why")
    screen.page.get_by_role("button", name="Edit", exact=True).click()
    screen.page.fill("textarea", "version: v2\n")
    expect(screen.at(".editor .path").first).to_be_visible()
    look("faults")
