"""What is simulated: a pipeline, its items, the peers, and what befalls them. Drawn from a seed, or given as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from faults import DRIVER, FAULTS, OF_A_PEER, OF_TWO_PEERS, RIVAL, WEIGHTS
from imagined_nodes import random_graph
from imagined_runtime import OPTIONAL, SHAPES

from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.values import decode

MAX_DROPPING: Final = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """``at`` seconds after the run began, for ``seconds``. Without ``peers`` it meets who has a part in the run."""

    at: float
    kind: str
    seconds: float = 0.0
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One run. An item comes every ``pace_s`` seconds. ``stalls``: no result is taken before the other run is over."""

    manifest: Mapping[str, Any]
    items: tuple[bytes, ...]
    pace_s: float
    on_error: str
    driver: str = DRIVER
    stalls: bool = False

    @property
    def name(self) -> str:
        """What its manifest calls it."""
        name: str = self.manifest.get("metadata", {}).get("name", "the run")
        return name

    @property
    def seconds(self) -> float:
        """How long its items take to come."""
        return len(self.items) * self.pace_s


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulation. A share of the stateless nodes has ``replicas``."""

    seed: int
    runs: tuple[Pipeline, ...]
    workers: int
    replicas: float
    faults: tuple[Fault, ...]


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)
    workers = random.randint(1, 5)
    first = _draw_run(random, workers, name=f"seed-{seed}")
    runs = (first, _draw_other(random, workers)) if random.random() < 0.15 else (first,)
    return Scenario(
        seed,
        runs,
        workers,
        random.choice((0.0, 0.5, 0.9)),
        (*_slow_from_the_start(seed, len(first.items)), *draw_faults(random, until=max(2.0, first.seconds))),
    )


def _draw_run(random: Random, workers: int, *, name: str, letter: str = "n") -> Pipeline:
    kind = random.choice(("plain", "plain", "differing", "differing", "dropping"))
    graph = _draw_graph(random, kind)
    while random.random() < 0.7 and not _gives_parts(graph):  # or few losses would find a seq of which some is out
        graph = _draw_graph(random, kind)
    if random.random() < 0.5:  # a run with a node that cannot be brought back is over at the first loss
        nodes = tuple(replace(node, snapshots=node.stateful) for node in graph.nodes)
        graph = replace(graph, nodes=nodes)
    return Pipeline(
        _manifest(_with_few_drops(graph), random, workers, name=name, letter=letter),
        tuple(random.randbytes(random.choice((1, 9, 400, 1500))) for _ in range(random.randint(30, 80))),
        random.choice((0.02, 0.1, 0.3)) if kind != "dropping" else 0.01,
        "continue" if random.random() < 0.8 else "stop",
    )


def _draw_graph(random: Random, kind: str) -> Graph:
    return random_graph(
        random,
        wrong=random.choice((0, 0, 3, 10)),
        differing=random.choice((0.3, 0.6)) if kind == "differing" else 0.0,
        drops=kind == "dropping",
        plain=kind == "dropping",
    )


def _gives_parts(graph: Graph) -> bool:
    """Whether a seq may have several results."""
    sinks = [edge for edge in graph.edges if edge.target is None]
    return len(sinks) == 1 and sinks[0].is_list


def _draw_other(random: Random, workers: int) -> Pipeline:
    """A second run over the same workers, of the same driver or another one. Its nodes have names of their own."""
    run = _draw_run(random, workers, name="other", letter="m")
    return replace(run, driver=random.choice((DRIVER, RIVAL)), stalls=random.random() < 0.5)


def _with_few_drops(graph: Graph) -> Graph:
    """What may come of a seq is tried for every choice of edges that drop it, so there are not too many of those."""
    dropping = [edge for edge in graph.edges if edge.overflow != "block"]
    spared = set(dropping[MAX_DROPPING:])
    edges = tuple(replace(edge, overflow="block") if edge in spared else edge for edge in graph.edges)
    return replace(graph, edges=edges)


def draw_faults(random: Random, *, until: float) -> tuple[Fault, ...]:
    """A few faults within ``until`` seconds."""
    kinds = random.choices(list(FAULTS), [WEIGHTS.get(kind, 1.0) for kind in FAULTS], k=random.randint(1, 5))
    faults = [Fault(round(random.uniform(0.05, until), 3), kind, _seconds(random, kind)) for kind in kinds]
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _slow_from_the_start(seed: int, items: int) -> list[Fault]:
    """In every other scenario the application is slow, so that a loss finds seqs of which some parts are out."""
    return [Fault(0.0, "slow sink", items / 4)] if seed % 2 == 0 else []


def _seconds(random: Random, kind: str) -> float:
    longest = {"pause": 20.0, "partition": 20.0, "restart": 8.0, "slow peer": 6.0, "slow sink": 6.0, "signaling": 6.0}
    longest_s = longest.get(kind, 0.0)
    return round(longest_s * random.random() ** 2, 3)


def _manifest(graph: Graph, random: Random, workers: int, *, name: str, letter: str) -> dict[str, Any]:
    """The graph as a user would write it, with names by ``letter``. Nodes have a peer where they would rather run."""
    names = {node.id: letter + node.id[1:] for node in graph.nodes}
    ports = {node.id: _ports(node, graph.edges) for node in graph.nodes}
    connections = [
        {"from": names[edge.source], "to": names[edge.target]}
        | ({"port": ports[edge.target][edge.port]} if edge.port in ports[edge.target] else {})
        | ({"overflow": edge.overflow} if edge.overflow != "block" else {})
        for edge in graph.edges
        if edge.source is not None and edge.target is not None
    ]
    nodes = [
        {
            "id": names[node.id],
            "node_type": type_of(node),
            "params": {**decode(node.params), "ms": random.choice((1, 5, 20, 40))},
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
