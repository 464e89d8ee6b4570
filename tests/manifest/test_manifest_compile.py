"""From manifests to graphs, the rules for connections, and graphs that come over the wire."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import ManifestError, ValueFault
from mesh.manifest import compile_graph, parse, validate
from mesh.manifest.graph import Graph, from_json, from_value, to_json, to_value
from mesh.manifest.order import find_cycle, topological
from mesh.nodes import NodeSpec, Registry
from mesh.values import decode, encode

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "manifest.json").read_text())
TYPES = {spec.node_type: spec for spec in Registry().specs()}


def compiled(text: str) -> Graph:
    return compile_graph(parse(text, name="manifest"), TYPES)


@pytest.mark.parametrize("vector", VECTORS["graphs"], ids=lambda vector: vector["name"])
def test_graphs(vector: dict[str, Any]) -> None:
    graph = compiled(vector["manifest"])
    assert to_json(graph) == vector["graph"]
    assert from_json(json.loads(json.dumps(vector["graph"]))) == graph
    assert from_value(decode(encode(to_value(graph)))) == graph


@pytest.mark.parametrize("vector", VECTORS["faults"], ids=lambda vector: vector["name"])
def test_faults(vector: dict[str, Any]) -> None:
    with pytest.raises(ManifestError) as caught:
        compiled(vector["manifest"])
    assert [str(fault) for fault in caught.value.faults] == vector["faults"]
    assert str(caught.value) == "\n".join(vector["faults"])


def test_defaults_are_applied_and_aliases_resolved() -> None:
    [node] = compiled('{"version": "v1", "nodes": [{"id": "a", "type": "TextProcessor"}]}').nodes
    assert node.node_type == "TextProcessorNode"
    assert decode(node.params) == {"operations": ["uppercase", "word_count", "char_count"]}


def test_a_type_of_that_very_name_comes_before_the_alias() -> None:
    types = {**TYPES, "Add": NodeSpec("Add")}
    pipeline = parse('{"version": "v1", "nodes": [{"id": "a", "type": "Add"}]}', name="manifest")
    assert compile_graph(pipeline, types).nodes[0].node_type == "Add"


def test_a_type_that_an_extra_brings() -> None:
    types = {name: spec for name, spec in TYPES.items() if name != "SpeechToText"}
    pipeline = parse('{"version": "v1", "nodes": [{"id": "a", "type": "SpeechToText"}]}', name="manifest")
    [fault] = validate(pipeline, types)
    assert str(fault) == "nodes[0].node_type: unknown node type 'SpeechToText'; install remotemedia-mesh[speech]"


def test_kinds_that_may_meet() -> None:
    def meet(returns: str, accepts: str) -> bool:
        types = {"A": NodeSpec("A", returns=returns), "B": NodeSpec("B", accepts=accepts)}
        nodes = [{"id": "a", "type": "A"}, {"id": "b", "type": "B"}]
        manifest = {"version": "v1", "nodes": nodes, "connections": [{"from": "a", "to": "b"}]}
        return not validate(parse(json.dumps(manifest), name="manifest"), types)

    assert all(meet("any", kind) and meet(kind, "any") and meet(kind, kind) for kind in ("int", "audio", "null"))
    pairs = [
        ("int", "number"),
        ("number", "float"),
        ("audio", "map"),
        ("map", "audio"),
        ("array", "image"),
        ("image", "array"),
    ]
    assert all(meet(*pair) for pair in pairs)
    assert not any(
        meet(*pair) for pair in [("int", "float"), ("bool", "number"), ("text", "bytes"), ("audio", "image")]
    )


graphs = st.integers(1, 12).flatmap(
    lambda size: st.tuples(
        st.permutations(range(size)),
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=30),
    )
)


@given(graphs)
def test_order_and_cycle(drawn: tuple[list[int], list[tuple[int, int]]]) -> None:
    nodes, edges = drawn
    order, cycle = topological(nodes, edges), find_cycle(edges)
    assert (len(order) < len(nodes)) == bool(cycle)
    if cycle:
        assert all(pair in edges for pair in zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    else:
        assert all(order.index(source) < order.index(target) for source, target in edges)


GRAPH = to_value(
    compiled(next(each["manifest"] for each in VECTORS["graphs"] if each["name"] == "a join starts afresh"))
)


def spoiled(*path: Any, value: Any) -> Any:
    tree = decode(encode(GRAPH))
    at = tree
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return tree


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["nodes"], [], "nodes: ids are unique, and there is at least one"),
        (["nodes", 0, "id"], "j", "nodes: ids are unique"),
        (["nodes", 0, "id"], "", "nodes[0].id: write text"),
        (["nodes", 0, "params"], None, "nodes[0].params: write an encoded map"),
        (["nodes", 0, "params"], b"\x90", "nodes[0].params: write an encoded map"),
        (["nodes", 0, "params"], b"\xc1", "nodes[0].params: "),
        (["nodes", 0, "arity"], "some", "nodes[0].arity: write one of many, maybe, one"),
        (["nodes", 0, "timeout_s"], float("nan"), "nodes[0].timeout_s: write a number from 0 to 86400"),
        (["nodes", 0, "timeout_s"], 1e9, "nodes[0].timeout_s: write a number"),
        (["nodes", 0, "join"], None, "nodes[0].join: write true or false"),
        (["nodes", 0, "more"], 1, "nodes[0].more: unknown field"),
        (["nodes", 1, "join"], False, None),
        (["nodes", 3, "join"], False, "edges: 'k' is no join and has 2 inputs"),
        (["edges"], [], "edges: nothing goes into 'r', or nothing out of it"),
        (["edges", 0, "from"], "nobody", "edges[0]: it begins or ends at no node"),
        (
            ["edges", 0],
            {"from": None, "to": None, "port": "", "list": False, "overflow": "block"},
            "edges[0]: it begins",
        ),
        (["edges", 0, "overflow"], "grow", "edges[0].overflow: write one of block, drop_oldest"),
        (["edges", 0, "port"], 3, "edges[0].port: write text"),
        (["edges", 3, "port"], "f", "edges: 2 edges go into port 'f' of 'k'"),
        (["edges", 6, "port"], "x", "edges[6].port: a result's port is its sink's id"),
        (["order"], ["r"], "order: every node comes once"),
        (["order"], ["r", "r", "j", "f", "k", "x"], "order: every node comes once"),
        (["order"], ["j", "r", "f", "k", "x"], "order: 'r' feeds 'j' and comes after it"),
        (["order", 0], 1, "order: write texts"),
        (["extra"], 1, "extra: unknown field"),
    ],
)
def test_graphs_from_outside_are_checked(path: list[Any], value: Any, message: str | None) -> None:
    tree = spoiled(*path, value=value)
    if message is None:
        from_value(tree)
        return
    with pytest.raises(ValueFault) as caught:
        from_value(tree)
    assert str(caught.value).startswith(message)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["nodes", "edges", "order", "id"]), inner)
    ),
    max_leaves=8,
)


@given(trees)
def test_anything_else_is_a_fault(tree: Any) -> None:
    with pytest.raises(ValueFault):
        from_value(tree)
