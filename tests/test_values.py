"""Values, payloads and JSON: the vectors that TypeScript asserts too, round trips, and what is refused where."""

import json
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mesh.errors import ValueFault
from mesh.limits import MAX_DEPTH
from mesh.nodes.spec import KINDS
from mesh.values import (
    DTYPES,
    Array,
    check,
    decode,
    encode,
    from_json,
    kind_of,
    matches,
    pack_list,
    pack_map,
    to_json,
)

VECTORS = json.loads((Path(__file__).parent / "vectors" / "values.json").read_text())

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=("Cs",)))
    | st.binary()
)
ndarrays = arrays.arrays(st.sampled_from(DTYPES), arrays.array_shapes(min_dims=0, min_side=0, max_dims=3))
values = st.recursive(
    scalars | ndarrays,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equal with types, floats by their bits, arrays by dtype, shape and bytes."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, numpy.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)


def fault_of(action: Any, *args: Any) -> str:
    with pytest.raises(ValueFault) as caught:
        action(*args)
    return str(caught.value)


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: vector["json"][:40])
def test_vector_both_ways(vector: dict[str, str]) -> None:
    payload = bytes.fromhex(vector["hex"])
    check(payload)
    assert encode(from_json(vector["json"])) == payload
    assert encode(decode(payload)) == payload
    assert to_json(decode(payload)) == vector["json"]


@pytest.mark.parametrize("vector", VECTORS["read_json"], ids=lambda vector: vector["json"])
def test_vector_from_json(vector: dict[str, str]) -> None:
    assert encode(from_json(vector["json"])).hex() == vector["hex"]


@pytest.mark.parametrize("vector", VECTORS["read_payload"], ids=lambda vector: vector["hex"])
def test_vector_from_payload(vector: dict[str, str]) -> None:
    check(bytes.fromhex(vector["hex"]))
    assert to_json(decode(bytes.fromhex(vector["hex"]))) == vector["json"]


@pytest.mark.parametrize("vector", VECTORS["json_faults"], ids=lambda vector: vector["json"][:40])
def test_vector_of_wrong_json(vector: dict[str, str]) -> None:
    text = fault_of(lambda: encode(from_json(vector["json"])))
    assert text.startswith((f"{vector['place']}:", f"{vector['place']},"))


@pytest.mark.parametrize("vector", VECTORS["payload_faults"], ids=lambda vector: vector["hex"][:40] or "empty")
def test_vector_of_wrong_payload(vector: dict[str, str]) -> None:
    text = fault_of(check, bytes.fromhex(vector["hex"]))
    assert text.startswith(f"{vector['place']}:" if vector["place"] else "")
    assert fault_of(decode, bytes.fromhex(vector["hex"])) == text


@given(values)
def test_what_goes_in_comes_out_equal(value: Any) -> None:
    payload = encode(value)
    check(payload)
    assert same(decode(payload), value)
    assert same(from_json(to_json(value)), value)
    assert same(from_json(to_json(value, indent=2)), value)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_value_or_a_fault(payload: bytes) -> None:
    try:
        value = decode(payload)
    except ValueFault:
        with pytest.raises(ValueFault):
            check(payload)
    else:
        check(payload)
        assert same(decode(encode(value)), value)


@given(st.text(alphabet='{}[]",:$01eE.- \n\\untrflasmp', max_size=30))
def test_any_text_is_a_value_or_a_fault(text: str) -> None:
    try:
        value = from_json(text)
    except ValueFault:
        return
    assert same(json.loads(text), value) or "$" in text


@given(ndarrays, st.text(max_size=9))
def test_array_data_is_aligned(array: Any, key: str) -> None:
    payload = encode({"key": "x" * len(key), "array": array})
    assert array.nbytes == 0 or (len(payload) - array.nbytes) % 8 == 0


def test_any_layout_becomes_c_order() -> None:
    grid = numpy.arange(12, dtype=">i4").reshape(3, 4)
    for layout in (grid, grid.T, grid[::2, ::-1], numpy.asfortranarray(grid), grid[1, 1:2]):
        decoded = decode(encode([layout]))[0]
        assert decoded.dtype == numpy.dtype("<i4")
        assert numpy.array_equal(decoded, layout)
        assert decoded.flags.writeable
        assert decoded.flags.aligned
        assert decoded.flags.c_contiguous


