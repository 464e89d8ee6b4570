"""The wasm runtime with modules that are honest, and with modules that are not."""

import asyncio
import json
import struct
import subprocess
import sys
import time

import pytest
import wasm_vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import LOOP, NONE, SPEC, TRAP, answer, module

from mesh.errors import NodeCrashed, NodeError, NodeTimeout
from mesh.limits import MAX_CAUSE_CHARS
from mesh.manifest.graph import GraphNode
from mesh.runtimes.base import Answer
from mesh.runtimes.canonical import World
from mesh.runtimes.guest import Code, Guest
from mesh.runtimes.wasm import WasmRuntime, load
from mesh.values import encode


@pytest.fixture
async def runtime():
    runtime = WasmRuntime([])
    yield runtime
    await runtime.close()


async def make(runtime, node, *, arity="one", timeout_s=5.0, **functions):
    """An instance of the honest module with some functions replaced."""
    runtime.add(load(module(**functions)))
    return await runtime.create(node("Echo", arity=arity, timeout_s=timeout_s))


# Honest modules


async def test_a_value_comes_back(runtime, node):
    echo = await make(runtime, node)
    for size in (0, 1, 8000, 1_000_000):
        payload = encode(bytes(size))
        assert (await echo.process(payload)).parts == (payload,)
    assert (await echo.finish()).parts == ()
    assert await echo.snapshot() == b"\xc0"
    await echo.restore(b"\xc0")


async def test_the_description_becomes_a_spec(runtime):
    runtime.add(load(module()))
    (spec,) = runtime.types()
    assert spec.node_type == "Echo"
    assert spec.doc == SPEC["doc"]


async def test_initialize_runs_first_and_post_functions_run_once_after_each_answer(runtime, node):
    count = "(global $posted (mut i32) (i32.const 0)) (global $started (mut i32) (i32.const 0))"
    post = "(param i32) (global.set $posted (i32.add (global.get $posted) (i32.const 1)))"
    echo = await make(
        runtime,
        node,
        extra=count,
        _initialize="(global.set $started (i32.const 1))",
        cabi_post_process=post,
        # a positive fixint: 10 times "started" plus the calls of the post function so far
        snapshot="""(result i32)
            (i32.store8 (i32.const 96) (i32.add (i32.mul (global.get $started) (i32.const 10)) (global.get $posted)))
            (i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 96))
            (i32.store (i32.const 72) (i32.const 1)) (i32.const 64)""",
    )
    for _ in range(3):
        await echo.process(b"\xc0")
    assert await echo.snapshot() == bytes([13])


async def test_many_parts_come_in_steps(runtime, node):
    counting = f"""(result i32) (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (if (result i32) (i32.lt_u (global.get $n) (i32.const 100))
          (then (i32.store8 (i32.const 96) (global.get $n)) {answer(96, 1)})
          (else {NONE}))"""
    count = await make(
        runtime,
        node,
        arity="many",
        extra="(global $n (mut i32) (i32.const 0))",
        process=f"(param i32 i32) (result i32) (global.set $n (i32.const 0)) {answer(96, 1)}",
        next=counting,
    )
    first = await count.process(b"\xc0")
    assert len(first.parts) == 1
    assert first.more
    parts, steps, more = list(first.parts), 0, True
    while more:
        step = await count.next()
        parts += step.parts
        steps, more = steps + 1, step.more
    assert parts[1:] == [bytes([n]) for n in range(1, 100)]
    assert steps < 50
    assert not (await count.next()).parts


# Modules that are refused


VECTORS = json.loads(wasm_vectors.PATH.read_text())


def test_the_vectors_are_those_of_their_program():
    assert wasm_vectors.PATH.read_text() == wasm_vectors.text()


def assert_failure(error, failure):
    assert error.kind == failure["kind"]
    assert failure.get("text", "") in str(error)
    assert len(str(error)) <= MAX_CAUSE_CHARS


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["name"])
def test_a_module_outside_the_world_is_refused(case):
    with pytest.raises(NodeError) as caught:
        load(bytes.fromhex(case["wasm"]))
    assert_failure(caught.value, case["load"])


