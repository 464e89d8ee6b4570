"""A mesh of one, through the Python API."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from mesh import Peer
from mesh.errors import ItemError, ManifestError, RunError, ValueFault

DOUBLE = {"version": "v1", "nodes": [{"id": "double", "node_type": "Multiply", "params": {"factor": 2}}]}


async def test_results_come_in_order_with_their_numbers() -> None:
    async with Peer.alone() as peer:
        run = peer.run(DOUBLE, [1, 2.5, 3])
        assert [(each.seq, each.part, each.value) async for each in run] == [(0, 0, 2), (1, 0, 5.0), (2, 0, 6)]
    assert run.receipt is not None
    assert run.receipt["status"] == "done"


async def test_items_may_come_from_an_async_iterable() -> None:
    async def items() -> AsyncIterator[int]:
        for item in range(300):
            await asyncio.sleep(0)
            yield item

    async with Peer.alone() as peer:
        assert [each.value async for each in peer.run(DOUBLE, items())] == [2 * item for item in range(300)]


async def test_what_ends_a_run_is_raised() -> None:
    async with Peer.alone() as peer:
        with pytest.raises(ManifestError, match="nodes"):
            await anext(peer.run({"version": "v1"}, [1]))
        with pytest.raises(ValueFault, match="item 1"):
            _ = [each async for each in peer.run(DOUBLE, [1, object()])]
        with pytest.raises(ItemError, match="seq 0"):
            _ = [each async for each in peer.run(DOUBLE, ["text"])]


async def test_the_applications_own_error_comes_back_to_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("mine")

    async with Peer.alone() as peer:
        with pytest.raises(KeyError, match="mine"):
            _ = [each async for each in peer.run(DOUBLE, items())]


async def test_a_cancelled_run_says_so_and_the_next_one_works() -> None:
    slow = {"version": "v1", "nodes": [{"id": "slow", "node_type": "Delay", "params": {"seconds": 60}}]}
    async with Peer.alone() as peer:
        run = peer.run(slow, [1])
        await asyncio.sleep(0.5)
        await run.cancel()
        with pytest.raises(RunError, match="cancelled"):
            await anext(run)
        assert [each.value async for each in peer.run(DOUBLE, [1])] == [2]
