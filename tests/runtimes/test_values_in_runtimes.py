"""What goes into a node comes out equal, in every runtime of a server (tests/browser has those of a tab)."""

import json
from pathlib import Path

import pytest

from mesh.errors import NodeError
from mesh.nodes import Registry
from mesh.runtimes.base import Runtime
from mesh.runtimes.python import PythonRuntime
from mesh.runtimes.wasm import WasmRuntime

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "values.json").read_text())


@pytest.fixture(params=["python", "wasm"])
async def runtime(request):
    runtime: Runtime = WasmRuntime() if request.param == "wasm" else PythonRuntime(Registry())
    yield runtime
    await runtime.close()


async def test_values_come_out_equal(runtime, node):
    echo = await runtime.create(node("PassThrough"))
    for case in VECTORS["values"]:
        payload = bytes.fromhex(case["hex"])
        assert [part.hex() for part in (await echo.process(payload)).parts] == [case["hex"]], case


async def test_what_is_no_value_is_an_error_and_the_node_lives(runtime, node):
    echo = await runtime.create(node("PassThrough"))
    for case in VECTORS["payload_faults"]:
        with pytest.raises(NodeError):
            await echo.process(bytes.fromhex(case["hex"]))
    assert (await echo.process(b"\xc0")).parts == (b"\xc0",)