async def assert_calls(instance, calls):
    """Makes the calls of a vector; after a trap the instance is unusable."""
    for op, payload, outcome in calls:
        if isinstance(outcome, list):
            assert [part.hex() for part in await fetched(instance, op, payload)] == outcome
        elif outcome is None or isinstance(outcome, str):
            answer = await (instance.snapshot() if op == "snapshot" else instance.restore(bytes.fromhex(payload)))
            assert (answer and answer.hex()) == outcome
        else:
            with pytest.raises(NodeError) as caught:
                await fetched(instance, op, payload)
            assert_failure(caught.value, outcome)
            assert isinstance(caught.value, NodeCrashed) == (outcome["kind"] == "trapped")
            if outcome["kind"] == "trapped":
                with pytest.raises(NodeCrashed):
                    await instance.process(b"\xc0")


async def fetched(instance, op, payload):
    """Every part that a call gives."""
    answer = await getattr(instance, op)(*([] if payload is None else [bytes.fromhex(payload)]))
    if not isinstance(answer, Answer):
        return []
    parts = list(answer.parts)
    while answer.more:
        answer = await instance.next()
        parts += answer.parts
    return parts


@pytest.mark.parametrize("case", VECTORS["called"], ids=lambda case: case["name"])
async def test_a_hostile_call_is_an_error_of_that_instance_only(runtime, node, case):
    honest = WasmRuntime([])
    honest.add(load(module()))
    echo = await honest.create(node("Echo"))
    runtime.add(load(bytes.fromhex(case["wasm"])))
    await assert_calls(await runtime.create(node("Echo", arity=case["arity"])), case["calls"])
    assert (await echo.process(b"\xc0")).parts == (b"\xc0",)
    await honest.close()


@pytest.mark.parametrize("case", VECTORS["basics"], ids=lambda case: case["node_type"])
async def test_the_built_in_module(node, case):
    installed = WasmRuntime()
    instance = await installed.create(
        GraphNode("n", case["node_type"], bytes.fromhex(case["params"]), arity=case["arity"])
    )
    await assert_calls(instance, case["calls"])
    await installed.close()


def test_a_description_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("mesh.runtimes.wasm.DESCRIBE_TIMEOUT_S", 0.1)
    with pytest.raises(NodeTimeout):
        load(module(describe=f"(result i32) {LOOP}"))


async def test_a_refused_file_leaves_the_others(tmp_path, caplog):
    (tmp_path / "good.wasm").write_bytes(module())
    (tmp_path / "bad.wasm").write_bytes(b"junk")
    runtime = WasmRuntime(sorted(tmp_path.iterdir()))
    assert [spec.node_type for spec in runtime.types()] == ["Echo"]
    assert "bad.wasm" in caplog.text
    await runtime.close()


def test_two_modules_of_one_type_are_refused():
    runtime = WasmRuntime([])
    runtime.add(load(module()))
    with pytest.raises(NodeError, match="as another module does"):
        runtime.add(load(module()))


# Modules that turn hostile once they run


async def test_a_trap_in_init(runtime, node):
    with pytest.raises(NodeCrashed, match="trapped"):
        await make(runtime, node, init=f"(param i32 i32 i32 i32) (result i32) {TRAP}")


async def test_a_loop_ends_at_its_time_limit_and_blocks_nobody(runtime, node):
    looping = await make(runtime, node, timeout_s=0.3, process=f"(param i32 i32) (result i32) {LOOP}")
    ticks, longest = 0, 0.0
    call = asyncio.ensure_future(looping.process(b"\xc0"))
    began = time.monotonic()
    while not call.done():
        before = time.monotonic()
        await asyncio.sleep(0.005)
        ticks, longest = ticks + 1, max(longest, time.monotonic() - before)
    with pytest.raises(NodeTimeout, match=r"0\.3 s"):
        await call
    assert 0.25 < time.monotonic() - began < 2
    assert ticks > 10
    assert longest < 0.15


