"""Links between two processes, one of which is stopped or killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from link_rooms import ANA, BOB, Member, Relayed, Room

from mesh.errors import LinkError
from mesh.ids import PeerId
from mesh.limits import LANE_HIGH_WATER_BYTES, SESSION_WINDOW_BYTES
from mesh.transport.link import Lane

every_engine = pytest.mark.parametrize("engine", ["aiortc", "wrtc"])


class Half(Room):
    """The room of the first process; everything for Bob goes to the second one's stdin."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process

    async def relay(self, sender: PeerId, to: PeerId, data: Relayed) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(data).encode() + b"\n")

    async def listen(self, ana: Member) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            await ana.links.relay(BOB, json.loads(line))


@asynccontextmanager
async def two_processes(engine: str) -> AsyncIterator[tuple[Member, asyncio.subprocess.Process]]:
    """Ana here, linked to Bob in another process."""
    script = Path(__file__).with_name("link_process.py")
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": f"{script.parents[1]}{os.pathsep}{script.parents[2]}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, engine, stdin=pipe, stdout=pipe, limit=1 << 20, env=environment
    )
    async with Half(process) as room:
        ana = room.add(ANA, engine)
        listening = asyncio.create_task(room.listen(ana))
        try:
            await ana.links.get(BOB)
            yield ana, process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await listening


@every_engine
async def test_a_killed_process_is_noticed_within_five_seconds(engine: str) -> None:
    async with two_processes(engine) as (ana, process):
        link = await ana.links.get(BOB)

        async def send_on() -> None:
            while True:
                await link.send(Lane.DATA, bytes(64 * 1024))

        sending = asyncio.create_task(send_on())
        process.kill()
        await ana.until(lambda: ana.suspected != [], within_s=5)
        ana.links.gone(BOB)  # as signaling says of a process that is gone
        with pytest.raises(LinkError):
            await sending
        assert [peer for peer, _reason in ana.lost] == [BOB]
        assert ana.links.existing(BOB) is None


@every_engine
async def test_a_process_that_stands_still_holds_its_sender_and_what_it_got_is_bounded(engine: str) -> None:
    async with two_processes(engine) as (ana, process):
        link = await ana.links.get(BOB)
        accepted, goal, reached = 0, 0, asyncio.Event()

        async def send_on() -> None:
            nonlocal accepted
            while True:
                await link.send(Lane.DATA, bytes(64 * 1024))
                accepted += 64 * 1024
                if goal and accepted > goal:
                    reached.set()

        await asyncio.sleep(0.3)
        os.kill(process.pid, signal.SIGSTOP)
        sending = asyncio.create_task(send_on())
        try:
            await asyncio.sleep(1.5)
            assert accepted <= SESSION_WINDOW_BYTES + 2 * LANE_HIGH_WATER_BYTES
            goal = accepted + SESSION_WINDOW_BYTES
            os.kill(process.pid, signal.SIGCONT)
            async with asyncio.timeout(20):
                await reached.wait()
            assert ana.lost == []
        finally:
            os.kill(process.pid, signal.SIGCONT)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
