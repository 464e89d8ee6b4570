"""From a Pipeline to the Graph that peers run."""

from collections.abc import Mapping, Sequence

from mesh.errors import ManifestError
from mesh.ids import NodeId
from mesh.limits import MAX_TIMEOUT_S
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.manifest.model import Pipeline, PipelineNode
from mesh.manifest.order import topological
from mesh.manifest.validate import resolve, validate
from mesh.nodes.spec import NodeSpec
from mesh.values import encode


def compile_graph(pipeline: Pipeline, types: Mapping[str, NodeSpec]) -> Graph:
    """The graph of a pipeline; raises ManifestError with everything that ``validate`` finds."""
    if faults := validate(pipeline, types):
        raise ManifestError(faults)
    specs = {node.id: spec for node in pipeline.nodes if (spec := resolve(node.node_type, types))}
    ids = [node.id for node in pipeline.nodes]
    order = topological(ids, [(each.source, each.target) for each in pipeline.connections])
    return Graph(
        nodes=tuple(_node(node, specs[node.id]) for node in pipeline.nodes),
        edges=tuple(_edges(pipeline, ids, specs, order)),
        order=tuple(order),
    )


def _node(node: PipelineNode, spec: NodeSpec) -> GraphNode:
    return GraphNode(
        id=node.id,
        node_type=spec.node_type,
        params=encode(spec.complete(node.params)),
        arity=spec.arity,
        join=spec.join,
        optional=spec.optional,
        stateful=spec.stateful,
        deterministic=spec.deterministic,
        finishes=spec.finishes,
        snapshots=spec.snapshots,
        timeout_s=min(node.timeout_s, MAX_TIMEOUT_S),
    )


def _edges(
    pipeline: Pipeline, ids: Sequence[NodeId], specs: Mapping[NodeId, NodeSpec], order: Sequence[NodeId]
) -> list[Edge]:
    """The connections, then an edge to each source node, then one from each sink node."""
    several = _several_parts(pipeline, specs, order)
    fed = {each.target for each in pipeline.connections}
    feeding = {each.source for each in pipeline.connections}
    sinks = [node for node in ids if node not in feeding]
    edges = []
    for each in pipeline.connections:
        join = specs[each.target].join
        port = (each.port or each.source) if join else ""
        edges.append(Edge(each.source, each.target, port, join and each.source in several, each.overflow))
    edges += [Edge(None, node, "") for node in ids if node not in fed]
    edges += [Edge(node, None, node, len(sinks) > 1 and node in several) for node in sinks]
    return edges


def _several_parts(pipeline: Pipeline, specs: Mapping[NodeId, NodeSpec], order: Sequence[NodeId]) -> set[NodeId]:
    """The nodes that may give several parts for a seq: a ``many`` is on the way to them, since the last join."""
    feeder = {each.target: each.source for each in pipeline.connections if not specs[each.target].join}
    several: set[NodeId] = set()
    for node in order:
        if specs[node].arity == "many" or feeder.get(node) in several:
            several.add(node)
    return several