async def test_one_loop_does_not_end_the_computing_of_another(runtime, node):
    runtime.add(load(module(process=f"(param i32 i32) (result i32) {LOOP}")))
    short = await runtime.create(node("Echo", timeout_s=0.1))
    long = await runtime.create(node("Echo", timeout_s=0.5))
    began = time.monotonic()
    ends = []

    async def until_it_ends(instance):
        with pytest.raises(NodeTimeout):
            await instance.process(b"\xc0")
        ends.append(time.monotonic() - began)

    await asyncio.gather(until_it_ends(short), until_it_ends(long))
    assert ends[0] < 0.4 < ends[1]


async def test_cancelling_a_call_ends_the_computing(runtime, node):
    looping = await make(runtime, node, timeout_s=100, process=f"(param i32 i32) (result i32) {LOOP}")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(looping.process(b"\xc0"), 0.1)
    await asyncio.wait_for(looping.close(), 2)


async def test_closing_the_runtime_ends_the_computing(node):
    runtime = WasmRuntime([])
    looping = await make(runtime, node, timeout_s=100, process=f"(param i32 i32) (result i32) {LOOP}")
    call = asyncio.ensure_future(looping.process(b"\xc0"))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(runtime.close(), 2)
    with pytest.raises(NodeCrashed, match="closed"):
        await call


async def test_a_start_function_without_end_is_ended(runtime, node, monkeypatch):
    monkeypatch.setattr("mesh.runtimes.wasm.DESCRIBE_TIMEOUT_S", 0.1)
    with pytest.raises(NodeTimeout):
        load(module(extra=f"(func $go {LOOP}) (start $go)"))


async def test_an_init_without_end_is_ended(runtime, node, monkeypatch):
    monkeypatch.setattr("mesh.runtimes.wasm.SETUP_TIMEOUT_S", 0.1)
    runtime.add(load(module(init=f"(param i32 i32 i32 i32) (result i32) {LOOP}")))
    with pytest.raises(NodeTimeout):
        await runtime.create(node("Echo"))


async def test_parts_without_end_come_step_by_step(runtime, node):
    endless = await make(
        runtime,
        node,
        arity="many",
        process=f"(param i32 i32) (result i32) {answer(96, 1)}",
        next=f"(result i32) {answer(96, 1)}",
    )
    await endless.process(b"\xc0")
    for _ in range(20):
        step = await endless.next()
        assert step.more
        assert 1 <= len(step.parts) <= 64
    # a new input abandons what was not fetched
    assert len((await endless.process(b"\xc0")).parts) == 1


async def test_a_type_that_no_module_has(runtime, node):
    with pytest.raises(NodeError, match="Nowhere"):
        await runtime.create(node("Nowhere"))


END = 20 * 65536
ADDRESSES = st.one_of(st.integers(0, 160), st.just(64), st.integers(END - 40, END), st.integers(0, 2**32 - 1))


@given(address=ADDRESSES, tags=st.lists(st.integers(0, 3), min_size=2, max_size=2), first=ADDRESSES, size=ADDRESSES)
@settings(max_examples=300, deadline=None)
def test_whatever_a_guest_answers_is_a_value_or_an_error(address, tags, first, size):
    guest = Guest(Code(bytes.fromhex(VECTORS["puppet"])))
    guest.start()
    world = World(guest)
    world.init("Echo", b"\x80")
    answer = struct.pack("<I4I", address, *tags, first, size)
    part = failure = None
    try:
        part = world.process(answer)
    except NodeError as error:
        failure = error.kind
    assert failure in (None, "trapped", "raised")
    assert part is None or len(part) <= END
    guest.close()


LATE = """
import faulthandler
from mesh.runtimes.wasm import MODULES, load
load((MODULES / "basics.wasm").read_bytes())
faulthandler.enable()
load((MODULES / "basics.wasm").read_bytes())
"""


def test_faulthandler_that_would_make_a_trap_deadly_is_told_at_once():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True)
    assert done.returncode == 1
    assert "RuntimeError: faulthandler was enabled after the first WebAssembly engine" in done.stderr
