"""The modules of nodes that we ship: their shape as core modules, what they say of themselves, and what they do."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import wasmtime

from mesh.errors import NodeSourceError
from mesh.limits import MAX_WASM_MEMORY_BYTES
from mesh.manifest.graph import GraphNode
from mesh.nodes.spec import NodeSpec
from mesh.runtimes.wasm import MODULES, WasmRuntime, load
from mesh.values import decode, encode, from_json

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ("audio", "basics")

WORLD = {
    "cabi_realloc": (["i32"] * 4, ["i32"]),
    "describe": ([], ["i32"]),
    "init": (["i32"] * 4, ["i32"]),
    "process": (["i32"] * 2, ["i32"]),
    "next": ([], ["i32"]),
    "finish": ([], ["i32"]),
    "snapshot": ([], ["i32"]),
    "restore": (["i32"] * 2, ["i32"]),
} | {f"cabi_post_{name}": (["i32"], []) for name in (
    "describe", "init", "process", "next", "finish", "snapshot", "restore"
)}  # fmt: skip

# node type: arity, accepts, returns, parameters (kind, and the default where there is one)
TYPES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "PassThrough": ("one", "any", "any", {}),
    "MultiplyNode": ("one", "number", "number", {"factor": "number"}),
    "AddNode": ("one", "number", "number", {"addend": "number"}),
    "Range": ("many", "int", "int", {}),
    "Busy": ("one", "any", "any", {"ms": "number"}),
    "Stats": ("maybe", "number", "map", {}),
    "DecodeWav": ("one", "bytes", "audio", {}),
    "Resample": ("one", "audio", "audio", {"rate": ("int", 16_000)}),
    "ToMono": ("one", "audio", "audio", {}),
    "Utterances": (
        "many",
        "audio",
        "audio",
        {
            "threshold_db": ("number", -40.0),
            "min_silence_ms": ("number", 300.0),
            "min_speech_ms": ("number", 150.0),
            "pad_ms": ("number", 100.0),
        },
    ),
}


def module(name: str) -> Path:
    return MODULES / f"{name}.wasm"


def specs() -> dict[str, NodeSpec]:
    return {spec.node_type: spec for name in NAMES for spec in load(module(name).read_bytes()).types}


def test_only_the_modules_are_in_their_folder() -> None:
    assert sorted(path.name for path in MODULES.iterdir()) == [f"{name}.wasm" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_imports_nothing_and_exports_the_lowered_world(name: str) -> None:
    compiled = wasmtime.Module.from_file(wasmtime.Engine(), str(module(name)))
    assert not list(compiled.imports)
    exports = {export.name: export.type for export in compiled.exports}
    functions = {
        name: ([str(kind) for kind in kinds.params], [str(kind) for kind in kinds.results])
        for name, kinds in exports.items()
        if isinstance(kinds, wasmtime.FuncType)
    }
    assert {name: functions.get(name) for name in WORLD} == WORLD
    memory = exports["memory"]
    assert isinstance(memory, wasmtime.MemoryType)
    assert memory.limits.max is not None
    assert memory.limits.max * 65_536 <= MAX_WASM_MEMORY_BYTES


def test_a_module_can_become_a_component() -> None:
    """``wit-bindgen`` leaves the world in a custom section, which the standard tools look for."""
    for name in NAMES:
        assert re.search(rb"component-type[^\0]*remotemedia:node@1\.0\.0:nodes", module(name).read_bytes())


def test_describe_tells_every_type() -> None:
    told = {
        spec.node_type: (
            spec.arity,
            spec.accepts,
            spec.returns,
            {
                name: param.kind if param.required else (param.kind, param.default)
                for name, param in spec.params.items()
            },
        )
        for spec in specs().values()
    }
    assert told == TYPES


def test_every_type_and_parameter_is_documented() -> None:
    for spec in specs().values():
        assert spec.doc
        assert all(param.doc for param in spec.params.values()), spec.node_type


def test_only_stats_has_state() -> None:
    stateful = {name: spec for name, spec in specs().items() if spec.stateful or spec.finishes or spec.snapshots}
    assert list(stateful) == ["Stats"]
    assert stateful["Stats"].snapshots
    assert stateful["Stats"].finishes


def test_a_file_of_the_owner_is_loaded_or_says_why_not(tmp_path: Path) -> None:
    runtime = WasmRuntime([])
    runtime.load(str(module("basics")))
    assert "MultiplyNode" in {spec.node_type for spec in runtime.types()}
    (tmp_path / "text.wasm").write_text("no module")
    for source, reason in [
        (module("basics"), "another module"),
        (tmp_path / "text.wasm", "no WebAssembly"),
        (tmp_path / "absent.wasm", "cannot be read"),
    ]:
        with pytest.raises(NodeSourceError, match=f"{source.name}: .*{reason}"):
            runtime.load(str(source))


type Parts = Callable[..., Any]


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    """``await parts("Range", 3)``: the parts of one item."""
    runtime, known = WasmRuntime(), specs()

    async def parts(node_type: str, value: Any, **params: Any) -> list[Any]:
        spec = known[node_type]
        node = await runtime.create(GraphNode("n", node_type, encode(spec.complete(params)), arity=spec.arity))
        answer = await node.process(encode(value))
        payloads = list(answer.parts)
        while answer.more:
            answer = await node.next()
            payloads += answer.parts
        return [decode(payload) for payload in payloads]

    yield parts
    await runtime.close()


def recordings() -> Iterator[bytes]:
    return (path.read_bytes() for path in sorted((EXAMPLES / "audio").glob("*.wav")))


def test_the_items_of_the_speech_example_are_the_recordings() -> None:
    with (EXAMPLES / "speech.jsonl").open() as lines:
        assert [from_json(line) for line in lines] == list(recordings())


async def test_a_recording_is_decoded_to_float32(parts: Parts) -> None:
    file = next(recordings())
    [audio] = await parts("DecodeWav", file)
    expected = numpy.frombuffer(file[44:], "<i2") / numpy.float32(32_768)
    assert audio["rate"] == 16_000
    assert audio["samples"].dtype == numpy.float32
    assert numpy.array_equal(audio["samples"], expected)


@pytest.mark.parametrize(("rate", "to"), [(48_000, 16_000), (44_100, 16_000), (16_000, 44_100)])
async def test_a_resampled_tone_stays_in_time(parts: Parts, rate: int, to: int) -> None:
    def tone(rate: int) -> Any:
        return numpy.sin(2 * numpy.pi * 1000 * numpy.arange(rate) / rate).astype(numpy.float32)

    [audio] = await parts("Resample", {"samples": tone(rate), "rate": rate}, rate=to)
    assert audio["samples"].shape == (to,)
    assert abs(audio["samples"] - tone(to))[500:-500].max() < 1e-3


async def test_sentences_in_one_recording_are_cut_at_their_pauses(parts: Parts) -> None:
    decoded = [(await parts("DecodeWav", file))[0]["samples"] for file in recordings()]
    stereo = numpy.stack([numpy.concatenate(decoded)] * 2, axis=1)
    [mono] = await parts("ToMono", {"samples": stereo, "rate": 16_000})
    utterances = await parts("Utterances", mono)
    assert len(utterances) == len(decoded)
    for utterance, sentence in zip(utterances, decoded, strict=True):
        assert 0.85 * len(sentence) < len(utterance["samples"]) <= len(sentence)


async def test_silence_has_no_utterance(parts: Parts) -> None:
    assert await parts("Utterances", {"samples": numpy.zeros(16_000, numpy.float32), "rate": 16_000}) == []
