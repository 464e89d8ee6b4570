"""The wasm runtime with modules that are honest, and with modules that are not."""

import asyncio
import json
import time

import pytest
from modules import LOOP, NONE, SPEC, answer, error, module

from mesh.errors import NodeCrashed, NodeError, NodeTimeout
from mesh.limits import MAX_CAUSE_CHARS
from mesh.runtimes.wasm import WasmRuntime, load
from mesh.values import encode

TRAP = "(unreachable)"


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


async def test_the_error_of_a_node_is_its_text_and_the_instance_lives(runtime, node):
    picky = await make(runtime, node, process=f"(param i32 i32) (result i32) {error(1027, 9)}")
    for _ in range(2):
        with pytest.raises(NodeError, match="node_type") as caught:
            await picky.process(b"\xc0")
        assert caught.value.kind == "raised"


# Modules that are refused


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"extra": '(import "env" "log" (func))'}, "imports env.log"),
        ({"memory": '(memory (export "memory") 1)'}, "no maximum"),
        ({"memory": '(memory (export "memory") 1 65536)'}, "maximum of its memory is above"),
        ({"memory": '(memory (export "other") 1 2)'}, "does not export a memory"),
        ({"process": "(param i32) (result i32) (i32.const 0)"}, "function process"),
        ({"process": None}, "does not export the function process"),
        ({"cabi_post_process": "(nop)"}, "function cabi_post_process"),
        ({"next": "(result i64) (i64.const 0)"}, "function next"),
        ({"text": b"[]"}, "no list of 1 to"),
        ({"text": b"{}"}, "no list of 1 to"),
        ({"text": b"\xff"}, "no UTF-8"),
        ({"text": b"[" * 100_000}, "nonsense"),
        ({"text": json.dumps([SPEC, SPEC]).encode()}, "twice"),
        ({"text": json.dumps([SPEC | {"arity": "several"}]).encode()}, "arity"),
        ({"text": json.dumps([SPEC | {"node_type": "x" * 900_000}]).encode()}, "node_type"),
    ],
)
def test_a_module_outside_the_world_is_refused(changes, why):
    changes = {name: "" if value is None else value for name, value in changes.items()}
    with pytest.raises(NodeError, match=why) as caught:
        load(module(**changes))
    assert len(str(caught.value)) <= MAX_CAUSE_CHARS


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("(result i32) (i32.store (i32.const 4) (i32.const 10000000)) (i32.const 0)", "10000000 bytes"),
        ("(result i32) (i32.const -8)", "outside of the memory"),
        ("(result i32) (i32.const 33)", "not aligned"),
        (f"(result i32) {TRAP}", "trapped"),
    ],
)
def test_a_description_outside_the_memory_is_refused(body, why):
    with pytest.raises(NodeError, match=why):
        load(module(describe=body))


def test_what_is_no_wasm_is_refused():
    for data in (b"", b"\x00asm", b"junk" * 100):
        with pytest.raises(NodeError, match="WebAssembly"):
            load(data)


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


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("process", "(param i32 i32) (result i32)"),
        ("cabi_post_process", "(param i32)"),
        ("next", "(result i32)"),
        ("finish", "(result i32)"),
        ("snapshot", "(result i32)"),
        ("restore", "(param i32 i32) (result i32)"),
    ],
)
async def test_a_trap_ends_that_instance_only(runtime, node, name, signature):
    hostile = await make(runtime, node, arity="many", **{name: f"{signature} {TRAP}"})
    other = await runtime.create(node("Echo"))
    with pytest.raises(NodeCrashed, match="trapped") as caught:
        await use_all(hostile)
    assert caught.value.kind == "trapped"
    with pytest.raises(NodeCrashed):
        await hostile.process(b"\xc0")
    if name not in ("process", "cabi_post_process"):
        assert (await other.process(b"\xc0")).parts == (b"\xc0",)


async def use_all(instance):
    await instance.process(b"\xa5hello")
    await instance.next()
    await instance.finish()
    await instance.restore(await instance.snapshot())


