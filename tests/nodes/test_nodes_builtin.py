"""The built-in types, item by item, as the contract's table and its precise points have them."""

import asyncio
import time
from typing import Any

import numpy
import pytest

from mesh.errors import NodeError, NodeSourceError
from mesh.nodes import SKIP, Node, NodeSpec, Registry, bind

REGISTRY = Registry()


def make(node_type: str, **params: Any) -> Node:
    instance = bind(REGISTRY.get(node_type), params)
    instance.setup()
    return instance


def answers(node: Node, *items: Any) -> list[Any]:
    return [node.process(item) for item in items]


def test_pass_through() -> None:
    assert answers(make("PassThrough"), None, 2.0, {"a": [1]}) == [None, 2.0, {"a": [1]}]


def test_multiply_and_add_keep_ints_and_floats_apart() -> None:
    results = [
        *answers(make("MultiplyNode", factor=2), 5, 2.5),
        *answers(make("Multiply", factor=2.0), 5),
        *answers(make("AddNode", addend=10), 5, 0.5),
        *answers(make("Add", addend=-0.5), 1),
    ]
    assert results == [10, 5.0, 10.0, 15, 10.5, 0.5]
    assert [type(result) for result in results] == [int, float, float, int, float, float]


@pytest.mark.parametrize("item", [True, "5", None, [1], b"1"])
@pytest.mark.parametrize(
    "node", [make("Multiply", factor=2), make("Add", addend=2), make("DataTransform", operation="double")]
)
def test_arithmetic_takes_numbers_only(node: Node, item: Any) -> None:
    if isinstance(item, list) and type(node).__name__ == "DataTransformNode":
        item = [item]
    with pytest.raises(TypeError, match="a number is needed"):
        node.process(item)


def test_text_processor() -> None:
    node = make("TextProcessor")
    assert answers(node, "Hello big World", 15, 2.0, True, None, {"a": 1}) == [
        {
            "original_text": "Hello big World",
            "results": {"uppercase": "HELLO BIG WORLD", "word_count": 3, "char_count": 15},
        },
        {"original_text": "15", "results": {"uppercase": "15", "word_count": 1, "char_count": 2}},
        {"original_text": "2.0", "results": {"uppercase": "2.0", "word_count": 1, "char_count": 3}},
        {"original_text": "True", "results": {"uppercase": "TRUE", "word_count": 1, "char_count": 4}},
        {"original_text": "None", "results": {"uppercase": "NONE", "word_count": 1, "char_count": 4}},
        {"original_text": "{'a': 1}", "results": {"uppercase": "{'A': 1}", "word_count": 2, "char_count": 8}},
    ]


def test_text_processor_takes_the_operations_of_the_item_first() -> None:
    node = make("TextProcessorNode", operations=["reverse", "lowercase"])
    assert node.process({"text": "Ab", "operations": ["uppercase", "word_count"]}) == {
        "original_text": "Ab",
        "results": {"uppercase": "AB", "word_count": 1},
    }
    assert node.process({"text": 12}) == {"original_text": "12", "results": {"reverse": "21", "lowercase": "12"}}


