"""What is wrong with a pipeline beyond its form: types, parameters, connections, cycles."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from mesh.errors import Fault, ValueFault
from mesh.ids import DRIVER, NodeId, peer_name
from mesh.limits import MAX_FAULTS
from mesh.manifest.model import Connection, Pipeline, PipelineNode
from mesh.manifest.order import find_cycle
from mesh.nodes.spec import ALIASES, NodeSpec, may_feed, suggestion
from mesh.values import encode

_EXTRAS: Final = {"SpeechToText": "speech"}  # types that an extra of the distribution brings


def resolve(node_type: str, types: Mapping[str, NodeSpec]) -> NodeSpec | None:
    """The spec of a type; the built-in names are accepted without ``Node`` too."""
    return types.get(node_type) or types.get(ALIASES.get(node_type, ""))


def validate(pipeline: Pipeline, types: Mapping[str, NodeSpec]) -> list[Fault]:
    """Every fault, at most MAX_FAULTS; an empty list where the pipeline can be compiled."""
    faults = list(pipeline.faults)
    ids = Counter(node.id for node in pipeline.nodes)
    for index, node in enumerate(pipeline.nodes):
        place = f"nodes[{index}]"
        if node.id and ids[node.id] > 1 and any(node.id == other.id for other in pipeline.nodes[:index]):
            faults.append(Fault(f"{place}.id", f"{node.id!r} is the id of another node; choose another"))
        faults += _node_faults(node, place, types)
    specs = {node.id: spec for node in pipeline.nodes if (spec := resolve(node.node_type, types))}
    for index, connection in enumerate(pipeline.connections):
        faults += _connection_faults(connection, f"connections[{index}]", ids, specs)
    faults += _inbound_faults(pipeline, specs)
    cycle = find_cycle(_pairs(pipeline))
    if cycle:
        path = " → ".join([*cycle, cycle[0]])
        faults.append(Fault("connections", f"a cycle: {path}; a pipeline has none, take one of these connections out"))
    return list(dict.fromkeys(faults))[:MAX_FAULTS]


def _pairs(pipeline: Pipeline) -> list[tuple[NodeId, NodeId]]:
    """The connections that could be part of a longer cycle."""
    pairs = [(each.source, each.target) for each in pipeline.connections]
    return [(source, target) for source, target in pairs if source and target and source != target]


def _node_faults(node: PipelineNode, place: str, types: Mapping[str, NodeSpec]) -> Iterator[Fault]:
    if not node.node_type:
        return  # its form is at fault already
    spec = resolve(node.node_type, types)
    if spec is None:
        extra = _EXTRAS.get(node.node_type)
        hint = f"; install remotemedia-mesh[{extra}]" if extra else suggestion(node.node_type, types)
        hint = hint or "; 'mesh nodes' lists what there is"
        yield Fault(f"{place}.node_type", f"unknown node type {node.node_type!r}{hint}")
    else:
        yield from spec.check(node.params, f"{place}.params")
    try:
        encode(node.params)
    except ValueFault as error:
        yield Fault(f"{place}.params", str(error))
    if node.placement.peer not in (None, DRIVER):
        try:
            peer_name(node.placement.peer or "")
        except ValueFault:
            yield Fault(
                f"{place}.placement.peer", "a peer's name is 1 to 64 of A-Z a-z 0-9 . _ -; driver is who submits"
            )


def _connection_faults(
    connection: Connection, place: str, ids: Mapping[NodeId, int], specs: Mapping[NodeId, NodeSpec]
) -> Iterator[Fault]:
    source, target = connection.source, connection.target
    for end, node in (("from", source), ("to", target)):
        if node and node not in ids:
            yield Fault(f"{place}.{end}", f"there is no node {node!r}{suggestion(node, ids)}")
    if source and source == target:
        yield Fault(place, f"a cycle: {source} → {source}; a node cannot feed itself")
    giver, taker = specs.get(source), specs.get(target)
    if taker is None:
        return
    if connection.port is not None and not taker.join:
        yield Fault(f"{place}.port", f"{taker.node_type} is no join and has no ports; leave the port out")
    if giver is not None and not taker.join and not may_feed(giver.returns, taker.accepts):
        message = f"{giver.node_type} gives {giver.returns}, {taker.node_type} takes {taker.accepts}"
        yield Fault(place, f"{message}; put a node between that converts")


def _inbound_faults(pipeline: Pipeline, specs: Mapping[NodeId, NodeSpec]) -> Iterator[Fault]:
    """Several connections into what is no join, two into one port, and a join without any."""
    ports: dict[NodeId, set[str]] = defaultdict(set)
    for index, connection in enumerate(pipeline.connections):
        spec = specs.get(connection.target)
        port = connection.port or connection.source
        taken = ports[connection.target]
        if spec is not None and spec.join and port in taken:
            hint = "give each connection a port of its own"
            yield Fault(f"connections[{index}].port", f"port {port!r} of {connection.target!r} is taken; {hint}")
        elif spec is not None and not spec.join and taken:
            hint = "only a join has several inbound connections; put a Join before it"
            yield Fault(f"connections[{index}].to", f"{connection.target!r} has a connection already; {hint}")
        taken.add(port)
    for index, node in enumerate(pipeline.nodes):
        if node.id in specs and specs[node.id].join and not ports[node.id]:
            yield Fault(f"nodes[{index}]", f"nothing is connected to the join {node.id!r}; connect its ports")
