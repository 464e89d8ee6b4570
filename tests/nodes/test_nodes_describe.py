"""What a class or a function says of itself, and the mistakes that people make in writing one."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, ClassVar, Literal

import pytest

from mesh.errors import NodeError, NodeSourceError, ValueFault
from mesh.nodes import SKIP, Node, NodeSpec, Param, bind, node, spec_of
from mesh.nodes.base import DECLARED


class Scale(Node):
    """Scales.

    At length.
    """

    factor: Annotated[float, "by how much"]
    offset: float = 0.0
    mode: Literal["fast", "exact"] = "fast"
    name: str | None = None
    tags: tuple[str, ...] = ("a",)
    table: ClassVar[dict[str, int]] = {}
    _cache: dict[str, int]

    accepts = "number"
    returns = "number"
    deterministic = False

    def process(self, value: Any) -> Any:
        return value * self.factor + self.offset


def spec_of_function(function: Any) -> NodeSpec:
    return spec_of(vars(function)[DECLARED])


def test_a_class() -> None:
    assert spec_of(Scale) == NodeSpec(
        "Scale",
        doc="Scales.\n\nAt length.",
        params={
            "factor": Param("number", doc="by how much"),
            "offset": Param("number", required=False, default=0.0),
            "mode": Param("text", required=False, default="fast", choices=("fast", "exact")),
            "name": Param("text", required=False, default=None),
            "tags": Param("list", required=False, default=["a"]),
        },
        accepts="number",
        returns="number",
        deterministic=False,
    )


def test_a_subclass_inherits_parameters_and_flags() -> None:
    class Twice(Scale):
        factor: int = 2
        extra: Any

    spec = spec_of(Twice)
    assert list(spec.params) == ["factor", "offset", "mode", "name", "tags", "extra"]
    assert spec.params["factor"] == Param("int", required=False, default=2)
    assert spec.accepts == "number"
    assert spec.doc == ""


def test_flags_follow_from_methods() -> None:
    class Gather(Node):
        stateful = True

        async def process(self, value: Any) -> AsyncIterator[Any]:
            yield value

        def finish(self) -> Any:
            return SKIP

        def snapshot(self) -> Any:
            return None

        def restore(self, state: Any) -> None:
            pass

    spec = spec_of(Gather)
    assert (spec.arity, spec.finishes, spec.snapshots) == ("many", True, True)


def test_a_generator_may_say_otherwise() -> None:
    class Keep(Node):
        arity = "maybe"

        def process(self, value: Any) -> Iterator[Any]:
            if value:
                yield value

    class KeepMore(Keep):
        pass

    assert spec_of(Keep).arity == spec_of(KeepMore).arity == "maybe"


def test_a_function() -> None:
    @node
    def shout(value: str, *, mark: str = "!", times: Annotated[int, "how often"]) -> str:
        """Louder."""
        return value.upper() + mark * times

    assert shout("a", times=2) == "A!!"
    assert spec_of_function(shout) == NodeSpec(
        "shout",
        doc="Louder.",
        params={"mark": Param("text", required=False, default="!"), "times": Param("int", doc="how often")},
        accepts="text",
        returns="text",
    )
    instance = bind(vars(shout)[DECLARED], {"times": 1})
    instance.setup()
    assert instance.process("b") == "B!"


def test_a_function_with_flags() -> None:
    @node(arity="maybe", stateful=True, accepts="audio", deterministic=False)
    def hear(value):  # type: ignore[no-untyped-def]
        yield value

    @node
    def count(value: int | float) -> Iterator[dict[str, int]]:
        yield {}

    @node(join=True, optional=("b",))
    async def pair(value: dict[str, Any]) -> Any:
        return [value["a"], value.get("b")]

    heard = spec_of_function(hear)
    assert (heard.arity, heard.stateful, heard.accepts, heard.deterministic) == ("maybe", True, "audio", False)
    counted = spec_of_function(count)
    assert (counted.arity, counted.accepts, counted.returns) == ("many", "number", "map")
    paired = spec_of_function(pair)
    assert (paired.join, paired.optional, paired.accepts) == (True, ("b",), "map")


def wrong_class(**members: Any) -> type[Node]:
    return type("Wrong", (Node,), {"process": lambda self, value: value, **members})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"process": Node.process}, "it has no process"),
        ({"accepts": "txt"}, "accepts is 'txt', but the kinds are any, array"),
        ({"arity": "some"}, "arity is 'some'"),
        ({"stateful": "yes"}, "stateful is True or False"),
        ({"optional": "port", "join": True}, "optional is a tuple of port names"),
        ({"optional": ("port",)}, "optional ports are for joins"),
        ({"snapshot": lambda self: 1, "stateful": True}, "snapshot and restore come together"),
        ({"finish": lambda self: 1}, "write stateful = True"),
        ({"__annotations__": {"model": complex}}, "model: <class 'complex'> is no kind of value"),
        ({"__annotations__": {"size": int}, "size": "big"}, "the default of size: write a value of kind int, not text"),
        ({"__annotations__": {"size": "Undefined"}}, "name 'Undefined' is not defined"),
        ({"__annotations__": {"at": object}, "at": {1}}, "set cannot be carried"),
        ({"__annotations__": {"setup": int}}, "'setup' is a word of Node"),
    ],
)
def test_wrong_classes(members: dict[str, Any], message: str) -> None:
    with pytest.raises(NodeSourceError) as caught:
        spec_of(wrong_class(**members))
    assert str(caught.value).startswith("Wrong: ")
    assert message in str(caught.value)


def test_wrong_functions() -> None:
    def two(a: int, b: int) -> int:
        return a + b

    def many(*values: int) -> int:
        return sum(values)

    for function in (two, many, lambda: None):
        with pytest.raises(NodeSourceError, match="takes one value; parameters are keyword-only"):
            spec_of_function(node(function))
    with pytest.raises(TypeError, match=r"takes the flags accepts, .*, not params"):
        node(params=1)(two)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "params.factor: Scale needs this parameter (number)"),
        ({"factr": 1, "factor": 1}, "params.factr: unknown parameter of Scale; did you mean 'factor'?"),
        ({"factor": "2"}, "params.factor: write a value of kind number, not text"),
        ({"factor": True}, "params.factor: write a value of kind number, not bool"),
        ({"factor": 1, "mode": "slow"}, "params.mode: write one of 'fast', 'exact'"),
        ({"factor": 1, "offset": None}, "params.offset: write a value of kind number, not null"),
    ],
)
def test_bind_refuses(params: dict[str, Any], message: str) -> None:
    with pytest.raises(NodeError) as caught:
        bind(Scale, params)
    assert message in str(caught.value)


def test_bind_applies_defaults_anew_for_each_instance() -> None:
    first, second = bind(Scale, {"factor": 2}), bind(Scale, {"factor": 2, "name": None})
    assert isinstance(first, Scale)
    assert isinstance(second, Scale)
    assert first.process(3) == 6.0
    assert first.tags == ["a"]
    assert first.tags is not second.tags


def test_specs_travel_as_json() -> None:
    spec = NodeSpec(
        "T",
        params={
            "a": Param("bytes", required=False, default=b"x"),
            "b": Param(required=False),
            "c": Param("int", choices=(1, 2)),
        },
        optional=("p",),
        join=True,
        runtimes=("wasm", "python"),
    )
    assert NodeSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (5, "write a map, not int"),
        ({}, "node_type: write text of at most 256 characters"),
        ({"node_type": "x" * 257}, "node_type: write text"),
        ({"node_type": "T", "params": []}, "params: write a map"),
        ({"node_type": "T", "params": {"a b": 1}}, 'params["a b"]: write a map, not int'),
        ({"node_type": "T", "params": {"a": {"kind": "complex"}}}, "params.a.kind: write one of any, array"),
        (
            {"node_type": "T", "params": {"a": {"kind": "int", "default": "x"}}},
            "params.a.default: write a value of kind int",
        ),
        (
            {"node_type": "T", "params": {"a": {"kind": "any", "default": {"$x": 1}}}},
            "params.a.default: '$x' is no form",
        ),
        ({"node_type": "T", "params": {"a": {"kin": "any"}}}, "params.a.kin: unknown field"),
        ({"node_type": "T", "arity": "two"}, "arity: write one of many, maybe, one"),
        ({"node_type": "T", "arity": []}, "arity: write one of"),
        ({"node_type": "T", "join": 1}, "join: write true or false"),
        ({"node_type": "T", "optional": ["a", 1]}, "optional: write texts"),
        ({"node_type": "T", "runtimes": ["jvm"]}, "runtimes: write some of wasm, python, pyodide"),
        ({"node_type": "T", "more": 1}, "more: unknown field"),
    ],
)
def test_specs_from_outside_are_checked(fields: Any, message: str) -> None:
    with pytest.raises(ValueFault) as caught:
        NodeSpec.from_json(fields)
    assert str(caught.value).startswith(message)
