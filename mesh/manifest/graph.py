"""The compiled pipeline: what the planner makes of a manifest, and all that peers ever run (docs/wire.md, 5)."""

from dataclasses import dataclass

from mesh.ids import NodeId
from mesh.nodes.spec import Arity


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A vertex. ``params`` is an encoded map with the defaults applied."""

    id: NodeId
    node_type: str
    params: bytes
    arity: Arity = "one"
    join: bool = False
    optional: tuple[str, ...] = ()
    stateful: bool = False
    deterministic: bool = True
    finishes: bool = False
    snapshots: bool = False
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection. ``source is None``: from the driver's items; ``target is None``: to the driver's results.

    ``port`` is the named input of a join (for a result edge: the sink's id); ``is_list`` says that it always gets a list.
    """

    source: NodeId | None
    target: NodeId | None
    port: str
    is_list: bool = False
    overflow: str = "block"


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in manifest order, edges by their index on the wire, and one topological order."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[Edge, ...]
    order: tuple[NodeId, ...]