def test_other_types_that_mean_a_value() -> None:
    class Text(str):
        pass

    value = (numpy.int64(1), numpy.float32(1.5), numpy.bool(True), Text("a"), bytearray(b"b"), {Text("k"): (1,)})
    decoded = decode(encode(value))
    assert same(decoded, [1, 1.5, True, "a", b"b", {"k": [1]}])
    assert same(from_json(to_json(value)), decoded)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1: 2}, "map keys must be text, not int"),
        ([{"a": {math.nan: 1}}], "[0].a: map keys must be text, not float"),
        ([{"odd key": 2**64}], '[0]["odd key"]: the integer is outside -2**63 … 2**64-1'),
        ({"a": {1, 2}}, "a: set cannot be carried"),
        ([1, 1j], "[1]: complex cannot be carried"),
        ([msgpack.ExtType(1, b"")], "[0]: ExtType cannot be carried"),
        (["\ud800"], "[0]: half a surrogate pair is no Unicode text"),
        (
            {"a": numpy.zeros(1, "complex64")},
            f"a: arrays of complex64 cannot be carried; the dtypes are {', '.join(DTYPES)}",
        ),
        (numpy.array([None]), f"arrays of object cannot be carried; the dtypes are {', '.join(DTYPES)}"),
        ([numpy.datetime64(1, "s")], "[0]: datetime64 cannot be carried"),
    ],
)
def test_what_is_no_value(value: Any, text: str) -> None:
    assert fault_of(encode, value) == text


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_depth() -> None:
    payload = encode(nested(MAX_DEPTH))
    assert decode(payload) == nested(MAX_DEPTH)
    assert "deeper than 64" in fault_of(encode, nested(MAX_DEPTH + 1))
    joined = pack_map([("port", pack_list([payload]))])
    assert decode(joined, extra_levels=2) == {"port": [nested(MAX_DEPTH)]}
    assert "deeper than 64" in fault_of(lambda: decode(joined, extra_levels=1))
    loop: list[Any] = []
    loop.append(loop)
    assert "deeper than 64" in fault_of(encode, loop)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_packing_is_encoding(count: int) -> None:
    numbers = list(range(count))
    assert pack_list([encode(n) for n in numbers]) == encode(numbers)
    assert pack_map([(f"k{n}", encode(n)) for n in numbers]) == encode({f"k{n}": n for n in numbers})


def test_array_without_numpy() -> None:
    array = Array("float32", (2, 3), bytearray(struct.pack("<6f", *range(6))))
    assert memoryview(array).tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert encode(array) == encode(numpy.arange(6, dtype="float32").reshape(2, 3))
    assert "are not the data of a int8 array" in fault_of(Array, "int8", (2,), bytearray(3))


WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None
from mesh.values import Array, decode, encode, from_json, to_json
payload = bytes.fromhex(sys.argv[1])
array = decode(payload)["a"]
assert type(array) is Array and array.shape == (2,) and memoryview(array).tolist() == [1, -1]
memoryview(array)[0] = 1
assert encode({"a": array}) == payload == encode(from_json(to_json({"a": array})))
"""


def test_imports_and_works_without_numpy() -> None:
    payload = encode({"a": numpy.array([1, -1], "int16")})
    subprocess.run([sys.executable, "-c", WITHOUT_NUMPY, payload.hex()], check=True)


@pytest.mark.parametrize(
    ("value", "kind", "others"),
    [
        (None, "null", []),
        (True, "bool", []),
        (1, "int", ["number"]),
        (1.0, "float", ["number"]),
        ("", "text", []),
        (b"", "bytes", []),
        ([], "list", []),
        ({}, "map", []),
        (numpy.zeros(2), "array", []),
        (numpy.zeros((2, 2, 3), "uint8"), "array", ["image"]),
        (numpy.zeros((2, 2, 2), "uint8"), "array", []),
        (numpy.zeros((2, 2), "uint8"), "array", []),
        ({"samples": numpy.zeros(2, "float32"), "rate": 16_000}, "map", ["audio"]),
        ({"samples": numpy.zeros((2, 2), "float32"), "rate": 16_000}, "map", ["audio"]),
        ({"samples": numpy.zeros(2, "float64"), "rate": 16_000}, "map", []),
        ({"samples": numpy.zeros(2, "float32"), "rate": 16_000.0}, "map", []),
        ({"samples": [1.0], "rate": 16_000}, "map", []),
    ],
)
def test_kinds(value: Any, kind: str, others: list[str]) -> None:
    assert kind_of(value) == kind
    assert {each for each in KINDS if matches(each, value)} == {"any", kind, *others}
