"""Whom a driver links to beside its workers."""

from typing import Any

from mesh.ids import NodeId, PeerId
from mesh.limits import MAX_SPARE_LINKS
from mesh.peer.driving.spares import spares


def why(**nodes: str) -> dict[NodeId, list[dict[str, Any]]]:
    """``a=ADA bea -cy``: cy lacks something."""
    return {
        NodeId(node): [{"peer": name.lstrip("-"), "lacks": ["gpu"] if name[0] == "-" else []} for name in names.split()]
        for node, names in nodes.items()
    }


def test_every_peer_that_fits_a_node_once_and_the_best_of_each_node_first() -> None:
    plan = why(a="ada bea cy", b="ada dan bea", c="-eve fay")
    assert spares(plan, workers=[PeerId("ada")]) == ["bea", "dan", "fay", "cy"]


def test_at_most_so_many() -> None:
    plan = why(a=" ".join(f"p{number}" for number in range(100)))
    assert spares(plan, workers=[PeerId("p0")]) == [f"p{number}" for number in range(1, MAX_SPARE_LINKS + 1)]
