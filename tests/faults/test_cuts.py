"""The UDP between two peers is cut within a stream of a thousand items, and heals after a while, or never.

The stream goes from the driver through ada, bea, a browser's tab and ada again.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_streams import (
    COUNT,
    ENGINES,
    FIRST,
    IN_A_TAB,
    MIDDLE,
    THROUGH_A_TAB,
    Drive,
    Outcomes,
    Stream,
    manifest,
    rather,
)
from hosts import OBSTACLE, Hosts
from playwright.sync_api import Playwright
from screens import needs_chromium

from mesh.limits import PARTING_S, REPLACEMENT_TIMEOUT_S, SUSPECT_AFTER_S

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    needs_chromium,
    pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE)),
]

EARLY = COUNT // 5
SPARES = {("driver", "ada"): "first", ("ada", "bea"): "middle", ("bea", "tab"): "middle"}  # whose role a spare has
every_pair = pytest.mark.parametrize("pair", SPARES, ids="-".join)
every_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    try:
        yield made
    finally:
        made.close()


class Cut:
    """A stream on its way, perhaps with a spare for a role, whose peers can be cut off from each other."""

    def __init__(self, hosts: Hosts, drive: Drive, playwright: Playwright, folder: Path, engine: str) -> None:
        self._hosts, self._drive, self._engine = hosts, drive, engine
        for name, role in (("ada", "first"), ("bea", "middle")):
            hosts.worker(name, role, engine=engine)
        self._browser = hosts.tab(playwright, folder)

    def stream(self, *, seconds: float, spare: str | None = None) -> Stream:
        """Some of its results are there already."""
        if spare is not None:
            self._hosts.worker("spare", spare, engine=self._engine)
        ada, bea = rather(FIRST, "ada"), rather(MIDDLE, "bea")
        text = manifest(THROUGH_A_TAB, ada, bea, IN_A_TAB, ada, seconds=seconds)
        stream = self._drive(text, self._hosts.invite, engine=self._engine, within=self._hosts.within("driver"))
        stream.reaches(EARLY)
        return stream

    def off(self, pair: tuple[str, str], *, for_s: float | None) -> tuple[float, float]:
        """Cuts two peers off from each other; answers when, and when they were together again."""
        self._hosts.cut(*pair)
        at = time.monotonic()
        if for_s is not None:
            time.sleep(for_s)
            self._hosts.heal(pair[0])
        return at, time.monotonic()

    def close(self) -> None:
        self._browser.close()


@pytest.fixture
def cut(hosts: Hosts, drive: Drive, playwright: Playwright, tmp_path: Path, engine: str) -> Iterator[Cut]:
    made = Cut(hosts, drive, playwright, tmp_path, engine)
    yield made
    made.close()


@pytest.mark.parametrize("engine", [pytest.param("aiortc", marks=pytest.mark.long), "wrtc"])
@pytest.mark.parametrize(
    "pair",
    [pytest.param(pair, marks=() if pair == ("ada", "bea") else pytest.mark.long) for pair in SPARES],
    ids="-".join,
)
@pytest.mark.parametrize("heals_after_s", [3, pytest.param(10, marks=pytest.mark.long)])
def test_a_cut_that_heals(
    cut: Cut, outcomes: Outcomes, engine: str, pair: tuple[str, str], heals_after_s: float
) -> None:
    """Half a minute. Nobody can take over; three seconds after the healing items flow again, none of them anew."""
    stream = cut.stream(seconds=0.01)
    at, healed = cut.off(pair, for_s=heals_after_s)
    outcome = stream.outcome(THROUGH_A_TAB, since=healed)
    assert stream.stall_s(at) > heals_after_s / 2  # it was cut indeed
    outcomes[f"{' and '.join(pair)} cut for {heals_after_s} s", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < 3
    assert outcome.receipt["replayed"] == 0


@pytest.mark.long
@every_engine
@every_pair
@pytest.mark.parametrize(
    ("heals_after_s", "seconds"), [(3, 0.02), (10, 0.02), (40, 0.05), (None, 0.01)], ids=["3s", "10s", "40s", "never"]
)
def test_a_cut_with_a_spare(
    cut: Cut, outcomes: Outcomes, engine: str, pair: tuple[str, str], heals_after_s: float | None, seconds: float
) -> None:
    """Half a minute to one and a half. The run moves to the spare, unless the cut heals before it is noticed."""
    stream = cut.stream(seconds=seconds, spare=SPARES[pair])
    at, _ = cut.off(pair, for_s=heals_after_s)
    outcome = stream.outcome(THROUGH_A_TAB, since=at, within_s=120)
    ends = "for good" if heals_after_s is None else f"for {heals_after_s} s"
    outcomes[f"{' and '.join(pair)} cut {ends}, with a spare", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < SUSPECT_AFTER_S + PARTING_S + 4
    assert len(outcome.receipt["epochs"]) <= 2
    assert heals_after_s == 3 or len(outcome.receipt["epochs"]) == 2


@pytest.mark.long
@every_engine
@every_pair
def test_a_long_cut_without_a_spare(cut: Cut, outcomes: Outcomes, engine: str, pair: tuple[str, str]) -> None:
    """Fifty seconds. After half a minute, so though the cut heals after 40 s, the run ends and names who is cut off."""
    stream = cut.stream(seconds=0.01)
    at, _ = cut.off(pair, for_s=None)
    outcome = stream.ended(THROUGH_A_TAB, since=at, naming=pair[1], within_s=REPLACEMENT_TIMEOUT_S + 30)
    outcomes[f"{' and '.join(pair)} cut for 40 s or for good", engine].append(outcome)
    assert outcome.identical
    assert REPLACEMENT_TIMEOUT_S < outcome.stall_s < REPLACEMENT_TIMEOUT_S + 15
