"""The compiled pipeline: what the planner makes of a manifest, and all that peers ever run (docs/wire.md, 5)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from mesh.errors import ValueFault
from mesh.ids import NodeId
from mesh.limits import MAX_CONNECTIONS, MAX_ID_CHARS, MAX_NODES, MAX_PORTS, MAX_TIMEOUT_S
from mesh.nodes.spec import Arity
from mesh.values import Fields, decode, fault, from_forms, to_forms

OVERFLOWS: Final = ("block", "drop_oldest")


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

    ``port`` is the named input of a join (for a result edge: the sink's id); ``is_list``: it always gets a list.
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


def to_value(graph: Graph) -> dict[str, Any]:
    """The graph as a value, for the mesh."""
    nodes = [{name: getattr(node, name) for name in GraphNode.__slots__} for node in graph.nodes]
    edges = [
        {"from": edge.source, "to": edge.target, "port": edge.port, "list": edge.is_list, "overflow": edge.overflow}
        for edge in graph.edges
    ]
    return {
        "nodes": [{**node, "optional": list(node["optional"])} for node in nodes],
        "edges": edges,
        "order": list(graph.order),
    }


def to_json(graph: Graph) -> dict[str, Any]:
    """The graph as plain JSON, for signaling: ``params`` is ``{"$bytes": base64}``."""
    fields: dict[str, Any] = to_forms(to_value(graph))
    return fields


def from_json(fields: Any) -> Graph:
    """The graph of its JSON; raises ValueFault as ``from_value`` does."""
    return from_value(from_forms(fields))


def from_value(value: Any) -> Graph:
    """The graph of a value that came from outside; raises ValueFault for anything that an engine could stumble over."""
    reader = Fields(value)
    nodes = [_node(each, f"nodes[{index}]") for index, each in enumerate(reader.items("nodes", MAX_NODES))]
    edges = [
        _edge(each, f"edges[{index}]")
        for index, each in enumerate(reader.items("edges", MAX_CONNECTIONS + 2 * MAX_NODES))
    ]
    graph = Graph(tuple(nodes), tuple(edges), reader.texts("order", MAX_NODES))
    reader.end()
    _check_shape(graph)
    return graph


def _node(fields: Any, place: str) -> GraphNode:
    reader = Fields(fields, place)
    params = reader.get("params", None)
    try:
        decoded = decode(params) if isinstance(params, bytes) else None
    except ValueFault as error:
        fault(f"{place}.params", str(error))
    if not isinstance(decoded, dict):
        fault(f"{place}.params", "write an encoded map")
    node = GraphNode(
        id=NodeId(reader.text("id", MAX_ID_CHARS)),
        node_type=reader.text("node_type", MAX_ID_CHARS),
        params=params,
        arity=reader.one_of("arity", get_args(Arity)),
        join=reader.flag("join"),
        optional=reader.texts("optional", MAX_PORTS),
        stateful=reader.flag("stateful"),
        deterministic=reader.flag("deterministic"),
        finishes=reader.flag("finishes"),
        snapshots=reader.flag("snapshots"),
        timeout_s=float(reader.number("timeout_s", low=0.0, high=MAX_TIMEOUT_S)),
    )
    reader.end()
    return node


def _edge(fields: Any, place: str) -> Edge:
    reader = Fields(fields, place)
    edge = Edge(
        source=_end(reader, "from"),
        target=_end(reader, "to"),
        port=reader.text("port", MAX_ID_CHARS, ""),
        is_list=reader.flag("list"),
        overflow=reader.one_of("overflow", OVERFLOWS),
    )
    reader.end()
    return edge


def _end(reader: Fields, name: str) -> NodeId | None:
    return None if reader.get(name, None) is None else NodeId(reader.text(name, MAX_ID_CHARS))


def _check_shape(graph: Graph) -> None:
    """Ids, edges and order belong together; every node is fed and feeds, by as many edges as it may."""
    nodes = {node.id: node for node in graph.nodes}
    rank = {node: index for index, node in enumerate(graph.order)}
    if not nodes or len(nodes) != len(graph.nodes):
        fault("nodes", "ids are unique, and there is at least one")
    if rank.keys() != nodes.keys() or len(rank) != len(graph.order):
        fault("order", "every node comes once")
    for index, edge in enumerate(graph.edges):
        ends = [node for node in (edge.source, edge.target) if node is not None]
        if not ends or not all(node in nodes for node in ends):
            fault(f"edges[{index}]", "it begins or ends at no node")
        if len(ends) == 2 and rank[ends[0]] >= rank[ends[1]]:
            fault("order", f"{ends[0]!r} feeds {ends[1]!r} and comes after it")
        if edge.target is None and edge.port != edge.source:
            fault(f"edges[{index}].port", "a result's port is its sink's id")
    _check_inputs(nodes, graph.edges)


def _check_inputs(nodes: Mapping[NodeId, GraphNode], edges: Iterable[Edge]) -> None:
    ports = Counter((edge.target, edge.port) for edge in edges)
    inputs = Counter(edge.target for edge in edges)
    outputs = Counter(edge.source for edge in edges)
    for node in nodes.values():
        if not inputs[node.id] or not outputs[node.id]:
            fault("edges", f"nothing goes into {node.id!r}, or nothing out of it")
        if inputs[node.id] > 1 and not node.join:
            fault("edges", f"{node.id!r} is no join and has {inputs[node.id]} inputs")
    for (target, port), count in ports.items():
        if count > 1:
            fault("edges", f"{count} edges go into port {port!r} of {target!r}")
