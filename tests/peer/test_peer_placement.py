"""Plans that come from outside, and what they say of edges and peers."""

from typing import Any

import pytest

from mesh.errors import ProtocolError
from mesh.ids import NodeId, PeerId
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.peer.placement import Placement
from mesh.values import encode

A, B = NodeId("a"), NodeId("b")
DRIVER, ADA, BEA = PeerId("d" * 16), PeerId("a" * 16), PeerId("b" * 16)
GRAPH = Graph(
    nodes=tuple(GraphNode(node, "PassThrough", encode({})) for node in (A, B)),
    edges=(Edge(A, B, ""), Edge(None, A, ""), Edge(B, None, "b")),
    order=(A, B),
)


def plan(a: str = ADA, b: str = BEA) -> dict[str, Any]:
    nodes = {
        node: {"on": [{"peer": peer, "runtime": "wasm"}], "share": "modulo"} for node, peer in (("a", a), ("b", b))
    }
    return {"epoch": 1, "steps": [{"from_seq": 0, "nodes": nodes}]}


def test_the_ends_of_an_edge_are_the_places_of_its_nodes_and_the_driver() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, plan())
    assert [placement.source(edge) for edge in range(3)] == [ADA, DRIVER, BEA]
    assert [placement.target(edge) for edge in range(3)] == [BEA, ADA, DRIVER]


def test_neighbours_are_the_other_workers_at_ones_edges() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, plan())
    assert placement.neighbours(ADA) == {BEA}
    assert placement.neighbours(BEA) == {ADA}
    assert Placement.from_plan(GRAPH, DRIVER, plan(b=DRIVER)).neighbours(ADA) == set()


def test_a_fragment_is_what_a_peer_runs() -> None:
    placement = Placement.from_plan(GRAPH, DRIVER, plan(b=ADA))
    assert placement.runtimes_on(ADA) == {A: "wasm", B: "wasm"}
    assert placement.runtimes_on(BEA) == {}
    assert placement.peers() == {ADA}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        {},
        {"steps": []},
        {"steps": [{"from_seq": 1, "nodes": plan()["steps"][0]["nodes"]}]},
        {"steps": [{"from_seq": 0, "nodes": {}}]},
        {"steps": [{"from_seq": True, "nodes": plan()["steps"][0]["nodes"]}]},
        {"steps": [{"from_seq": 0, "nodes": {"a": {"on": []}, "b": {"on": []}}}]},
        {"steps": [{"from_seq": 0, "nodes": {"a": {"on": [{"peer": ADA, "runtime": "perl"}]}, "b": {"on": []}}}]},
    ],
)
def test_what_is_no_plan_is_refused(wrong: object) -> None:
    with pytest.raises(ProtocolError, match="not a plan"):
        Placement.from_plan(GRAPH, DRIVER, wrong)
