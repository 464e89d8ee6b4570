"""The UDP between two peers is cut within a stream of a thousand items, and heals after a while, or never."""

import time
from collections.abc import Iterator

import pytest
from faulty_streams import COUNT, ENGINES, FIRST, LINE, MIDDLE, Drive, Outcomes, Stream, manifest, rather, undisturbed
from hosts import OBSTACLE, Hosts

from mesh.limits import REPLACEMENT_TIMEOUT_S, RESUME_TIMEOUT_S, SUSPECT_AFTER_S

pytestmark = [pytest.mark.slow, pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))]

EARLY = COUNT // 5
ROLES = {"ada": "first", "bea": "middle"}
PAIRS = [("driver", "ada"), ("ada", "bea")]  # bea has no link to the driver


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts()
    try:
        yield made
    finally:
        made.close()


def start(hosts: Hosts, drive: Drive, engine: str, *, seconds: float, spare: str | None = None) -> Stream:
    """A stream on its way through ada, bea and ada, and perhaps a spare for a role."""
    for name, role in ROLES.items():
        hosts.worker(name, role, engine=engine)
    if spare is not None:
        hosts.worker("spare", spare, engine=engine)
    ada, bea = rather(FIRST, "ada"), rather(MIDDLE, "bea")
    text = manifest(LINE, ada, bea, ada, seconds=seconds)
    stream = drive(text, hosts.invite, engine=engine, within=hosts.within("driver"))
    stream.reaches(EARLY)
    return stream


@pytest.mark.parametrize("engine", [pytest.param("aiortc", marks=pytest.mark.long), "wrtc"])
@pytest.mark.parametrize("pair", [PAIRS[0], pytest.param(PAIRS[1], marks=pytest.mark.long)])
@pytest.mark.parametrize("heals_after_s", [3, pytest.param(10, marks=pytest.mark.long)])
def test_a_cut_that_heals(
    hosts: Hosts, drive: Drive, outcomes: Outcomes, engine: str, pair: tuple[str, str], heals_after_s: float
) -> None:
    """Twenty seconds. Nobody can take over; three seconds after the cut has healed items flow again."""
    stream = start(hosts, drive, engine, seconds=0.01)
    hosts.cut(*pair)
    at = time.monotonic()
    time.sleep(heals_after_s)
    hosts.heal(pair[0])
    outcome = stream.outcome(LINE, since=time.monotonic())
    assert stream.stall_s(at) > heals_after_s / 2  # it was cut indeed
    outcomes[f"{' and '.join(pair)} cut for {heals_after_s} s", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < 3


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("pair", "role"), [(PAIRS[0], "first"), (PAIRS[1], "middle")])
@pytest.mark.parametrize("heals_after_s", [40, None])
def test_a_long_cut_with_a_spare(
    hosts: Hosts,
    drive: Drive,
    outcomes: Outcomes,
    engine: str,
    pair: tuple[str, str],
    role: str,
    heals_after_s: float | None,
) -> None:
    """A minute each. The run moves to the spare."""
    stream = start(hosts, drive, engine, seconds=0.05, spare=role)
    hosts.cut(*pair)
    at = time.monotonic()
    if heals_after_s is not None:
        time.sleep(heals_after_s)
        hosts.heal(pair[0])
    outcome = stream.outcome(LINE, since=at, within_s=120)
    ends = "for good" if heals_after_s is None else f"for {heals_after_s} s"
    outcomes[f"{' and '.join(pair)} cut {ends}, with a spare", engine].append(outcome)
    assert outcome.identical
    assert outcome.stall_s < SUSPECT_AFTER_S + RESUME_TIMEOUT_S + 10
    assert len(outcome.receipt["epochs"]) >= 2


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_cut_for_good_without_a_spare(hosts: Hosts, drive: Drive, engine: str, pair: tuple[str, str]) -> None:
    """Fifty seconds. The run ends, and names the peer that it cannot reach."""
    stream = start(hosts, drive, engine, seconds=0.01)
    hosts.cut(*pair)
    assert stream.ends(within_s=REPLACEMENT_TIMEOUT_S + RESUME_TIMEOUT_S + 30) == 1
    assert any(name in stream.said() for name in pair if name != "driver")
    assert stream.values == undisturbed(LINE)[: len(stream.values)]
