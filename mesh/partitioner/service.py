"""The planner as one call: a request as it came over the wire in, what goes back over the wire out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mesh.errors import Fault, ManifestError, NoPlanError, ValueFault
from mesh.ids import PeerId
from mesh.manifest import compile_graph, parse
from mesh.manifest.graph import to_json
from mesh.partitioner.costs import Links, MeasuredCosts
from mesh.partitioner.peers import Peer, merged_types
from mesh.partitioner.planner import Request, plan


def answer_plan(
    request: Mapping[str, Any],
    *,
    records: Sequence[Mapping[str, Any]],
    driver: Mapping[str, Any],
    links: Links | None = None,
    costs: MeasuredCosts | None = None,
) -> dict[str, Any]:
    """Answers ``{manifest: text or object, pins?, without?, apart?, announce?}`` (docs/wire.md, 6) with
    ``{graph, plan, name}``, ``{faults: [{path, message}]}`` or ``{refused: {message, refusals}}``; never raises for
    what was asked.

    ``records`` are the room's, in the order in which they came; ``driver`` is the record of the peer that asks, which
    ``announce`` (what it offers to its own run) completes.
    """
    own = {**driver, **(request.get("announce") or {})}
    left_out = {driver["peer"], *request.get("without", ())}
    others = [Peer.from_record(record) for record in records if record["peer"] not in left_out]
    try:
        asked = _compile(request, [_driver(own), *others])
        made = plan(asked, measured=costs or {}, links=links or {})
        return {"graph": to_json(asked.graph), "plan": made, "name": asked.pipeline.name}
    except ManifestError as error:
        return {"faults": [{"path": fault.path, "message": fault.message} for fault in error.faults]}
    except NoPlanError as error:
        refusals = [{"node": each.node, "peer": each.peer, "lacks": list(each.lacks)} for each in error.refusals]
        return {"refused": {"message": str(error), "refusals": refusals}}


def _driver(record: Mapping[str, Any]) -> Peer:
    try:
        return Peer.from_record(record, is_driver=True)
    except ValueFault as error:
        raise ManifestError([Fault("announce", str(error))]) from None


def _compile(request: Mapping[str, Any], peers: Sequence[Peer]) -> Request:
    manifest = request.get("manifest")
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    types = merged_types(peers)
    pipeline = parse(text, name="manifest")
    graph = compile_graph(pipeline, types)
    apart = frozenset(frozenset(map(PeerId, pair)) for pair in request.get("apart", ()))
    return Request(graph, pipeline, types, peers, _pins(request.get("pins") or {}, graph.order), apart)


def _pins(pins: object, nodes: Sequence[str]) -> Mapping[str, str]:
    """Pins as a map of node to peer name; raises ManifestError with every fault."""
    if not isinstance(pins, Mapping):
        raise ManifestError([Fault("pins", "write a map of node ids to peer names")])
    faults = [Fault(f"pins.{node}", "the pipeline has no such node") for node in pins if node not in nodes]
    faults += [Fault(f"pins.{node}", "write a peer's name") for node, peer in pins.items() if not isinstance(peer, str)]
    if faults:
        raise ManifestError(faults)
    return pins