async def test_a_trap_while_an_input_is_copied(runtime, node):
    # init, whose node type has four bytes, is let through
    body = "(if (i32.gt_u (local.get 3) (i32.const 4)) (then (unreachable))) (i32.const 65536)"
    hostile = await make(runtime, node, cabi_realloc=f"(param i32 i32 i32 i32) (result i32) {body}")
    with pytest.raises(NodeCrashed, match="trapped"):
        await hostile.process(b"\xa5hello")


async def test_a_trap_in_init_and_in_initialize(runtime, node):
    with pytest.raises(NodeCrashed, match="trapped"):
        load(module(_initialize=TRAP))
    with pytest.raises(NodeCrashed, match="trapped"):
        await make(runtime, node, init=f"(param i32 i32 i32 i32) (result i32) {TRAP}")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (answer(-16, 64), "outside of the memory"),
        (answer(0, 0x7FFFFFFF), "more than"),
        (answer(20 * 65536 - 1, 2), "outside of the memory"),
        (answer(0, 0, tag=7), "tag 7"),
        (answer(0, 0, some=9), "tag 9"),
        ("(i32.const 66)", "not aligned"),
        ("(i32.const -4)", "outside of the memory"),
        (error(-16, 64), "outside of the memory"),
        (error(0, 10_000_000), "more than"),
    ],
)
async def test_an_answer_outside_the_abi_drops_the_instance(runtime, node, body, why):
    hostile = await make(runtime, node, process=f"(param i32 i32) (result i32) {body}")
    with pytest.raises(NodeCrashed, match=why) as caught:
        await hostile.process(b"\xc0")
    assert caught.value.kind == "trapped"


@pytest.mark.parametrize("address", [-1, 0x7FFFFFFF, 20 * 65536])
async def test_memory_for_an_input_must_be_inside(runtime, node, address):
    body = f"(if (i32.gt_u (local.get 3) (i32.const 4)) (then (return (i32.const {address})))) (i32.const 65536)"
    hostile = await make(runtime, node, cabi_realloc=f"(param i32 i32 i32 i32) (result i32) {body}")
    with pytest.raises(NodeCrashed, match="outside of the memory"):
        await hostile.process(b"\xa5hello")


async def test_an_answer_over_the_input_and_the_result_harms_only_itself(runtime, node):
    hostile = await make(runtime, node, process=f"(param i32 i32) (result i32) {answer(64, 16)}")
    with pytest.raises(NodeError) as caught:
        await hostile.process(b"\xc0")
    assert caught.value.kind == "answer"


async def test_an_answer_that_is_no_value_is_refused_and_the_instance_lives(runtime, node):
    hostile = await make(runtime, node, process=f"(param i32 i32) (result i32) {answer(1024, 100)}")
    for _ in range(2):
        with pytest.raises(NodeError, match="no value") as caught:
            await hostile.process(b"\xc0")
        assert caught.value.kind == "answer"


async def test_no_part_from_a_node_of_one_is_an_error(runtime, node):
    hostile = await make(runtime, node, process=f"(param i32 i32) (result i32) {NONE}")
    with pytest.raises(NodeError, match="its arity is one"):
        await hostile.process(b"\xc0")


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


async def test_memory_grows_to_its_maximum_and_no_further(runtime, node):
    grow = "(loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))"
    size = f"(i32.store8 (i32.const 96) (memory.size)) {answer(96, 1)}"
    greedy = await make(runtime, node, process=f"(param i32 i32) (result i32) {grow} {size}")
    assert (await greedy.process(b"\xc0")).parts == (bytes([64]),)


async def test_endless_recursion_is_a_trap(runtime, node):
    deep = await make(
        runtime, node, extra="(func $f (call $f))", process="(param i32 i32) (result i32) (call $f) (i32.const 0)"
    )
    with pytest.raises(NodeCrashed, match="stack"):
        await deep.process(b"\xc0")


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
