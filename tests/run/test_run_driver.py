"""The driver's end of a run beyond the shared traces: the window, and errors of the caller."""

import pytest
from places import line, placed

from mesh.ids import NodeId
from mesh.limits import EDGE_CREDIT_BYTES, RUN_WINDOW_BYTES, RUN_WINDOW_SEQS
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.run.driver import Driver
from mesh.run.events import Flag, Frame
from mesh.run.outbox import cost
from mesh.run.outcome import Finished, Result, SeqFailed

A = NodeId("a")
GRAPH = line()


def admit_all(driver: Driver, payload: bytes) -> int:
    """Admits, and gives the credit back at once, until the window is full."""
    count = 0
    while driver.can_admit():
        driver.admit(payload)
        driver.credit(0, count, cost(Frame(0, count, 0, Flag.END, payload)))
        count += 1
    return count


def test_at_most_so_many_seqs_are_in_flight() -> None:
    driver = Driver(GRAPH, placed(GRAPH))
    assert admit_all(driver, b"\x01") == RUN_WINDOW_SEQS
    driver.frame(Frame(1, 0, 0, Flag.END, None))
    assert driver.can_admit()


def test_at_most_so_many_bytes_are_in_flight_but_for_the_last_item() -> None:
    driver = Driver(GRAPH, placed(GRAPH))
    assert admit_all(driver, bytes(RUN_WINDOW_BYTES // 2)) == 2
    driver.frame(Frame(1, 0, 0, Flag.END, None))
    assert driver.can_admit()


def test_an_item_larger_than_everything_goes_alone() -> None:
    driver = Driver(GRAPH, placed(GRAPH))
    assert len(driver.admit(bytes(RUN_WINDOW_BYTES + EDGE_CREDIT_BYTES))) == 1
    assert not driver.can_admit()


def test_a_result_that_is_not_taken_holds_the_credit_of_its_edge() -> None:
    driver = Driver(GRAPH, placed(GRAPH))
    driver.admit(b"\x01")
    driver.admit(b"\x02")
    assert driver.frame(Frame(1, 0, 0, Flag.END, b"\x0a")) == [Result(0, 0, b"\x0a")]
    assert driver.frame(Frame(1, 1, 0, Flag.END, b"\x0b")) == []
    assert driver.taken()[0] == Result(1, 0, b"\x0b")


def test_with_stop_no_further_item_is_admitted_after_an_error() -> None:
    driver = Driver(GRAPH, placed(GRAPH))
    driver.admit(b"\x01")
    driver.error(A, 0, "raised", "no", "gpu-1")
    assert not driver.can_admit()


def test_a_second_failure_of_a_seq_is_told_though_its_turn_has_passed() -> None:
    b = NodeId("b")
    edges = (Edge(None, A, ""), Edge(None, b, ""), Edge(A, None, A), Edge(b, None, b))
    graph = Graph((GraphNode(A, "T", b""), GraphNode(b, "T", b"")), edges, (A, b))
    driver = Driver(graph, placed(graph), on_error="continue")
    driver.admit(b"\x01")
    driver.frame(Frame(2, 0, 0, Flag.END | Flag.FAILED, None))
    driver.frame(Frame(3, 0, 0, Flag.END | Flag.FAILED, None))
    (first, *_) = driver.error(A, 0, "raised", "no", "gpu-1")
    (second,) = driver.error(b, 0, "raised", "nor here", "gpu-1")
    assert isinstance(first, SeqFailed)
    assert isinstance(second, SeqFailed)
    assert driver.counts.failed == 1


def test_after_the_end_nothing_happens() -> None:
    driver = Driver(GRAPH, placed(GRAPH))
    driver.admit(b"\x01")
    driver.frame(Frame(1, 0, 0, 0, b"\x0a"))
    assert driver.fail("gpu-1 was lost") == [Finished("failed", None, "gpu-1 was lost")]
    assert driver.taken() == []
    assert driver.frame(Frame(1, 0, 1, Flag.END, None)) == []
    assert driver.error(A, 0, "raised", "no", "gpu-1") == []
    assert driver.finish_input() == []
    assert not driver.can_admit()


def test_errors_of_the_caller_are_said_at_once() -> None:
    driver = Driver(GRAPH, placed(GRAPH))
    driver.finish_input()
    with pytest.raises(RuntimeError, match="can_admit"):
        driver.admit(b"\x01")
    with pytest.raises(RuntimeError, match="no result"):
        driver.taken()
