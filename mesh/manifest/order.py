"""Topological order, and the cycle where there is none."""

import heapq
from collections.abc import Iterable, Sequence


def topological[T](nodes: Sequence[T], edges: Iterable[tuple[T, T]]) -> list[T]:
    """The nodes, each after its feeders, of ready ones the first in ``nodes``; what a cycle holds up is left out."""
    rank = {node: index for index, node in enumerate(nodes)}
    waits = dict.fromkeys(nodes, 0)
    feeds: dict[T, list[T]] = {node: [] for node in nodes}
    for source, target in edges:
        feeds[source].append(target)
        waits[target] += 1
    ready = [rank[node] for node in nodes if not waits[node]]
    order: list[T] = []
    while ready:
        node = nodes[heapq.heappop(ready)]
        order.append(node)
        for target in feeds[node]:
            waits[target] -= 1
            if not waits[target]:
                heapq.heappush(ready, rank[target])
    return order


def find_cycle[T](edges: Sequence[tuple[T, T]]) -> list[T]:
    """The nodes of one cycle, in its direction; empty where there is none."""
    nodes = list(dict.fromkeys(node for edge in edges for node in edge))
    stuck = set(nodes) - set(topological(nodes, edges))
    feeder = {target: source for source, target in edges if source in stuck and target in stuck}
    path: list[T] = []
    node = next((node for node in nodes if node in feeder), None)
    while node is not None and node not in path:  # every node that is stuck has a feeder that is stuck
        path.append(node)
        node = feeder[node]
    return path[path.index(node) :][::-1] if node is not None else []
