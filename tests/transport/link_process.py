"""Bob, in a process of his own (test_link_processes.py): what is relayed crosses stdin and stdout as JSON lines."""

import asyncio
import json
import sys

from link_rooms import ANA, BOB, Relayed, Room

from mesh.ids import PeerId


class Outside(Room):
    """A room whose other members are behind stdout."""

    async def relay(self, sender: PeerId, to: PeerId, data: Relayed) -> None:
        print(json.dumps(data), flush=True)


async def main(engine: str) -> None:
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with Outside() as room:
        bob = room.add(BOB, engine)
        while line := await lines.readline():
            await bob.links.relay(ANA, json.loads(line))


asyncio.run(main(sys.argv[1]))
