"""From a graph, what its nodes ask for and who is there, to a plan with its reasons (docs/wire.md, 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from mesh.errors import NoPlanError, Refusal
from mesh.ids import NodeId, PeerId
from mesh.manifest.graph import Graph
from mesh.manifest.model import Pipeline, PipelineNode
from mesh.nodes.spec import NodeSpec
from mesh.partitioner.costs import (
    APART_MS,
    MESSAGE_OVERHEAD_MS,
    PREFERENCE_MS,
    Costs,
    Links,
    MeasuredCosts,
    part_bytes,
    queue_ms,
    startup_ms,
)
from mesh.partitioner.latency import DRIVER_END, Choice, Problem, Seat, Wire, latency_ms
from mesh.partitioner.peers import Peer
from mesh.partitioner.reasons import candidates
from mesh.partitioner.requirements import lacks, lacks_capabilities, runtimes_for
from mesh.partitioner.search import search

type Missing = Mapping[NodeId, Sequence[Sequence[str]]]  # for each node and each peer, all that the peer lacks


@dataclass(frozen=True)
class Request:
    """What is to be placed where. ``types`` holds a spec for each node type of the graph, ``pins`` maps a node to a
    peer's name, and exactly one of ``peers`` is the driver. Neighbouring nodes are never on two peers ``apart``.
    """

    graph: Graph
    pipeline: Pipeline
    types: Mapping[str, NodeSpec]
    peers: Sequence[Peer]
    pins: Mapping[str, str]
    apart: frozenset[frozenset[PeerId]] = frozenset()

    @cached_property
    def specs(self) -> Mapping[NodeId, NodeSpec]:
        """The spec of each node."""
        return {node.id: self.types[node.node_type] for node in self.graph.nodes}

    @cached_property
    def wishes(self) -> Mapping[NodeId, PipelineNode]:
        """What the manifest asks for each node."""
        return {node.id: node for node in self.pipeline.nodes}


def plan(request: Request, *, measured: MeasuredCosts, links: Links) -> dict[str, Any]:
    """The plan in its wire form.

    Raises NoPlanError where a node fits nobody: its text and its refusals name every peer and all that it lacks; and
    where every placement that was tried needs a link between two peers that are apart.
    """
    missing = _missing(request)
    _refuse_if_nobody_fits(request, missing)
    costs = Costs.of(request.peers, measured=measured, links=links)
    problem = _problem(request, missing, costs)
    choice = search(problem)
    _refuse_if_apart(request, problem, choice)
    why = candidates(problem, choice, request.peers, missing, request.pins)
    placed = dict(zip(problem.nodes, choice, strict=True))
    nodes = {node.id: {"on": [_seat(request, placed[node.id])], "share": "modulo"} for node in request.graph.nodes}
    latency = round(latency_ms(problem, choice), 3)
    steps = [{"from_seq": 0, "nodes": nodes}]
    return {"epoch": 1, "steps": steps, "latency_ms": latency, "why": why, "warnings": _warnings(request.graph)}


def _warnings(graph: Graph) -> list[str]:
    return [
        f"node {node.id!r} ({node.node_type}) keeps state and makes no snapshots: the run ends if a peer is lost"
        for node in graph.nodes
        if node.stateful and not node.snapshots
    ]


def _seat(request: Request, seat: Seat) -> dict[str, Any]:
    return {"peer": request.peers[seat.peer].id, "runtime": seat.runtime}


def _missing(request: Request) -> Missing:
    return {
        node: [
            lacks(request.specs[node], wish.capabilities, wish.placement, request.pins.get(node), peer)
            for peer in request.peers
        ]
        for node, wish in request.wishes.items()
    }


def _refuse_if_nobody_fits(request: Request, missing: Missing) -> None:
    refusals: list[Refusal] = []
    lines: list[str] = []
    for node, lists in missing.items():
        if not all(lists):
            continue
        lines.append(f"no peer fits node {node!r} ({request.specs[node].node_type}):")
        lines += [f"  {peer.label}: {'; '.join(each)}" for peer, each in zip(request.peers, lists, strict=True)]
        refusals += [Refusal(node, peer.name, tuple(each)) for peer, each in zip(request.peers, lists, strict=True)]
    if refusals:
        raise NoPlanError("\n".join(lines), refusals)


def _refuse_if_apart(request: Request, problem: Problem, choice: Choice) -> None:
    for wire in problem.wires:
        if problem.transfer(choice, wire)[1] == APART_MS:
            source, target = (request.peers[problem.place(choice, end)].label for end in (wire.source, wire.target))
            raise NoPlanError(f"neighbouring nodes fit {source} and {target} only, which cannot reach each other")


def _problem(request: Request, missing: Missing, costs: Costs) -> Problem:
    peers, order = request.peers, request.graph.order
    index = {node: place for place, node in enumerate(order)}
    by_id = {peer.id: peer for peer in peers}
    return Problem(
        nodes=order,
        seats=tuple(tuple(_seats(request, node, missing[node], costs, by_id)) for node in order),
        wires=tuple(
            Wire(
                DRIVER_END if edge.source is None else index[edge.source],
                DRIVER_END if edge.target is None else index[edge.target],
                part_bytes(edge, request.specs),
            )
            for edge in request.graph.edges
        ),
        slots=tuple(peer.slots for peer in peers),
        link=cache(lambda a, b: _link(request, costs, peers[a].id, peers[b].id)),
        driver=next(place for place, peer in enumerate(peers) if peer.is_driver),
        overhead_ms=MESSAGE_OVERHEAD_MS,
    )


def _link(request: Request, costs: Costs, a: PeerId, b: PeerId) -> tuple[float, float]:
    """``(ms one way, ms a byte)``."""
    return (APART_MS, 0.0) if frozenset((a, b)) in request.apart else costs.link(a, b)


def _seats(
    request: Request, node: NodeId, missing: Sequence[Sequence[str]], costs: Costs, by_id: Mapping[PeerId, Peer]
) -> list[Seat]:
    spec, wish = request.specs[node], request.wishes[node]
    seats: list[Seat] = []
    for place, peer in enumerate(request.peers):
        if missing[place]:
            continue
        unmet = sum(1 for _ in lacks_capabilities(wish.prefers, peer.caps))
        for runtime in runtimes_for(spec, wish.placement, peer):
            compute = costs.compute_ms(spec.node_type, peer, runtime, peers=by_id)
            queue = queue_ms(compute, peer)
            seats.append(Seat(place, runtime, compute, queue, startup_ms(peer, runtime), unmet * PREFERENCE_MS))
    return seats
