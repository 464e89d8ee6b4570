"""What real peers hold of a run is bounded, whatever the graph and whoever stands still, and is freed with the run."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from processes import Room, until

from mesh.peer import Peer

MIB = 1024 * 1024
FEW_MIB = 48  # credit of a few edges, windows of two lanes, and what the allocators keep


class Memory:
    """The most that each of some processes had resident since this was made, beyond what it had then, in MiB."""

    def __init__(self, *pids: int) -> None:
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew (proc(5))
        self._before = {pid: _resident(pid, "VmRSS") for pid in pids}

    def growth(self) -> dict[int, int]:
        return {pid: _resident(pid, "VmHWM") - before for pid, before in self._before.items()}


def _resident(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(field))


def _stat(pid: int) -> list[str]:
    """What proc(5) tells after the command's name: state, parent, …; nothing of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _descendants(pid: int) -> set[int]:
    everybody = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    found = {pid}
    while more := {each for each in everybody if (stat := _stat(each)) and int(stat[1]) in found} - found:
        found |= more
    return found - {pid}


def _computing(pids: set[int]) -> bool:
    return any(stat[0] == "R" for pid in pids if (stat := _stat(pid)))


def at(peer: str, name: str, node_type: str, **params: Any) -> dict[str, Any]:
    return {"id": name, "node_type": node_type, "params": params, "placement": {"peer": peer, "runtime": "python"}}


def pipeline(nodes: list[dict[str, Any]], *connections: str) -> dict[str, Any]:
    ends = (connection.split("->") for connection in connections)
    return {"version": "v1", "nodes": nodes, "connections": [{"from": a, "to": b} for a, b in ends]}


@asynccontextmanager
async def driving(room: Room) -> AsyncIterator[tuple[Peer, tuple[int, ...]]]:
    """A driver, which has linked to two workers, and the ids of the three processes."""
    workers = [room.worker(name, "--engine", "wrtc") for name in ("ada", "bea")]
    async with Peer.join(room.invites["submit"], engine="wrtc") as peer:
        once = pipeline([at("ada", "a", "PassThrough"), at("bea", "b", "PassThrough")], "a->b")
        assert [result.value async for result in peer.run(once, [1])] == [1]
        yield peer, (os.getpid(), *(worker.process.pid for worker in workers))


def large_items(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes(MIB)


async def test_one_large_item(room: Room) -> None:
    """The item and what is made of it on its way exist a few times at once, and never the whole stream of them."""
    async with driving(room) as (peer, pids):
        memory = Memory(*pids)
        run = peer.run(pipeline([at("ada", "a", "PassThrough")]), [bytes(64 * MIB)] * 2)
        sizes = [len(result.value) async for result in run]
    assert sizes == [64 * MIB] * 2
    assert max(memory.growth().values()) < 6 * 64


async def test_a_sink_that_is_not_read_holds_everybody_but_another_run(room: Room) -> None:
    """Both runs share their links: what one does not read must not hold up the other."""
    line = pipeline([at("ada", "a", "PassThrough"), at("bea", "b", "PassThrough")], "a->b")
    async with driving(room) as (peer, pids):
        memory = Memory(*pids)
        held = peer.run(line, large_items(150))
        for _ in range(20):
            await anext(held)
        async with asyncio.timeout(20):
            assert [result.value async for result in peer.run(line, range(500))] == list(range(500))
        assert max(memory.growth().values()) < FEW_MIB
        came = 20
        async for _ in held:
            came += 1
        assert came == 150
        assert max(memory.growth().values()) < FEW_MIB


async def test_a_join_with_a_slow_branch(room: Room) -> None:
    nodes = [
        at("ada", "fast", "PassThrough"),
        at("bea", "slow", "Delay", seconds=0.01),
        at("bea", "join", "Join"),
        at("ada", "size", "Select", path=["slow", 0]),
    ]
    async with driving(room) as (peer, pids):
        memory = Memory(*pids)
        items = ([number, item] for number, item in enumerate(large_items(80)))
        run = peer.run(pipeline(nodes, "fast->join", "slow->join", "join->size"), items)
        assert [result.value async for result in run] == list(range(80))
    assert max(memory.growth().values()) < FEW_MIB


async def test_a_generator_of_many_parts(room: Room) -> None:
    nodes = [at("ada", "range", "Range"), at("bea", "few", "Filter", op="lt", value=3)]
    async with driving(room) as (peer, pids):
        memory = Memory(*pids)
        assert [result.value async for result in peer.run(pipeline(nodes, "range->few"), [20_000])] == [0, 1, 2]
    assert max(memory.growth().values()) < FEW_MIB


async def test_a_cancelled_run_is_freed_within_a_second(room: Room) -> None:
    """Also where a node computes: its process ends."""
    nodes = [at("ada", "a", "PassThrough"), at("bea", "busy", "Busy", ms=20_000)]
    async with driving(room) as (peer, (_, _, bea)):
        before = _descendants(bea)
        run = peer.run(pipeline(nodes, "a->busy"), large_items(150))
        reading = asyncio.ensure_future(anext(run))
        await asyncio.to_thread(until, lambda: _computing(_descendants(bea) - before), seconds=20)
        await run.cancel()
        await asyncio.to_thread(until, lambda: _descendants(bea) <= before, seconds=1)
        await asyncio.gather(reading, return_exceptions=True)
        assert [result.value async for result in peer.run(pipeline([at("bea", "b", "Add", addend=1)]), [1])] == [2]


async def test_an_item_that_is_given_up_is_interrupted(room: Room) -> None:
    """Also where another one waits behind it; the run goes on to its end."""
    nodes = [at("ada", "a", "PassThrough"), at("bea", "delay", "Delay", seconds=30)]
    async with driving(room) as (peer, _):
        run = peer.run(pipeline(nodes, "a->delay"), large_items(2))
        reading = asyncio.ensure_future(anext(run, None))
        await asyncio.sleep(1)
        run.cancel_item(1)
        run.cancel_item(0)
        async with asyncio.timeout(5):
            assert await reading is None
    assert run.receipt is not None
    assert (run.receipt["status"], run.receipt["cancelled"], run.receipt["results_out"]) == ("done", 2, 0)
