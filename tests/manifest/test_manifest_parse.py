"""Reading manifests: JSON and YAML, files, what is ignored and what is refused. The vectors hold most faults."""

import contextlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import ManifestError, ValueFault
from mesh.limits import MAX_FAULTS, MAX_MANIFEST_BYTES
from mesh.manifest import compile_graph, load, parse
from mesh.manifest.model import Capabilities, Connection, Cpu, Gpu, Placement
from mesh.manifest.schema import SCHEMA, check
from mesh.manifest.yaml_tree import read
from mesh.nodes import Registry

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
TYPES = {spec.node_type: spec for spec in Registry().specs()}

FULL = """
version: v1
metadata: {name: full, description: everything, author: someone, on: yes}
x-input: [1, 2]
nodes:
  - id: a
    type: PassThrough
    x-note: ignored
    capabilities: {gpu: true, cpu: {cores: 2, arch: x86_64}, memory_gb: 1.5, labels: {zone: eu}, x-why: because}
    prefers: {gpu: {type: cuda, min_memory_gb: 8}}
    placement: {peer: driver, kind: server, runtime: python, labels: {room: "1"}}
    timeout_s: 5
  - {id: j, node_type: Join}
connections:
  - {from: a, to: j, port: left, overflow: drop_oldest}
  - {from: a, to: j}
"""


def faults_of(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parse(text, name="file")
    return [str(fault) for fault in caught.value.faults]


def test_everything_that_a_manifest_can_say() -> None:
    pipeline = parse(FULL, name="file")
    assert pipeline.faults == ()
    assert pipeline.name == "full"
    assert pipeline.metadata["on"] == "yes"
    assert pipeline.source == FULL
    node = pipeline.nodes[0]
    assert node.capabilities == Capabilities(Gpu(), Cpu(2, "x86_64"), 1.5, {"zone": "eu"})
    assert node.prefers == Capabilities(Gpu("cuda", 8))
    assert node.placement == Placement("driver", "server", "python", {"room": "1"})
    assert node.timeout_s == 5.0
    assert pipeline.nodes[1].node_type == "Join"
    assert pipeline.connections == (
        Connection(node.id, pipeline.nodes[1].id, "left", "drop_oldest"),
        Connection(node.id, pipeline.nodes[1].id),
    )


def test_json_and_yaml_say_the_same() -> None:
    as_json = json.dumps(read(FULL))
    left, right = parse(FULL, name="file"), parse(f"\n {as_json}", name="file")
    assert (left.nodes, left.connections, left.metadata) == (right.nodes, right.connections, right.metadata)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, -2, 0, +3, 18446744073709551615]", [1, -2, 0, 3, 2**64 - 1]),
        ("[1.0, -.5, 1e3, 1., 0.1E-2]", [1.0, -0.5, 1000.0, 1.0, 0.001]),
        ("[on, yes, y, 2024-01-01, 12:30, 0x1F]", ["on", "yes", "y", "2024-01-01", "12:30", "0x1F"]),
        ("[0o7, 007, 1_000, 1.2.3, 1e, .]", ["0o7", "007", "1_000", "1.2.3", "1e", "."]),
        ("[true, False, TRUE, null, ~, ]", [True, False, True, None, None]),
        ("['1', \"true\", \"\", '~']", ["1", "true", "", "~"]),
        ("a: |\n  1\n  2\nb: >\n  x\n  y\nc:\n", {"a": "1\n2\n", "b": "x y\n", "c": None}),
        ("[.inf, -.inf]", [float("inf"), float("-inf")]),
        ("{'on': 1, \"2\": 3}", {"on": 1, "2": 3}),
    ],
)
def test_yaml_words(text: str, value: Any) -> None:
    tree = read(text)
    assert tree == value
    assert list(map(type, tree)) == list(map(type, value))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [", 3),
        ("a: 1\n1: 2", 2),
        ("a: 1\nnull: 2", 2),
        ("a: 1\n? {b: 1}\n: 2", 2),
        ("a: 1\nb: &x 2", 2),
        ("a: 1\nb: *x", 2),
        ("a: 1\nb: !!binary aGk=", 2),
        ("a: 1\nb: ! x", 2),
        ("a: 1\nb: {c: 1, c: 2}", 2),
        ("a: 1\n---\nb: 2", 2),
        ("a: 1\nb: 1e999", 2),
        ("a: 1\nb: 1" + "0" * 400, 2),
        ("a: 1\nb: " + "[" * 200, 2),
        ("a: 1\n\tb: 2", 2),
        ("", 1),
        ("# nothing", 1),
    ],
)
def test_yaml_faults_have_a_line(text: str, line: int) -> None:
    [fault] = faults_of(text)
    assert fault.startswith(f"file: line {line}, column ") or (
        text in ("", "# nothing") and "the file is empty" in fault
    )


