"""Seqs are given up at random moments, amid losses and moves: the others come out as if nothing had been."""

from random import Random

import pytest
from imagined_nodes import random_graph
from reference_run import Reference
from simulated_run import Simulation

import mesh.run.journal
import mesh.run.retention
from mesh.run.execution import State
from mesh.values import encode


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh.run.journal, "SNAPSHOT_EVERY", 3)
    monkeypatch.setattr(mesh.run.retention, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(mesh.run.retention, "RUN_WINDOW_SEQS", 10)


def cancelled(random: Random, *, plain: bool, disturbed: bool) -> tuple[Simulation, list[bytes], Reference]:
    graph = random_graph(random, wrong=random.randint(0, 10), plain=plain)
    items = [encode(random.randbytes(random.choice((1, 9, 400)))) for _ in range(random.randint(5, 40))]
    times = [random.choice((10, 100, 400)) for _ in range(random.randint(1, 3))]
    run = Simulation(
        graph,
        items,
        random,
        stop=False,
        credit_bytes=random.choice((200, 700, 1 << 20)),
        crashes=times if disturbed else (),
        moves=times if disturbed else (),
        cancels=random.choice((0.002, 0.02, 0.2)),
    )
    run.run()
    return run, items, Reference(graph)


def assert_counts_add_up(run: Simulation, items: list[bytes]) -> None:
    counts = run.driver.counts
    assert counts.items_in == len(items)
    assert counts.done + counts.filtered + counts.failed + counts.cancelled == len(items)
    assert counts.cancelled == len(run.cancelled)
    assert counts.results_out == len(run.results)


def assert_nothing_left(run: Simulation) -> None:
    for fragment in run.fragments.values():
        assert not any(fragment.queued().values())
        assert not any(amount for edge, amount in fragment.outstanding().items() if edge not in run.sink_edges)
    assert not any(run.driver.outstanding().values())


@pytest.mark.parametrize("seed", range(120))
def test_the_others_come_out_as_ever(seed: int) -> None:
    run, items, reference = cancelled(Random(seed), plain=True, disturbed=seed % 2 == 1)
    expected = reference.run(items, stop=False)
    assert run.finished is not None
    assert run.finished.status == "done"
    others = [result for result in run.results if result[0] not in run.cancelled]
    assert others == [result for result in expected.results if result[0] not in run.cancelled]
    for seq in run.cancelled:
        came = [result for result in run.results if result[0] == seq]
        assert came == [result for result in expected.results if result[0] == seq][: len(came)]
    assert {seq for seq, _ in run.failures} == {seq for seq, _ in expected.failures} - run.cancelled
    assert_counts_add_up(run, items)
    assert_nothing_left(run)


@pytest.mark.parametrize("seed", range(300, 380))
def test_nodes_with_state_live_through_it(seed: int) -> None:
    """They may have seen what was given up, so only the numbers are known."""
    run, items, _ = cancelled(Random(seed), plain=False, disturbed=seed % 2 == 1)
    assert run.finished is not None
    places = [(seq, part) for seq, part, _ in run.results]
    assert places == sorted(set(places))
    if run.finished.status == "done":
        assert_counts_add_up(run, items)
        assert_nothing_left(run)
        states = {state for fragment in run.fragments.values() for state in fragment.states().values()}
        assert State.RUNNING not in states


def test_calls_are_given_up_often_enough() -> None:
    assert sum(len(cancelled(Random(seed), plain=True, disturbed=False)[0].cancelled) for seed in range(40)) > 100
