"""What is simulated: a pipeline, its items, the peers, and what befalls them. Drawn from a seed, or given as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from faults import FAULTS, OF_A_PEER, OF_TWO_PEERS, WEIGHTS
from imagined_nodes import random_graph
from imagined_runtime import OPTIONAL, SHAPES

from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.values import decode


@dataclass(frozen=True, slots=True)
class Fault:
    """``at`` seconds after the run began, for ``seconds``. Without ``peers`` it meets who has a part in the run."""

    at: float
    kind: str
    seconds: float = 0.0
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulation. An item comes every ``pace_s`` seconds; a share of the stateless nodes has ``replicas``."""

    seed: int
    manifest: Mapping[str, Any]
    items: tuple[bytes, ...]
    pace_s: float
    workers: int
    on_error: str
    replicas: float
    faults: tuple[Fault, ...]


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)
    differing = random.choice((0.0, 0.0, 0.3, 0.6))
    graph = random_graph(random, wrong=random.choice((0, 0, 3, 10)), differing=differing, plain=False)
    if random.random() < 0.6:  # a run with a node that cannot be brought back is over at the first loss
        nodes = tuple(replace(node, snapshots=node.stateful) for node in graph.nodes)
        graph = replace(graph, nodes=nodes)
    workers = random.randint(1, 5)
    items = tuple(random.randbytes(random.choice((1, 9, 400, 1500))) for _ in range(random.randint(30, 80)))
    pace_s = random.choice((0.02, 0.1, 0.3))
    return Scenario(
        seed,
        _manifest(graph, random, workers, name=f"seed-{seed}"),
        items,
        pace_s,
        workers,
        "continue" if random.random() < 0.8 else "stop",
        random.choice((0.0, 0.5, 0.9)),
        (*_slow_from_the_start(seed, len(items)), *draw_faults(random, until=max(2.0, len(items) * pace_s))),
    )


def draw_faults(random: Random, *, until: float) -> tuple[Fault, ...]:
    """A few faults within ``until`` seconds."""
    kinds = random.choices(list(FAULTS), [WEIGHTS.get(kind, 1.0) for kind in FAULTS], k=random.randint(1, 5))
    faults = [Fault(round(random.uniform(0.05, until), 3), kind, _seconds(random, kind)) for kind in kinds]
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _slow_from_the_start(seed: int, items: int) -> list[Fault]:
    """In every fourth scenario the application is slow, so that a loss finds seqs of which some parts are out."""
    return [Fault(0.0, "slow sink", items / 2)] if seed % 4 == 0 else []


def _seconds(random: Random, kind: str) -> float:
    longest = {"pause": 20.0, "partition": 20.0, "restart": 8.0, "slow peer": 6.0, "slow sink": 6.0, "signaling": 6.0}
    longest_s = longest.get(kind, 0.0)
    return round(longest_s * random.random() ** 2, 3)


def _manifest(graph: Graph, random: Random, workers: int, *, name: str) -> dict[str, Any]:
    """The graph as a user would write it. Nodes would rather run on different peers, but need not."""
    ports = {node.id: _ports(node, graph.edges) for node in graph.nodes}
    connections = [
        {"from": edge.source, "to": edge.target}
        | ({"port": ports[edge.target][edge.port]} if edge.port in ports[edge.target] else {})
        for edge in graph.edges
        if edge.source is not None and edge.target is not None
    ]
    nodes = [
        {
            "id": node.id,
            "node_type": type_of(node),
            "params": {**decode(node.params), "ms": random.choice((1, 5, 20))},
            "prefers": {"labels": {"home": f"w{random.randrange(workers)}"}},
        }
        for node in graph.nodes
    ]
    return {"version": "v1", "metadata": {"name": name}, "nodes": nodes, "connections": connections}


def type_of(node: GraphNode) -> str:
    """The imagined type that behaves like ``node``."""
    words = {
        "Optional": bool(node.optional),
        "Join": node.join,
        "Differing": not node.deterministic,
        "Mute": node.stateful and not node.snapshots,
        "Stateful": node.stateful and node.snapshots,
        "Finishing": node.finishes,
    }
    shape = next(name for name, arity in SHAPES.items() if arity == node.arity)
    return "".join(word for word, said in words.items() if said) + shape


def _ports(node: GraphNode, edges: Sequence[Edge]) -> dict[str, str]:
    """The names of a join's ports: the optional ones as its type knows them, as far as it does."""
    if not node.join:
        return {}
    optional = [edge.port for edge in edges if edge.target == node.id and edge.port in node.optional]
    return dict(zip(optional, OPTIONAL, strict=False))


def read_manifest(path: Path) -> Mapping[str, Any]:
    """A graph of the user's own."""
    manifest: Mapping[str, Any] = json.loads(path.read_text())
    return manifest


def read_faults(path: Path) -> tuple[Fault, ...]:
    """A schedule of the user's own: a list of ``{"at", "fault", "seconds"?, "peers"?}``; raises ValueError."""
    faults = []
    for each in json.loads(path.read_text()):
        fault = Fault(each["at"], each["fault"], each.get("seconds", 0.0), tuple(each.get("peers", ())))
        needed = 2 if fault.kind in OF_TWO_PEERS else 1 if fault.kind in OF_A_PEER else 0
        if fault.kind not in FAULTS or len(fault.peers) not in (0, needed):
            raise ValueError(f"{each}: the faults are {', '.join(FAULTS)}; this one names {needed} peers, or none")
        faults.append(fault)
    return tuple(faults)
