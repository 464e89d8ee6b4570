"""Nodes that are moved while the run goes on: nothing is replayed, and nothing changes in what comes out."""

from random import Random

import pytest
from imagined_nodes import random_graph
from reference_run import Reference
from simulated_run import Simulation

import mesh.run.journal
import mesh.run.retention
from mesh.values import encode

SEEDS = 200


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh.run.journal, "SNAPSHOT_EVERY", 3)
    monkeypatch.setattr(mesh.run.retention, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(mesh.run.retention, "RUN_WINDOW_SEQS", 10)


def moved(
    seed: int, *, crashes: int = 0, drops: bool = False, differing: float = 0.0
) -> tuple[Simulation, Reference, list[bytes]]:
    random = Random(seed)
    graph = random_graph(random, wrong=seed % 20, drops=drops, differing=differing)
    items = [encode(random.randbytes(random.choice((1, 9, 400)))) for _ in range(random.randint(5, 40))]
    run = Simulation(
        graph,
        items,
        random,
        stop=False,
        credit_bytes=random.choice((200, 700, 1 << 20)),
        moves=[random.choice((1, 10, 60)) for _ in range(6)],
        crashes=[random.choice((10, 100, 400)) for _ in range(crashes)],
    )
    run.run()
    return run, Reference(graph), items


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_move_changes_nothing_in_the_output_and_replays_nothing(seed: int) -> None:
    run, reference, items = moved(seed)
    expected = reference.run(items, stop=False)
    assert run.finished is not None
    assert run.replayed == 0 or run.epoch > 1  # a state that could not be handed over is a loss
    if expected.lost or run.finished.status == "failed":
        assert run.results == expected.results[: len(run.results)]
        assert expected.lost or run.finished.reason
        return
    assert run.results == expected.results
    assert {seq for seq, _ in run.failures} == {seq for seq, _ in expected.failures}
    assert (run.driver.counts.done, run.driver.counts.failed) == (expected.done, expected.failed)


def test_most_runs_are_moved_several_times() -> None:
    counts = [moved(seed)[0].moved for seed in range(40)]
    assert sum(counts) > 80


@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 150))
def test_a_loss_amid_a_move_is_a_new_epoch(seed: int) -> None:
    run, reference, items = moved(seed, crashes=3)
    expected = reference.run(items, stop=False)
    assert run.finished is not None
    assert run.results == expected.results[: len(run.results)]
    if run.finished.status == "done":
        assert run.results == expected.results
        assert run.driver.counts.replayed == run.replayed


@pytest.mark.parametrize("seed", range(SEEDS + 150, SEEDS + 200))
def test_edges_that_drop_are_moved_too(seed: int) -> None:
    run, _, items = moved(seed, drops=True)
    assert run.finished is not None
    assert run.finished.status == "done"
    counts = run.driver.counts
    assert counts.done + counts.filtered + counts.failed + counts.dropped == len(items)
    assert run.replayed == 0
