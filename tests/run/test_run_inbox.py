"""The receiving end of edges (docs/wire.md, 4): what is refused, what is joined, what credit is owed."""

from contextlib import suppress
from random import Random

import pytest
from places import DRIVER, line, placed

import mesh.run.inbox
from mesh.errors import ProtocolError
from mesh.manifest.graph import Edge, Graph
from mesh.run.events import Flag, Frame
from mesh.run.inbox import Gather, Port
from mesh.run.placement import Placement
from mesh.values import decode, encode

END, FINAL, FAILED, DROPPED = Flag.END, Flag.FINAL, Flag.FAILED, Flag.DROPPED


def gather(*ports: str, lists: str = "", optional: str = "") -> Gather:
    """A join with an edge for each port, numbered from 0."""
    edges = {number: Edge(None, None, port, port in lists) for number, port in enumerate(ports)}
    placement = Placement(Graph((), tuple(edges.values()), ()), DRIVER, [])
    ends = [Port(placement, number, placement.seat(None, 0)) for number in edges]
    return Gather(edges, ends, optional=frozenset(optional))


def single() -> Port:
    """A sink's edge, number 0, at the driver."""
    placement = Placement(Graph((), (Edge(None, None, ""),), ()), DRIVER, [])
    return Port(placement, 0, placement.seat(None, 0), credit_bytes=1000)


def payload(inbox: Gather) -> object:
    head = inbox.head()
    assert head is not None
    return None if head.payload is None else decode(head.payload)


def test_any_frames_are_taken_in_order_or_refused_and_forgotten() -> None:
    random = Random(1)
    for _ in range(200):
        port, taken = single(), []
        for _ in range(50):
            size = random.choice((None, 0, 10, 900))
            body = None if size is None else bytes(size)
            frame = Frame(0, random.randint(-1, 3), random.randint(-1, 3), random.randint(-1, 20), body)
            with suppress(ProtocolError):
                port.accept(frame)
                taken.append(frame)
        assert port.queued == len(taken)
        assert [port.consume() for _ in taken] == taken
        places = [(frame.seq, frame.part) for frame in taken]
        assert places == sorted(set(places))
        assert all(not frame.flags & FINAL for frame in taken if frame.seq < taken[-1].seq)


def test_credit_is_kept_together_while_there_is_more_to_consume() -> None:
    port = single()
    for seq in range(5):
        port.accept(Frame(0, seq, 0, END, bytes(36)))
    dues = []
    for _ in range(5):
        port.consume()
        dues.append(port.due())
    assert dues == [[], [], [(2, 300)], [], [(4, 200)]]


def test_the_map_of_a_join_has_the_order_of_its_edges_whatever_came_first() -> None:
    inbox = gather("b", "a", lists="a")
    inbox.accept(Frame(1, 0, 0, 0, encode(1)))
    inbox.accept(Frame(1, 0, 1, END, encode(2)))
    inbox.accept(Frame(0, 0, 0, END, encode(None)))
    assert list(payload(inbox).items()) == [("b", None), ("a", [1, 2])]


def test_only_the_seq_that_is_gathered_is_consumed() -> None:
    inbox = gather("a", "b")
    for seq in range(3):
        inbox.accept(Frame(0, seq, 0, END, encode(seq)))
    assert [inbox.ports[0].due(), inbox.ports[0].queued] == [[], 2]
    inbox.accept(Frame(1, 0, 0, END, encode("x")))
    inbox.done()
    assert inbox.ports[0].queued == 1


def test_the_strands_of_an_edge_are_merged_in_the_order_of_the_seqs_and_checked_each_for_itself() -> None:
    placement = placed(line(), {"a": ["p", "q", "r"]})
    port = Port(placement, 1, placement.seat(None, 0), credit_bytes=1000)
    for seq in (4, 1):
        with pytest.raises(ProtocolError, match="expected seq"):
            port.accept(Frame(1, seq + 3, 0, END, None))
        port.accept(Frame(1, seq, 0, END, None)) if seq == 1 else None
    port.accept(Frame(1, 4, 0, END, encode(4)))
    assert port.head() is None
    port.accept(Frame(1, 0, 0, END, None))
    assert [port.consume().seq for _ in range(2)] == [0, 1]
    assert port.head() is None
    assert port.due() == [(0, 64)]  # what waits of the other strand keeps back its credit
    port.accept(Frame(1, 2, 0, END, None))
    port.accept(Frame(1, 3, 0, END | FINAL, None))
    assert [port.consume().seq for _ in range(2)] == [2, 3]
    with pytest.raises(ProtocolError, match="final"):
        port.accept(Frame(1, 7, 0, END, None))


@pytest.mark.parametrize(("limit", "value"), [("MAX_JOIN_PARTS", 2), ("MAX_JOIN_BYTES", 20)])
def test_too_much_to_join_is_a_fault_of_that_seq_and_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(mesh.run.inbox, limit, value)
    inbox = gather("a", "b", lists="ab")
    for number in range(4):
        inbox.accept(Frame(0, 0, number, 0, encode("12345678")))
    inbox.accept(Frame(0, 0, 4, END, None))
    inbox.accept(Frame(1, 0, 0, END, encode(1)))
    head = inbox.head()
    assert head is not None
    assert (head.payload, head.port) == (None, "a")
    assert str(value) in head.fault
    inbox.done()
    inbox.accept(Frame(0, 1, 0, END, encode(1)))
    inbox.accept(Frame(1, 1, 0, END, encode(2)))
    assert payload(inbox) == {"a": [1], "b": [2]}


def test_a_seq_that_failed_is_not_also_faulty() -> None:
    inbox = gather("a", "b")
    inbox.accept(Frame(0, 0, 0, 0, encode(1)))
    inbox.accept(Frame(0, 0, 1, END, encode(2)))
    inbox.accept(Frame(1, 0, 0, END | FAILED, None))
    head = inbox.head()
    assert head is not None
    assert (head.fault, head.payload, head.flags) == ("", None, END | FAILED)
