"""Brief calls of WebAssembly nodes are made in the thread of the event loop, and never hold it up for long."""

import asyncio
import time

import pytest
from modules import FUNCTIONS, LOOP, TRAP, module

from mesh.errors import NodeCrashed, NodeTimeout
from mesh.limits import INLINE_BYTES
from mesh.runtimes.wasm import WasmRuntime, load
from mesh.values import encode

BRIEF, LONG = encode(False), encode(True)
ECHO = FUNCTIONS["process"].removeprefix("(param i32 i32) (result i32)")
SPIN = """(local.set 2 (i32.const 2000000000))
    (loop $again (br_if $again (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))"""


def at_true(body):
    """A function ``process`` that does ``body`` first where its input is True."""
    return f"""(param i32 i32) (result i32) (local i32)
        (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 0xc3)) (then {body})) {ECHO}"""


@pytest.fixture
async def runtime():
    runtime = WasmRuntime([])
    yield runtime
    await runtime.close()


async def trusted(runtime, node, *, body="", **fields):
    """An instance whose calls have all been brief so far."""
    runtime.add(load(module(process=at_true(body))))
    instance = await runtime.create(node("Echo", **fields))
    for _ in range(50):
        assert (await instance.process(BRIEF)).parts == (BRIEF,)
    return instance


def answered_at_once(instance, payload):
    """Whether a call is answered well, without the event loop; where it is not, it is given up."""
    call = instance.process(payload)
    try:
        call.send(None)
    except StopIteration as end:
        return end.value.parts == (payload,)
    call.close()
    return False


async def longest_pause(work):
    """How long the event loop stood still, in seconds, while ``work`` was done; and what came of that."""
    task = asyncio.ensure_future(work)
    longest, before = 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0.01)
        before, passed = time.perf_counter(), time.perf_counter() - before
        longest = max(longest, passed)
    return longest, task


async def test_brief_calls_are_answered_at_once(runtime, node):
    instance = await trusted(runtime, node)
    assert any(answered_at_once(instance, BRIEF) for _ in range(5))


async def test_nodes_with_state_generators_and_large_inputs_go_to_a_thread_of_their_own(runtime, node):
    assert not answered_at_once(await trusted(runtime, node), encode(bytes(INLINE_BYTES)))
    runtime.add(load(module(text=None).replace(b"Echo", b"Ohce")))
    for fields in ({"stateful": True}, {"arity": "many"}):
        instance = await runtime.create(node("Ohce", **fields))
        for _ in range(50):
            await instance.process(BRIEF)
        assert not answered_at_once(instance, BRIEF)


async def test_a_row_of_brief_calls_lets_others_have_their_turn(runtime, node):
    instance = await trusted(runtime, node)
    assert not all(answered_at_once(instance, BRIEF) for _ in range(100_000))


async def test_a_call_that_overruns_is_made_again_in_the_other_thread(runtime, node):
    instance = await trusted(runtime, node, body=SPIN)
    pause, task = await longest_pause(instance.process(LONG))
    assert task.result().parts == (LONG,)
    assert pause < 0.5
    assert not answered_at_once(instance, BRIEF)  # it is not trusted now


async def test_a_call_that_never_ends_has_its_time_limit(runtime, node):
    instance = await trusted(runtime, node, body=LOOP, timeout_s=0.7)
    pause, task = await longest_pause(instance.process(LONG))
    assert isinstance(task.exception(), NodeTimeout)
    assert pause < 0.5
    with pytest.raises(NodeTimeout):
        await instance.process(BRIEF)


async def test_a_trap_ends_the_instance(runtime, node):
    instance = await trusted(runtime, node, body=TRAP)
    for payload in (LONG, BRIEF):
        with pytest.raises(NodeCrashed):
            await instance.process(payload)


async def test_a_closed_instance_answers_nothing(runtime, node):
    instance = await trusted(runtime, node)
    await instance.close()
    with pytest.raises(NodeCrashed):
        await instance.process(BRIEF)
