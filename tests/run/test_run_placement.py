"""Plans that come from outside, and what they say of edges and peers."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from mesh.errors import ProtocolError
from mesh.ids import NodeId, PeerId
from mesh.limits import MAX_REPLICAS
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.run.placement import Placement, first_of_both
from mesh.values import encode

A, B = NodeId("a"), NodeId("b")
DRIVER, ADA, BEA = PeerId("d" * 16), PeerId("a" * 16), PeerId("b" * 16)
GRAPH = Graph(
    nodes=tuple(GraphNode(node, "PassThrough", encode({})) for node in (A, B)),
    edges=(Edge(A, B, ""), Edge(None, A, ""), Edge(B, None, "b")),
    order=(A, B),
)


def step(a: str, b: str, since: int = 0) -> dict[str, Any]:
    """Each node on the peers whose initials are given."""
    peers = {peer[0]: peer for peer in (DRIVER, ADA, BEA)}
    on = {node: [{"peer": peers[each], "runtime": "wasm"} for each in where] for node, where in (("a", a), ("b", b))}
    return {"from_seq": since, "nodes": {node: {"on": seats, "share": "modulo"} for node, seats in on.items()}}


def plan(a: str = "a", b: str = "b") -> dict[str, Any]:
    return {"epoch": 1, "steps": [step(a, b)]}


def test_the_ends_of_an_edge_are_the_places_of_its_nodes_and_the_driver() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, plan())
    assert [placement.source(edge, 0).peer for edge in range(3)] == [ADA, DRIVER, BEA]
    assert [placement.target(edge, 0).peer for edge in range(3)] == [BEA, ADA, DRIVER]


def test_neighbours_are_the_other_workers_at_ones_edges() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, plan())
    assert placement.neighbours(ADA) == {BEA}
    assert placement.neighbours(BEA) == {ADA}
    assert Placement.from_plan(GRAPH, DRIVER, plan(b="d")).neighbours(ADA) == set()


def test_a_fragment_is_what_a_peer_runs() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, plan(b="a"))
    assert [(seat.node, seat.runtime) for seat in placement.seats(ADA)] == [(A, "wasm"), (B, "wasm")]
    assert placement.seats(BEA) == []
    assert placement.peers() == {ADA}


def test_the_seqs_of_a_node_with_several_places_go_round() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, plan("aba", "b"))
    assert "".join(placement.seat(A, seq).peer[0] for seq in range(7)) == "abaabaa"
    assert len({placement.seat(A, seq) for seq in range(7)}) == 3  # two instances on one peer


def test_who_shares_no_seq_are_no_neighbours() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, plan("abab", "ba"))
    assert placement.neighbours(ADA) == {BEA}
    assert Placement.from_plan(GRAPH, DRIVER, plan("ab", "ab")).neighbours(ADA) == set()


def test_a_later_step_makes_new_instances_of_what_moves_only() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, {"steps": [step("a", "b"), step("b", "b", 5)]})
    assert [placement.seat(A, seq).peer for seq in (4, 5)] == [ADA, BEA]
    assert placement.seat(B, 4) is placement.seat(B, 5)
    assert [placement.seat(A, 0).first(seq) for seq in (4, 5)] == [4, None]


def test_the_seqs_of_a_strand_are_those_that_both_ends_serve() -> None:
    random = Random(5)
    for _ in range(200):
        steps = [(since, "ab" * random.randint(1, 4), "ab" * random.randint(1, 4)) for since in (0, 7, 20)]
        placement = Placement.from_plan(GRAPH, DRIVER, {"steps": [step(a, b, since) for since, a, b in steps]})
        for one in (seat for seat in placement.seats() if seat.node == A):
            for other in (seat for seat in placement.seats() if seat.node == B):
                both = [seq for seq in range(60) if placement.seat(A, seq) is one and placement.seat(B, seq) is other]
                assert one.meets(other) or not both
                begin = random.randrange(20)
                expected = next((seq for seq in both if seq >= begin), None)
                if one.meets(other):
                    assert first_of_both(one, other, begin) == expected


def test_a_node_with_state_has_one_place() -> None:
    nodes = tuple(replace(node, stateful=True) for node in GRAPH.nodes)
    with pytest.raises(ProtocolError, match="'a' keeps state"):
        Placement.from_plan(replace(GRAPH, nodes=nodes), DRIVER, plan("ab", "b"))


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"steps": []},
        {"steps": [{"from_seq": 1, "nodes": plan()["steps"][0]["nodes"]}]},
        {"steps": [{"from_seq": 0, "nodes": {}}]},
        {"steps": [{"from_seq": True, "nodes": plan()["steps"][0]["nodes"]}]},
        {"steps": [step("", "")]},
        {"steps": [step("a" * (MAX_REPLICAS + 1), "b")]},
        {"steps": [{"from_seq": 0, "nodes": {"a": {"on": [{"peer": ADA, "runtime": "perl"}]}, "b": {"on": []}}}]},
    ],
)
def test_what_is_no_plan_is_refused(wrong: object) -> None:
    with pytest.raises(ProtocolError, match="not a plan"):
        Placement.from_plan(GRAPH, DRIVER, wrong)
