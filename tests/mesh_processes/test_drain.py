"""A worker that is asked to end has its nodes moved to others: nothing is lost, replayed or late."""

import asyncio
import signal
import time
from typing import Any

from processes import PATIENCE_S, Process, Room

from mesh import Peer
from mesh.limits import DRAIN_TIMEOUT_S

COUNT, BEFORE = 1000, 200
COUNTED = [{"count": number + 1, "value": number} for number in range(COUNT)]
ON_WORKERS = {"kind": "server", "labels": {"role": "worker"}}
PIPELINE = {
    "version": "v1",
    "nodes": [
        {"id": "busy", "node_type": "Busy", "params": {"ms": 6}, "placement": ON_WORKERS},
        {"id": "count", "node_type": "Counter", "placement": ON_WORKERS},
    ],
    "connections": [{"from": "busy", "to": "count"}],
}


def names_in(placement: dict[str, list[str]]) -> set[str]:
    return {name for names in placement.values() for name in names}


def drain(worker: Process) -> tuple[int, float]:
    """Its exit code, and how long it took (s)."""
    asked = time.monotonic()
    worker.process.send_signal(signal.SIGTERM)
    return worker.process.wait(PATIENCE_S), time.monotonic() - asked


async def test_a_drained_worker_hands_its_nodes_over_and_ends(room: Room) -> None:
    for name in ("ada", "bea", "cleo"):
        room.worker(name, "--label", "role=worker")
    results: list[Any] = []
    async with Peer.join(room.invites["submit"]) as peer:
        run = peer.run(PIPELINE, range(COUNT))
        async for result in run:
            results.append(result.value)
            if len(results) == BEFORE:
                (place,) = run.plan["steps"][0]["nodes"]["count"]["on"]
                drained = peer.name_of(place["peer"])
                ended = asyncio.create_task(asyncio.to_thread(drain, room.workers[drained]))
        code, seconds = await ended
    print(f"{drained} ended {seconds:.2f} s after SIGTERM")
    assert results == COUNTED
    assert code == 0, room.workers[drained].end()
    assert seconds < DRAIN_TIMEOUT_S / 2
    receipt = run.receipt
    assert len(receipt["epochs"]) == 1
    assert (receipt["replayed"], receipt["duplicates_dropped"]) == (0, 0)
    assert len(receipt["moves"]) == 1, receipt["moves"]
    (move,) = receipt["moves"]
    assert move["reason"] == f"{drained} drains"
    assert BEFORE < move["from_seq"] < COUNT
    assert drained in names_in(receipt["epochs"][0]["placement"])
    assert drained not in names_in(move["placement"])
    assert receipt["node_ms"]["count"]["count"] == COUNT
