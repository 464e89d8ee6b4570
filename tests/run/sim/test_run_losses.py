"""Random pipelines, parts of which are lost at random moments, come to what they come to undisturbed."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from imagined_nodes import random_graph
from reference_run import Expected, Reference
from simulated_run import Simulation

import mesh.run.journal
import mesh.run.retention
from mesh.limits import POISON_DEATHS
from mesh.manifest.graph import Graph
from mesh.values import encode

SEEDS = 400


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh.run.journal, "SNAPSHOT_EVERY", 3)
    monkeypatch.setattr(mesh.run.retention, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(mesh.run.retention, "RUN_WINDOW_SEQS", 10)


def disturbed(random: Random, graph: Graph, *, stop: bool = False) -> tuple[Simulation, list[bytes]]:
    items = drawn_items(random)
    crashes = [random.choice((1, 10, 100, 400)) for _ in range(random.randint(1, 5))]
    credit = random.choice((200, 700, 1 << 20))
    return Simulation(graph, items, random, stop=stop, credit_bytes=credit, crashes=crashes), items


def drawn_items(random: Random) -> list[bytes]:
    return [encode(random.randbytes(random.choice((1, 9, 400)))) for _ in range(random.randint(1, 40))]


def assert_counts_add_up(run: Simulation, items: list[bytes]) -> None:
    counts = run.driver.counts
    assert counts.items_in == len(items)
    assert counts.done + counts.filtered + counts.failed + counts.dropped == len(items)
    assert counts.results_out == len(run.results)
    assert counts.replayed == run.replayed
    assert max(Counter(run.failures).values(), default=1) == 1


def by_seq(expected: Expected, seq: int) -> tuple[list[tuple[int, bytes]], bool]:
    parts = [(part, payload) for each, part, payload in expected.results if each == seq]
    return parts, any(each == seq for each, _ in expected.failures)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_losses_change_nothing_in_the_output(seed: int) -> None:
    random = Random(seed)
    graph = random_graph(random, wrong=seed % 20)
    run, items = disturbed(random, graph)
    run.run()
    expected = Reference(graph).run(items, stop=False)
    assert run.results == expected.results[: len(run.results)]
    assert set(run.failures) <= expected.failures
    assert run.finished is not None
    if any(node.stateful and not node.snapshots for node in graph.nodes):
        assert run.epoch == 1  # its state is lost with its peer, so the run may only end
        return
    assert run.finished.status == "done"
    assert run.results == expected.results
    assert {seq for seq, _ in run.failures} == {seq for seq, _ in expected.failures}
    assert_counts_add_up(run, items)


@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 100))
def test_losses_change_nothing_before_the_first_failure_that_stops(seed: int) -> None:
    random = Random(seed)
    graph = random_graph(random, wrong=5)
    run, items = disturbed(random, graph, stop=True)
    run.run()
    expected = Reference(graph).run(items, stop=True)
    assert run.finished is not None
    if run.finished.reason:  # a loss that cannot be made good
        assert run.results == expected.results[: len(run.results)]
    else:
        assert run.results == expected.results
        assert (run.finished.status == "failed") == bool(expected.failures)


@pytest.mark.parametrize("seed", range(SEEDS + 100, SEEDS + 400))
def test_what_differs_between_executions_comes_from_one_of_them(seed: int) -> None:
    random = Random(seed)
    graph = random_graph(random, wrong=seed % 10, differing=0.5)
    run, items = disturbed(random, graph)
    run.run()
    executions = [Reference(graph, epoch).run(items, stop=False) for epoch in range(1, run.epoch + 1)]
    failed = {seq for seq, _ in run.failures}
    assert [(seq, part) for seq, part, _ in run.results] == sorted((seq, part) for seq, part, _ in run.results)
    for seq in range(len(items) + 1):
        came = [(part, payload) for each, part, payload in run.results if each == seq]
        assert (came, seq in failed) in [by_seq(each, seq) for each in executions]
    assert_counts_add_up(run, items)


@pytest.mark.parametrize("seed", range(SEEDS + 400, SEEDS + 500))
def test_dropping_edges_survive_losses(seed: int) -> None:
    random = Random(seed)
    graph = random_graph(random, wrong=seed % 20, drops=True)
    run, items = disturbed(random, graph)
    run.run()
    expected = Reference(graph).run(items, stop=False)
    assert run.finished is not None
    assert run.finished.status == "done"
    places = [(seq, part) for seq, part, _ in run.results]
    assert places == sorted(set(places))
    assert set(run.failures) <= expected.failures
    assert_counts_add_up(run, items)


@pytest.mark.parametrize("seed", range(SEEDS + 500, SEEDS + 700))
def test_an_item_that_peers_die_of_fails_and_no_other_does(seed: int) -> None:
    random = Random(seed)
    graph = random_graph(random, wrong=0)
    graph = replace(graph, nodes=tuple(replace(node, snapshots=node.stateful) for node in graph.nodes))
    items = drawn_items(random)
    undisturbed = Reference(graph)
    expected = undisturbed.run(items, stop=False)
    poison = random.choice(undisturbed.calls)
    crashes = [random.choice((10, 100, 400)) for _ in range(random.randint(0, 2))]  # of peers that do not die of it
    credit = random.choice((200, 700, 1 << 20))
    run = Simulation(graph, items, random, stop=False, credit_bytes=credit, crashes=crashes, poison=poison)
    run.run()
    condemned = Reference(graph).run(items, stop=False, condemned=poison)
    assert run.finished is not None
    assert run.finished.status == "done"
    assert {seq for seq, _ in run.failures} == {seq for seq, _ in condemned.failures}
    of_it = [each for each in run.results if each[0] == poison[0]]  # it may have made parts before it killed
    assert of_it == [each for each in expected.results if each[0] == poison[0]][: len(of_it)]
    assert [each for each in run.results if each not in of_it] == condemned.results
    assert run.epoch <= 1 + 1 + POISON_DEATHS + len(crashes)