def test_yaml_cannot_grow() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    assert "anchors and aliases are not taken" in faults_of(bomb)[0]


@given(st.text(alphabet="ab1:-[]{},\"'&*!|>#%@ \n?~.$", max_size=40))
def test_any_text_is_a_tree_or_a_fault(text: str) -> None:
    with contextlib.suppress(ValueFault):
        read(text)


def test_forms_hold_in_manifests() -> None:
    text = 'version: v1\nnodes: [{id: a, type: Fail, params: {value: {$map: [["$x", {$bytes: aGk=}]]}}}]'
    assert parse(text, name="file").nodes[0].params["value"] == {"$x": b"hi"}
    assert faults_of(text.replace("$map", "$mop"))[0].startswith("nodes[0].params.value: '$mop' is no form")


def test_text_that_is_no_unicode() -> None:
    assert faults_of('{"version": "v1", "nodes": [{"id": "\\ud800", "type": "Range"}]}') == [
        "nodes[0].id: half a surrogate pair is no Unicode text"
    ]


def test_params_take_as_many_levels_as_items() -> None:
    def manifest(levels: int) -> str:
        value = "[" * levels + "]" * levels
        return f'{{"version": "v1", "nodes": [{{"id": "a", "type": "Fail", "params": {{"value": {value}}}}}]}}'

    compile_graph(parse(manifest(63), name="file"), TYPES)
    with pytest.raises(ManifestError, match="deeper than 64"):
        compile_graph(parse(manifest(64), name="file"), TYPES)


def test_bounds() -> None:
    assert "at most" in faults_of(" " * (MAX_MANIFEST_BYTES + 1))[0]
    many = json.dumps(
        {"version": "v1", "nodes": [{"id": f"n{n}", "type": "Range", "x": 1} for n in range(MAX_FAULTS + 1)]}
    )
    assert len(parse(many, name="file").faults) == MAX_FAULTS


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    with pytest.raises(ManifestError, match=r"pipeline\.yaml: No such file"):
        load(file)
    with pytest.raises(ManifestError, match="Is a directory"):
        load(tmp_path)
    file.write_bytes(b"version: v1\n\xff")
    with pytest.raises(ManifestError, match=r"pipeline\.yaml: line 2: the text is no UTF-8"):
        load(file)
    file.write_bytes(b"\xef\xbb\xbf" + FULL.encode())
    assert load(file).faults == ()
    file.write_text('{"version": "v1", "nodes": [{"id": "a", "type": "Range"}]}')
    assert load(file).name == str(file)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_examples_are_right_and_explain_themselves(file: Path) -> None:
    pipeline = load(file)
    tree = read(file.read_text())
    assert pipeline.faults == ()
    assert pipeline.metadata["description"]
    assert "x-input" in tree or file.name.startswith("speech")  # its items are a file of their own
    jsonschema.Draft202012Validator(SCHEMA).validate(tree)


def test_the_published_schema_is_the_table() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert (ROOT / "docs" / "manifest.schema.json").read_text() == json.dumps(SCHEMA, indent=2) + "\n"


odd = st.sampled_from(
    [None, True, 1, -1.5, "", "v1", "a", [], {}, {"x-a": 1}, {"gpu": True}, {"labels": {"a": "b"}}, "python"]
)


@given(st.data())
def test_our_check_agrees_with_json_schema(data: st.DataObject) -> None:
    """On every manifest with one or two places spoiled."""
    tree = read(FULL)
    for _ in range(data.draw(st.integers(0, 2))):
        place, key = data.draw(st.sampled_from(list(places(tree))))
        key = data.draw(st.just(key) | st.sampled_from(["config", "type", "x-a"])) if isinstance(place, dict) else key
        place[key] = deepcopy(data.draw(odd))
    right = jsonschema.Draft202012Validator(SCHEMA).is_valid(tree)
    assert right == (not list(check(tree)))


def places(tree: Any) -> Any:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, dict | list):
            yield from places(value)
