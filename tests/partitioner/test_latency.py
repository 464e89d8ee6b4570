"""The simulated way of one item, against times worked out by hand."""

import pytest

from mesh.ids import NodeId
from mesh.partitioner.latency import DRIVER_END, Problem, Seat, Wire, latency_ms
from mesh.partitioner.search import search


def problem(costs, wires, *, slots=(1, 1), link=(10.0, 1.0)):
    """``costs[node][peer]`` in ms; every link takes ``link[0]`` one way and ``link[1]`` a byte; peer 0 drives."""
    return Problem(
        nodes=tuple(NodeId(str(index)) for index in range(len(costs))),
        seats=tuple(tuple(Seat(peer, "python", ms) for peer, ms in enumerate(each)) for each in costs),
        wires=tuple(Wire(*wire) for wire in wires),
        slots=slots,
        link=lambda a, b: link,
        driver=0,
        overhead_ms=0.0,
    )


def at(case, *peers):
    return latency_ms(case, [seats[peer] for seats, peer in zip(case.seats, peers, strict=True)])


def test_a_chain_adds_up():
    case = problem([[3, 1], [5, 2]], [(0, 1, 4), (DRIVER_END, 0, 1), (1, DRIVER_END, 2)])
    assert at(case, 0, 0) == 8
    assert at(case, 0, 1) == 3 + (4 + 10) + 2 + (2 + 10)
    assert at(case, 1, 1) == (1 + 10) + 1 + 2 + (2 + 10)


def diamond(**options):
    wires = [(0, 1, 2), (0, 2, 2), (1, 3, 1), (2, 3, 1), (DRIVER_END, 0, 0), (3, DRIVER_END, 0)]
    return problem([[1, 1], [4, 4], [4, 4], [1, 1]], wires, **options)


def test_branches_share_a_processor_or_run_side_by_side():
    assert at(diamond(), 0, 0, 0, 0) == 10
    assert at(diamond(slots=(2, 1)), 0, 0, 0, 0) == 6
    assert at(diamond(link=(0.5, 0.5)), 0, 0, 1, 0) == 1 + (1 + 0.5) + 4 + (0.5 + 0.5) + 1


def test_messages_queue_on_a_link():
    case = diamond(slots=(2, 2), link=(1.0, 1.0))
    assert at(case, 0, 1, 1, 0) == 1 + 4 + 1 + 4 + 1 + 1 + 1  # the second branch starts two bytes later than the first


def test_a_runtime_that_must_load_holds_the_node_back():
    case = problem([[1]], [(DRIVER_END, 0, 0), (0, DRIVER_END, 0)])
    assert latency_ms(case, [Seat(0, "pyodide", 1.0, startup_ms=2500.0)]) == 2501


def test_queueing_adds_to_the_node():
    case = problem([[1]], [(DRIVER_END, 0, 0), (0, DRIVER_END, 0)])
    assert latency_ms(case, [Seat(0, "python", 1.0, queue_ms=3.0)]) == pytest.approx(4.0)


@pytest.mark.parametrize("ways", [(0.1, 0.0), (5.0, 0.0), (50.0, 0.0)])
def test_the_search_finds_the_best_of_all_placements_of_small_graphs(ways):
    costs = [[9, 2, 4], [9, 9, 1], [1, 8, 8], [6, 1, 3]]
    wires = [(0, 1, 3), (0, 2, 1), (1, 3, 2), (2, 3, 1), (DRIVER_END, 0, 1), (3, DRIVER_END, 1)]
    case = problem(costs, wires, slots=(1, 1, 2), link=ways)
    best = min(at(case, a, b, c, d) for a in range(3) for b in range(3) for c in range(3) for d in range(3))
    assert latency_ms(case, search(case)) == best


def test_a_thousand_nodes_are_planned_within_the_budget():
    size = 1000
    wires = [(index, index + 1, 8) for index in range(size - 1)] + [(DRIVER_END, 0, 8), (size - 1, DRIVER_END, 8)]
    case = problem([[1.0, 0.5]] * size, wires)
    assert latency_ms(case, search(case)) == pytest.approx(size * 0.5 + 2 * (8 + 10))
