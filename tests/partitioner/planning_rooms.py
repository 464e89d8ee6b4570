"""Rooms and pipelines to plan, made in few words."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mesh.ids import NodeId, PeerId, PeerName
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.manifest.model import Pipeline, PipelineNode
from mesh.nodes.spec import NodeSpec
from mesh.partitioner.peers import Peer, merged_types
from mesh.partitioner.planner import Request, plan


def spec(node_type: str, *runtimes: Any, **fields: Any) -> NodeSpec:
    return NodeSpec(node_type, runtimes=runtimes or ("python",), **fields)


def peer(name: str, *specs: NodeSpec, **fields: Any) -> Peer:
    return Peer(PeerId(f"id-{name}"), PeerName(name), types={each.node_type: each for each in specs}, **fields)


def request(
    peers: Sequence[Peer],
    nodes: Sequence[PipelineNode],
    edges: Sequence[tuple[str, str]] | None = None,
    pins: Mapping[str, str] | None = None,
    apart: Sequence[tuple[str, str]] = (),
) -> Request:
    """Nodes given in topological order; without ``edges`` they are a chain."""
    ids = [node.id for node in nodes]
    pairs = list(pairwise(ids)) if edges is None else list(edges)
    sources = [each for each in ids if each not in {b for _, b in pairs}]
    sinks = [each for each in ids if each not in {a for a, _ in pairs}]
    wires = [Edge(NodeId(a), NodeId(b), a) for a, b in pairs]
    wires += [Edge(None, NodeId(each), "") for each in sources] + [Edge(NodeId(each), None, each) for each in sinks]
    types = merged_types(peers)
    graph = Graph(
        tuple(GraphNode(node.id, node.node_type, b"\x80") for node in nodes),
        tuple(wires),
        tuple(map(NodeId, ids)),
    )
    parted = frozenset(frozenset(PeerId(f"id-{name}") for name in pair) for pair in apart)
    return Request(graph, Pipeline("test", {}, tuple(nodes), (), ""), types, peers, pins or {}, parted)


def placed(request: Request, **known: Any) -> dict[str, tuple[str, str]]:
    """Node → (peer name, runtime) of the plan."""
    steps = planned(request, **known)["steps"]
    names = {each.id: each.name for each in request.peers}
    seats = {node: place["on"][0] for node, place in steps[0]["nodes"].items()}
    return {node: (names[seat["peer"]], seat["runtime"]) for node, seat in seats.items()}


def planned(request: Request, **known: Any) -> dict[str, Any]:
    return plan(request, measured=known.get("measured", {}), links=known.get("links", {}))
