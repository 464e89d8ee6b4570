"""How nodes are counted in the table of what was met."""

from typing import Final

from mesh.manifest.graph import Graph, GraphNode
from mesh.values import decode

KINDS: Final = (
    "stateless",
    "filter",
    "generator",
    "join",
    "stateful",
    "mute",
    "finishing",
    "differing",
    "failing",
    "one of several sinks",
    "replicated",
    "beside a dropping edge",
    "of two runs",
)


def kinds_of(node: GraphNode, graph: Graph, *, places: int, runs: int) -> list[str]:
    """All that a node is; ``places``: on how many peers it is; ``runs``: how many there are."""
    sinks = {edge.source for edge in graph.edges if edge.target is None}
    dropping = {end for edge in graph.edges if edge.overflow != "block" for end in (edge.source, edge.target)}
    said = {
        "stateless": not node.stateful,
        "filter": node.arity == "maybe",
        "generator": node.arity == "many",
        "join": node.join,
        "stateful": node.stateful and node.snapshots,
        "mute": node.stateful and not node.snapshots,
        "finishing": node.finishes,
        "differing": not node.deterministic,
        "failing": decode(node.params).get("wrong", 0) > 0,
        "one of several sinks": node.id in sinks and len(sinks) > 1,
        "replicated": places > 1,
        "beside a dropping edge": node.id in dropping,
        "of two runs": runs > 1,
    }
    return [kind for kind in KINDS if said[kind]]
