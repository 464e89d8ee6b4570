"""A fragment beyond the shared traces: bounds, and what a person can see of it."""

from itertools import pairwise

import pytest
from places import HERE, line, only_seat, placed

import mesh.run.journal
from mesh.ids import NodeId
from mesh.limits import EDGE_CREDIT_BYTES, MAX_CAUSE_CHARS, SNAPSHOT_EVERY_BYTES
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.run.events import Call, Emit, Flag, Frame, Instruction, Recreate, ReportError
from mesh.run.execution import State
from mesh.run.fragment import Fragment

A = NodeId("a")


class One(Fragment):
    """One node, source edge 0 and sink edge 1; ``a`` is its seat."""

    def __init__(self, *, credit_bytes: int = EDGE_CREDIT_BYTES, **fields: object) -> None:
        graph = line(**fields)
        placement = placed(graph)
        self.a = only_seat(placement)
        super().__init__(graph, placement, HERE, credit_bytes=credit_bytes)


def item(seq: int, payload: bytes = b"\x01") -> Frame:
    return Frame(0, seq, 0, Flag.END, payload)


def of(kind: type, instructions: list[Instruction]) -> list[Instruction]:
    return [each for each in instructions if isinstance(each, kind)]


def test_a_long_cause_is_cut() -> None:
    fragment = One()
    fragment.frame(item(0))
    (error,) = of(ReportError, fragment.failed(fragment.a, "raised", "x" * 2 * MAX_CAUSE_CHARS))
    assert isinstance(error, ReportError)
    assert len(error.cause) == MAX_CAUSE_CHARS


def test_one_call_at_a_time_and_the_rest_waits_where_it_can_be_counted() -> None:
    fragment = One()
    assert of(Call, fragment.frame(item(0)))
    assert not of(Call, fragment.frame(item(1)))
    assert fragment.queued() == {A: 2}
    assert fragment.states() == {fragment.a: State.RUNNING}


def test_a_snapshot_is_made_after_many_bytes_too() -> None:
    fragment = One(stateful=True, snapshots=True)
    fragment.frame(item(0, bytes(SNAPSHOT_EVERY_BYTES)))
    assert Call(fragment.a, "snapshot") in fragment.answered(fragment.a, [b"\x01"], False)


def test_a_snapshot_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh.run.journal, "MAX_SNAPSHOT_BYTES", 10)
    monkeypatch.setattr(mesh.run.journal, "SNAPSHOT_EVERY", 1)
    fragment = One(stateful=True, snapshots=True)
    fragment.frame(item(0))
    fragment.answered(fragment.a, [b"\x01"], False)
    fragment.snapshotted(fragment.a, bytes(11))
    fragment.frame(item(1))
    assert not of(Recreate, fragment.failed(fragment.a, "trapped", "unreachable"))
    (error,) = of(ReportError, fragment.frame(item(2)))
    assert isinstance(error, ReportError)
    assert error.kind == "lost"
    assert "11 bytes" in error.cause


def test_a_good_snapshot_after_a_failed_one_makes_the_node_safe_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh.run.journal, "SNAPSHOT_EVERY", 1)
    fragment = One(stateful=True, snapshots=True)
    fragment.frame(item(0))
    fragment.answered(fragment.a, [b"\x01"], False)
    fragment.failed(fragment.a, "raised", "not now")
    fragment.frame(item(1))
    assert Call(fragment.a, "snapshot") in fragment.answered(fragment.a, [b"\x01"], False)
    fragment.snapshotted(fragment.a, b"state")
    fragment.frame(item(2))
    assert of(Recreate, fragment.failed(fragment.a, "trapped", "unreachable"))
    assert fragment.recreated(fragment.a) == [Call(fragment.a, "restore", b"state")]


def test_a_node_that_is_lost_making_a_snapshot_cannot_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh.run.journal, "SNAPSHOT_EVERY", 1)
    fragment = One(stateful=True, snapshots=True)
    fragment.frame(item(0))
    fragment.answered(fragment.a, [b"\x01"], False)
    assert fragment.failed(fragment.a, "crashed", "exit 1") == []
    assert fragment.states() == {fragment.a: State.BROKEN}
    (error,) = of(ReportError, fragment.frame(item(1)))
    assert isinstance(error, ReportError)
    assert (error.seq, error.kind) == (1, "lost")


def test_a_generator_that_never_ends_holds_no_more_than_its_credit() -> None:
    fragment = One(arity="many", credit_bytes=1000)
    instructions, sent = fragment.frame(item(0)), 0
    while of(Call, instructions):
        instructions = fragment.answered(fragment.a, [bytes(36)] * 3, True)
        sent += len(of(Emit, instructions))
    assert sent == 10
    assert fragment.outstanding()[1] <= 1000 + 3 * 100
    assert fragment.states() == {fragment.a: State.HOLDING}


def test_a_long_chain_of_filtered_seqs_does_not_recurse() -> None:
    names = [NodeId(f"n{number}") for number in range(1000)]
    chain = [Edge(source, target, "") for source, target in pairwise(names)]
    edges = (*chain, Edge(None, names[0], ""), Edge(names[-1], None, names[-1]))
    graph = Graph(tuple(GraphNode(name, "T", b"") for name in names), edges, tuple(names))
    fragment = Fragment(graph, placed(graph), HERE)
    emitted = of(Emit, fragment.frame(Frame(len(chain), 0, 0, Flag.END, None)))
    assert emitted == [Emit(Frame(len(chain) + 1, 0, 0, Flag.END, None))]


def test_answers_that_nobody_asked_for_are_an_error_of_the_caller() -> None:
    fragment = One()
    with pytest.raises(RuntimeError, match="READY"):
        fragment.answered(fragment.a, [b"\x01"], False)
