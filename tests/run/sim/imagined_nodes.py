"""Nodes whose behaviour is a pure function of graph entry, state and payload; and random graphs of them."""

from dataclasses import dataclass, replace
from functools import cache
from random import Random
from zlib import crc32

from mesh.ids import NodeId
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.values import decode, encode


@dataclass(frozen=True)
class Outcome:
    """What one input, or finish, comes to: parts, then perhaps an error of that kind; and the state after it."""

    parts: tuple[bytes, ...]
    error: str
    state: int


def process(node: GraphNode, state: int, payload: bytes, epoch: int = 1) -> Outcome:
    """One input. ``node.params`` has ``wrong``: how many inputs of a hundred go wrong.

    What a node that is not deterministic makes depends on the epoch too.
    """
    seed = crc32(payload, crc32(node.id.encode(), state if node.deterministic else state + epoch))
    after = crc32(payload, seed) if node.stateful else 0
    count = {"one": 1, "maybe": seed >> 8 & 1, "many": (seed >> 8) % 5}[node.arity]
    if seed % 100 >= _wrong(node.params):
        return Outcome(_parts(seed, count), "", after)
    if seed % 3 == 0 and node.arity != "many":  # it breaks its arity
        return Outcome(_parts(seed, 0 if node.arity == "one" and seed & 8 else 2), "", after)
    error = ("raised", "trapped", "timeout")[seed % 3]
    return Outcome(_parts(seed, count if node.arity == "many" else 0), error, after if error == "raised" else state)


def finish(node: GraphNode, state: int) -> Outcome:
    """The end of the stream."""
    seed = crc32(b"finish", state)
    count = (seed >> 8) % (4 if node.arity == "many" else 2)
    error = "raised" if seed % 100 < _wrong(node.params) else ""
    return Outcome(_parts(seed, 0 if error and node.arity != "many" else count), error, state)


@cache
def _wrong(params: bytes) -> int:
    wrong: int = decode(params).get("wrong", 0)
    return wrong


def _parts(seed: int, count: int) -> tuple[bytes, ...]:
    size = (seed >> 16) % 60 if seed & 7 else (seed >> 16) % 3000  # some are larger than the credit of an edge
    return tuple(encode(f"{seed:08x}/{part}" + "." * size) for part in range(count))


def random_graph(
    random: Random, *, wrong: int, drops: bool = False, differing: float = 0.0, plain: bool | None = None
) -> Graph:
    """Up to eight nodes: fan-out, joins with and without optional ports, filters, generators, state, several sinks.

    ``differing`` is the share of nodes that are not deterministic. ``plain``: none keeps state; so, unless it is said,
    where a seq may come out differently.
    """
    plain = drops or bool(differing) if plain is None else plain
    nodes: list[GraphNode] = []
    edges: list[Edge] = []
    many: dict[NodeId, bool] = {}  # whether the path since the last join holds a generator
    for number in range(random.randint(1, 8)):
        before = [node.id for node in nodes]
        sources = sorted(random.sample(before, random.randint(1, min(3, len(before))))) if before else []
        if random.random() < 0.15:
            sources = []
        node = _random_node(random, NodeId(f"n{number}"), sources, wrong=wrong, plain=plain)
        node = replace(node, deterministic=not differing or random.random() >= differing)
        nodes.append(node)
        many[node.id] = node.arity == "many" or (not node.join and any(many[each] for each in sources))
        overflow = "drop_oldest" if drops and random.random() < 0.5 else "block"
        edges += [Edge(source, node.id, f"p-{source}", many[source], overflow) for source in sources]
    sources = {edge.target for edge in edges}
    targets = {edge.source for edge in edges}
    edges += [Edge(None, node.id, "") for node in nodes if node.id not in sources]
    edges += [Edge(node.id, None, node.id, many[node.id]) for node in nodes if node.id not in targets]
    return Graph(tuple(nodes), tuple(edges), tuple(node.id for node in nodes))


def _random_node(random: Random, name: NodeId, sources: list[NodeId], *, wrong: int, plain: bool) -> GraphNode:
    join = len(sources) > 1 or (bool(sources) and random.random() < 0.1)
    stateful = not plain and random.random() < 0.4
    return GraphNode(
        name,
        "Imagined",
        encode({"wrong": wrong if random.random() < 0.5 else 0}),
        arity=random.choice(("one", "one", "maybe", "many")),
        join=join,
        optional=tuple(f"p-{source}" for source in sources if random.random() < 0.5) if join else (),
        stateful=stateful,
        finishes=stateful and random.random() < 0.6,
        snapshots=stateful and random.random() < 0.6,
    )
