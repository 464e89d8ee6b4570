"""Random pipelines on random peers, in random order, come to what the reference says; every seed is one run."""

from random import Random

import pytest
from imagined_nodes import random_graph
from reference_run import Reference
from simulated_run import Simulation

import mesh.run.journal
from mesh.run.execution import State
from mesh.values import encode

SEEDS = 400


@pytest.fixture(autouse=True)
def snapshots_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh.run.journal, "SNAPSHOT_EVERY", 3)


def simulation(
    random: Random, *, stop: bool, wrong: int, drops: bool = False
) -> tuple[Simulation, Reference, list[bytes]]:
    graph = random_graph(random, wrong=wrong, drops=drops)
    items = [encode(random.randbytes(random.choice((1, 9, 400)))) for _ in range(random.randint(0, 30))]
    credit = random.choice((200, 700, 1 << 20))
    return Simulation(graph, items, random, stop=stop, credit_bytes=credit), Reference(graph), items


def assert_nothing_left(run: Simulation) -> None:
    """Who got the last seq has ended, nothing waits, all credit came back (but the driver's last: nobody needs it)."""
    last = run.driver.counts.items_in
    for peer, fragment in run.fragments.items():
        for seat, state in fragment.states().items():
            assert state is (State.ENDED if run.placements[peer].seat(seat.node, last) is seat else State.READY)
        assert not any(fragment.queued().values())
        assert not any(amount for edge, amount in fragment.outstanding().items() if edge not in run.sink_edges)
    assert not any(run.driver.outstanding().values())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_results_and_failures_are_those_of_the_reference(seed: int) -> None:
    run, reference, items = simulation(Random(seed), stop=False, wrong=seed % 30)
    run.run()
    expected = reference.run(items, stop=False)
    assert run.results[: len(expected.results)] == expected.results
    # where two nodes fail on one seq, the second is told unless the run was over before the driver heard of it
    assert {seq for seq, _ in run.failures} == {seq for seq, _ in expected.failures}
    assert set(run.failures) <= expected.failures
    assert run.finished is not None
    if expected.lost:
        assert run.finished.error is not None
        assert run.finished.error.kind == "lost"
        assert run.finished.error.node in expected.lost
        return
    assert len(run.results) == len(expected.results)
    counts = run.driver.counts
    assert (counts.items_in, counts.results_out) == (len(items), len(expected.results))
    assert (counts.done, counts.filtered, counts.failed) == (expected.done, expected.filtered, expected.failed)
    assert_nothing_left(run)


@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 100))
def test_stop_gives_the_results_before_the_first_failure_and_then_ends(seed: int) -> None:
    run, reference, items = simulation(Random(seed), stop=True, wrong=10)
    run.run()
    expected = reference.run(items, stop=True)
    assert run.results == expected.results
    assert run.finished is not None
    if expected.failures:
        assert run.finished.error is not None
        assert (run.finished.error.seq, run.finished.error.node) in expected.failures
    else:
        assert run.finished.status == "done"


@pytest.mark.parametrize("seed", range(SEEDS + 100, SEEDS + 200))
def test_dropping_edges_lose_whole_seqs_and_nothing_else(seed: int) -> None:
    run, reference, items = simulation(Random(seed), stop=False, wrong=seed % 20, drops=True)
    run.run()
    expected = reference.run(items, stop=False)
    assert run.finished is not None
    assert run.finished.status == "done"
    counts = run.driver.counts
    assert [seq for seq, _, _ in run.results] == sorted(seq for seq, _, _ in run.results)
    assert set(run.failures) <= expected.failures
    assert counts.done + counts.filtered + counts.failed + counts.dropped == len(items)
    if not any(fragment.dropped() for fragment in run.fragments.values()):
        assert run.results == expected.results
    assert_nothing_left(run)