@pytest.mark.parametrize(
    "item",
    [b"a", numpy.zeros(1), {"text": b"a"}, {"text": "a", "operations": ["x"]}, {"text": "a", "operations": "reverse"}],
)
def test_text_processor_refuses(item: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        make("TextProcessorNode").process(item)


def test_text_processor_refuses_an_unknown_operation_at_setup() -> None:
    with pytest.raises(ValueError, match="'shout' is no operation; the operations are uppercase"):
        make("TextProcessorNode", operations=["shout"])


def test_data_transform() -> None:
    assert answers(make("DataTransformNode", operation="double"), 2, 0.5, [1, 2.5]) == [4, 1.0, [2, 5.0]]
    assert answers(make("DataTransform", operation="increment"), 2, []) == [3, []]
    assert answers(make("DataTransformNode", operation="passthrough"), "a", 1) == ["a", 1]


def test_select() -> None:
    assert make("Select", path=["a", 1, "b c"]).process({"a": [0, {"b c": None}]}) is None
    assert make("Select", path=[]).process(5) == 5


@pytest.mark.parametrize("item", [{}, {"a": []}, {"a": {"0": 1}}, {"a": "text"}, [1], None])
def test_select_of_nothing(item: Any) -> None:
    with pytest.raises(LookupError, match=r"there is nothing at a"):
        make("Select", path=["a", 0]).process(item)


@pytest.mark.parametrize("path", [[-1], [True], [1.0], [None], ["a", []]])
def test_paths_have_keys_and_indexes(path: list[Any]) -> None:
    for node_type, more in (("Select", {}), ("Filter", {"op": "truthy"})):
        with pytest.raises(ValueError, match="a step is a key or an index"):
            make(node_type, path=path, **more)


@pytest.mark.parametrize(
    ("op", "value", "passing", "failing"),
    [
        ("eq", 2, [2, 2.0], [3, "2", None]),
        ("eq", True, [True], [1, False]),
        ("eq", [1, {"a": 2}], [[1, {"a": 2}], [1.0, {"a": 2.0}]], [[True, {"a": 2}], [1], [1, {"b": 2}]]),
        ("eq", None, [None], [0, False, ""]),
        ("ne", 2, [3, "2", None], [2, 2.0]),
        ("eq", numpy.array([1, 2]), [numpy.array([1, 2])], [numpy.array([1, 3]), numpy.array([1.0, 2.0]), [1, 2]]),
        ("lt", 2, [1, 1.9], [2, 3]),
        ("le", 2, [1, 2, 2.0], [2.1]),
        ("gt", "b", ["c", "ba"], ["b", "a", "B"]),
        ("ge", "b", ["c", "b"], ["a", ""]),
        (
            "truthy",
            None,
            [1, "a", [0], True, {"a": 0}, numpy.zeros(1)],
            [0, 0.0, "", [], {}, None, False, numpy.zeros((2, 0))],
        ),
    ],
)
def test_filter(op: str, value: Any, passing: list[Any], failing: list[Any]) -> None:
    node = make("Filter", op=op, value=value)
    assert all(node.process(item) is item for item in passing)
    assert all(node.process(item) is SKIP for item in failing)


def test_filter_by_path() -> None:
    node = make("Filter", op="gt", value=1, path=["a", 0])
    assert node.process({"a": [2]}) == {"a": [2]}
    assert node.process({"a": [1]}) is SKIP
    with pytest.raises(LookupError):
        node.process({"a": []})


@pytest.mark.parametrize(("subject", "value"), [("a", 1), (1, "a"), (True, 1), (None, None), ([1], [2])])
def test_filter_orders_numbers_and_texts_only(subject: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="have no order"):
        make("Filter", op="lt", value=value).process(subject)


def test_range() -> None:
    node = make("Range")
    assert [list(node.process(n)) for n in (3, 0, -2)] == [[0, 1, 2], [], []]
    for item in (True, 2.0, "2"):
        with pytest.raises(TypeError):
            list(node.process(item))


def test_window_and_its_state() -> None:
    node = make("Window", size=2)
    assert answers(node, 1, 2, 3) == [SKIP, [1, 2], SKIP]
    other = make("Window", size=2)
    other.restore(node.snapshot())
    assert answers(other, 4, 5) == [[3, 4], SKIP]
    assert [other.finish(), other.finish()] == [[5], SKIP]
    with pytest.raises(ValueError, match="at least 1"):
        make("Window", size=0)


def test_counter_and_its_state() -> None:
    node = make("Counter")
    assert answers(node, "a", "b") == [{"count": 1, "value": "a"}, {"count": 2, "value": "b"}]
    other = make("Counter")
    other.restore(node.snapshot())
    assert other.process(None) == {"count": 3, "value": None}


def test_join_gives_its_ports() -> None:
    assert make("Join").process({"a": 1, "b": [2]}) == {"a": 1, "b": [2]}


def test_delay_holds_no_processor() -> None:
    async def both() -> list[Any]:
        node = make("Delay", seconds=0.05)
        return await asyncio.gather(node.process(1), node.process(2))

    started = time.monotonic()
    assert asyncio.run(both()) == [1, 2]
    assert 0.05 <= time.monotonic() - started < 0.1


def test_busy_computes() -> None:
    started = time.thread_time()
    assert make("Busy", ms=20).process("x") == "x"
    assert 0.02 <= time.thread_time() - started < 0.1


def test_fail() -> None:
    node = make("Fail", value=3, message="three")
    assert answers(node, 2, "3", True) == [2, "3", True]
    for item in (3, 3.0):
        with pytest.raises(RuntimeError, match=r"^three$"):
            node.process(item)


def test_the_table_of_types() -> None:
    specs = {spec.node_type: spec for spec in REGISTRY.specs()}
    assert set(specs) - {"SpeechToText"} == {
        "PassThrough", "MultiplyNode", "AddNode", "TextProcessorNode", "DataTransformNode", "Select", "Filter",
        "Range", "Window", "Counter", "Join", "Delay", "Busy", "Fail",
    }  # fmt: skip
    assert {name for name, spec in specs.items() if spec.stateful} == {"Window", "Counter"}
    assert all(spec.snapshots for spec in specs.values() if spec.stateful)
    assert {name: spec.arity for name, spec in specs.items() if spec.arity != "one"} == {
        "Filter": "maybe",
        "Range": "many",
        "Window": "maybe",
    }
    assert [name for name, spec in specs.items() if spec.finishes] == ["Window"]
    assert all(spec.doc for spec in specs.values())
    assert all(NodeSpec.from_json(spec.to_json()) == spec for spec in specs.values())


def test_unknown_and_forbidden_types() -> None:
    with pytest.raises(NodeError, match="no Python node type 'Rnge' here; did you mean 'Range'"):
        REGISTRY.get("Rnge")
    narrow = Registry(allow=["Multiply", "Range"])
    assert [spec.node_type for spec in narrow.specs()] == ["MultiplyNode", "Range"]
    assert narrow.get("MultiplyNode") is narrow.get("Multiply")
    with pytest.raises(NodeError, match="does not allow Join"):
        narrow.get("Join")


def test_errors_of_sources_are_manifest_errors_with_a_path() -> None:
    with pytest.raises(NodeSourceError) as caught:
        REGISTRY.load("no_such_file.py")
    assert str(caught.value) == "no_such_file.py: there is no such file"
