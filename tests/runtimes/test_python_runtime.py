"""The Python runtime: nodes in processes, as they should be and as they should not."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mesh.errors import NodeCrashed, NodeError, NodeTimeout
from mesh.limits import MAX_CAUSE_CHARS
from mesh.nodes import Registry
from mesh.runtimes.python import PythonRuntime
from mesh.values import decode, encode

SOURCE = str(Path(__file__).parent / "hostile_nodes.py")


@pytest.fixture
async def runtime():
    registry = Registry()
    registry.load(SOURCE)
    runtime = PythonRuntime(registry, [SOURCE])
    yield runtime
    await runtime.close()


@pytest.fixture
def make(runtime, node):
    async def make(node_type, *, params=None, timeout_s=10.0):
        return await runtime.create(node(node_type, params=params, timeout_s=timeout_s))

    return make


async def one(instance, value):
    """The single part that a value gives."""
    answer = await instance.process(encode(value))
    assert not answer.more
    (part,) = answer.parts
    return decode(part)


async def parts(instance, value):
    """All parts that a value gives."""
    answer = await instance.process(encode(value))
    got = list(answer.parts)
    while answer.more:
        answer = await instance.next()
        got += answer.parts
    return [decode(part) for part in got]


# Honest nodes


async def test_a_built_in_node(make):
    multiply = await make("MultiplyNode", params={"factor": 3})
    assert await one(multiply, 5) == 15
    with pytest.raises(NodeError, match=r"^MultiplyNode accepts number, got text 'abc'$"):
        await multiply.process(encode("abc"))
    assert await one(multiply, 0.5) == 1.5


@pytest.mark.parametrize("size", [0, 65_535, 65_536, 1_000_000, 20_000_000])
async def test_payloads_of_every_size(make, size):
    echo = await make("PassThrough")
    for _ in range(2):
        assert await one(echo, bytes(size)) == bytes(size)


async def test_every_kind_of_answer(make):
    evens, countdown, awaits = await make("evens"), await make("countdown"), await make("awaits")
    assert await parts(evens, 3) == []
    assert await parts(evens, 4) == [4]
    assert await parts(countdown, 0) == []
    assert await parts(countdown, 500) == list(range(500, 0, -1))
    assert await one(awaits, 1) == 2
    assert await one(await make("Named"), {"b": 1, "a": 2}) == ["a", "b"]


async def test_an_async_generator_is_streamed(make):
    sleepy = await make("Sleepy", params={"seconds": 0.01})
    assert await parts(sleepy, 3) == [[0, True], [1, True], [2, True]]


async def test_parts_come_as_they_are_made(make):
    slow = await make("slow_parts")
    began = time.monotonic()
    answer = await slow.process(encode(3))
    assert [decode(part) for part in answer.parts] == [0]
    assert time.monotonic() - began < 0.15
    assert [decode(part) for part in (await slow.next()).parts] == [1]


async def test_a_stateful_node(make, capfd):
    total = await make("Total")
    assert await one(total, 5) == 5
    state = await total.snapshot()
    assert await one(total, 2) == 7
    await total.restore(state)
    assert await one(total, 1) == 6
    assert decode((await total.finish()).parts[0]) == {"total": 6}
    await total.close()
    assert "closed 6" in capfd.readouterr().err


async def test_processes_start_quickly_and_work_at_once(make):
    await make("PassThrough")
    began = time.monotonic()
    waiting = await asyncio.gather(*(make("Delay", params={"seconds": 0.3}) for _ in range(8)))
    started = time.monotonic() - began
    assert await asyncio.gather(*(one(each, 1) for each in waiting)) == [1] * 8
    assert started < 1
    assert time.monotonic() - began < 2


# Hostile ones: an error for that node, and nothing else


@pytest.mark.parametrize(
    ("node_type", "value", "why"),
    [
        ("raises", 1, r"^ValueError: no 1\n.*hostile_nodes.py.*in raises"),
        ("leaves", 3, r"^SystemExit: 3"),
        ("interrupts", 1, r"^KeyboardInterrupt"),
        ("raises_the_unprintable", 1, r"^Unprintable: \(its message cannot be shown\)"),
        ("raises_at_length", 1, r"^ValueError: x{1000}"),
        ("answers_an_object", 1, "its answer is no value: object cannot be carried"),
        ("skips", 1, "its arity is one"),
        ("stutters", 1, "a second part"),
        ("huge", 300_000_000, "its answer is no value"),
    ],
)
async def test_an_error_of_a_node_leaves_it_alive(make, node_type, value, why):
    hostile = await make(node_type)
    for _ in range(2):
        with pytest.raises(NodeError, match=f"(?s){why}") as caught:
            await hostile.process(encode(value))
        assert not isinstance(caught.value, NodeCrashed)
        assert len(str(caught.value)) <= MAX_CAUSE_CHARS


async def test_parts_before_an_error_are_not_lost(make):
    breaking = await make("breaks_off")
    answer = await breaking.process(encode(10))
    got = list(answer.parts)

    async def rest():
        while True:
            got.extend((await breaking.next()).parts)

    with pytest.raises(NodeError, match="that was all"):
        await rest()
    assert [decode(part) for part in got] == list(range(10))
    assert not (await breaking.next()).parts


@pytest.mark.parametrize(("node_type", "why"), [("exits", "exited with code 7"), ("dies", "killed by SIGSEGV")])
async def test_the_death_of_a_process(make, node_type, why):
    hostile, other = await make(node_type), await make("PassThrough")
    with pytest.raises(NodeCrashed, match=why):
        await hostile.process(encode(7))
    with pytest.raises(NodeCrashed, match="gone"):
        await hostile.process(encode(7))
    assert await one(other, 1) == 1


async def test_a_node_that_hangs_is_killed(make):
    hostile = await make("hangs", timeout_s=0.3)
    began = time.monotonic()
    with pytest.raises(NodeTimeout, match=r"0\.3 s"):
        await hostile.process(encode(1))
    assert time.monotonic() - began < 2
    await hostile.close()
    with pytest.raises(ProcessLookupError):
        os.kill(hostile._pid, 0)


async def test_cancelling_a_call_kills_the_process(make):
    hostile = await make("hangs")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hostile.process(encode(1)), 0.2)
    await asyncio.wait_for(hostile.close(), 2)


async def test_what_nodes_print_goes_to_stderr(make, capfd):
    await one(await make("prints"), 5)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "loud 5" in captured.err
    assert "louder" in captured.err


async def test_a_new_input_ends_an_abandoned_generator(make, capfd):
    abandoned = await make("abandoned")
    assert (await abandoned.process(encode(1))).more
    assert "abandoned" not in capfd.readouterr().err
    assert (await abandoned.process(encode(2))).more
    assert "abandoned 1" in capfd.readouterr().err


async def test_a_node_that_cannot_be_set_up(make, runtime, node, monkeypatch):
    with pytest.raises(NodeError, match="OSError: the model is not there"):
        await make("BadSetup")
    with pytest.raises(NodeError, match="factor"):
        await make("MultiplyNode")
    with pytest.raises(NodeError, match="Nowhere"):
        await make("Nowhere")
    monkeypatch.setattr("mesh.runtimes.python.SETUP_TIMEOUT_S", 0.2)
    with pytest.raises(NodeTimeout):
        await make("SlowSetup")


async def test_the_end_of_the_nursery_is_an_error_and_the_next_node_has_a_new_one(make, runtime):
    echo = await make("PassThrough")
    runtime._nursery._process.kill()
    runtime._nursery._process.wait()
    with pytest.raises(NodeCrashed):
        await make("PassThrough")
    assert await one(await make("PassThrough"), 1) == 1
    await echo.close()


PARENT = f"""
import asyncio, sys
from mesh.manifest.graph import GraphNode
from mesh.nodes import Registry
from mesh.runtimes.python import PythonRuntime
from mesh.values import encode

async def main():
    registry = Registry()
    registry.load({SOURCE!r})
    runtime = PythonRuntime(registry, [{SOURCE!r}])
    instance = await runtime.create(GraphNode("n", "hangs", encode({{}}), timeout_s=1000))
    print(instance._pid, flush=True)
    await instance.process(b"\\xc0")

asyncio.run(main())
"""


def test_a_process_ends_with_a_parent_that_was_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_a_create_that_is_cancelled_leaves_no_process(make, runtime):
    creating = asyncio.ensure_future(make("SlowSetup"))
    await asyncio.sleep(0)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert await one(await make("PassThrough"), 1) == 1


async def test_subprocesses_of_nodes_have_the_environment_of_the_peer(make):
    assert await one(await make("environment"), "PYTHONPATH") == os.environ.get("PYTHONPATH", "")
