"""How nodes are counted in the table of what was met."""

from collections.abc import Collection
from typing import Final

from mesh.ids import NodeId
from mesh.manifest.graph import GraphNode
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
)


def kinds_of(node: GraphNode, *, sinks: Collection[NodeId | None], places: int) -> list[str]:
    """All that a node is; ``places``: on how many peers it is."""
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
    }
    return [kind for kind in KINDS if said[kind]]
