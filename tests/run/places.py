"""Placements for tests: each node on the peers that are listed."""

from collections.abc import Mapping, Sequence

from mesh.ids import PeerId
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.run.placement import Placement, Seat

HERE, DRIVER = PeerId("here"), PeerId("driver")


def placed(graph: Graph, places: Mapping[str, Sequence[str]] | None = None) -> Placement:
    """``places`` lists the peers of a node; the others have one place, here."""
    nodes = {
        node.id: {"on": [{"peer": peer, "runtime": "python"} for peer in (places or {}).get(node.id, [HERE])]}
        for node in graph.nodes
    }
    return Placement.from_plan(graph, DRIVER, {"steps": [{"from_seq": 0, "nodes": nodes}]})


def line(**fields: object) -> Graph:
    """One node ``a``, with source edge 0 and sink edge 1."""
    node = GraphNode("a", "T", b"", **fields)
    return Graph((node,), (Edge(None, node.id, ""), Edge(node.id, None, node.id)), (node.id,))


def only_seat(placement: Placement, node: str = "a") -> Seat:
    (seat,) = (seat for seat in placement.seats() if seat.node == node)
    return seat
