"""Fixtures of the runtimes' tests."""

from collections.abc import Callable

import pytest

from mesh.manifest.graph import GraphNode
from mesh.values import encode


@pytest.fixture
def node() -> Callable[..., GraphNode]:
    """A vertex of the graph: ``node("Echo", params={"n": 1}, arity="many")``."""

    def make(node_type: str, *, params: dict[str, object] | None = None, **fields: object) -> GraphNode:
        return GraphNode("n", node_type, encode(params or {}), **fields)

    return make
