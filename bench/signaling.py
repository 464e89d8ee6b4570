"""Signaling under many idle peers, beside a bare ``websockets`` server that checks the same grants.

    python bench/signaling.py --peers 10000

Both hold N peers in rooms of 20, each of which proves its key, shows its grant, announces 14 node types and beats
every 1.5 s; meanwhile two more relay messages of 2 KB to each other. The bare server keeps of a peer no more than its
name and socket: it has no registry, no bounds on what it queues, no liveness. The systems take turns (ours, bare,
ours, bare) on the same cores, so read the ratios. Needs Linux and N file descriptors in a process.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import resource
import secrets
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed

from mesh.ids import peer_id
from mesh.limits import MAX_SIGNALING_BYTES, PRESENCE_INTERVAL_S, SIGNALING_HEARTBEAT_S
from mesh.protocol.grants import Invite, RoomKeys, owns, room_id, sign_join, verify, verify_join
from signaling_server.server import Config, serve

ROOM_PEERS: Final = 20
JOINING: Final = 64  # at a time
RELAY_BYTES: Final = 2048
RELAYS_PER_S: Final = 100
HOST: Final = "127.0.0.1"
TYPES: Final = [
    {
        "node_type": f"NodeType{number}",
        "doc": "What it does with its input, in one sentence of the usual length.",
        "params": {"factor": {"kind": "number"}, "offset": {"kind": "number", "default": 0}},
        "runtimes": ["python"],
    }
    for number in range(14)
]
ANNOUNCEMENT: Final = {"kind": "server", "runtimes": ["python"], "types": TYPES, "caps": {"cores": 4}, "slots": 4}
OWNER: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))


# The servers, each in a process of its own


async def serve_ours(ready: Callable[[int], None]) -> None:
    async with serve(Config(host=HOST, port=0)) as server:
        ready(server.port)
        await asyncio.Event().wait()


async def serve_bare(ready: Callable[[int], None]) -> None:
    rooms: defaultdict[str, dict[str, tuple[str, ServerConnection]]] = defaultdict(dict)
    news: defaultdict[str, list[dict[str, str]]] = defaultdict(list)

    def admit(nonce: str, text: str | bytes, connection: ServerConnection) -> tuple[str, str]:
        """Checks a join as the hub does; answers the room and the peer. What else it said is forgotten."""
        join = json.loads(text)
        key, owner = bytes.fromhex(join["key"]), bytes.fromhex(join["owner"])
        grant = verify(join["grant"], owner_key=owner, room=join["room"], now=time.time())
        if not owns(owner, grant.room) or not verify_join(key, grant.room, nonce, join["signature"]):
            raise ValueError("refused")
        rooms[grant.room][peer_id(key)] = join["name"], connection
        news[grant.room].append({"peer": peer_id(key), "name": join["name"]})
        return grant.room, peer_id(key)

    async def on_client(connection: ServerConnection) -> None:
        nonce = secrets.token_bytes(32).hex()
        await connection.send(json.dumps({"type": "challenge", "version": 1, "nonce": nonce}))
        room_id, peer = admit(nonce, await connection.recv(), connection)
        room = rooms[room_id]
        peers = [{"peer": each, "name": name} for each, (name, _) in room.items()]
        await connection.send(json.dumps({"type": "joined", "peer": peer, "peers": peers}))
        try:
            async for text in connection:
                message = json.loads(text)
                if message["type"] == "relay" and message["to"] in room:
                    relay = {"type": "relay", "from": peer, "data": message["data"]}
                    await room[message["to"]][1].send(json.dumps(relay))
        except ConnectionClosed:
            pass
        finally:
            del room[peer]

    async with serve_websockets(
        on_client, HOST, 0, compression=None, ping_interval=None, max_size=MAX_SIGNALING_BYTES
    ) as listener:
        ready(listener.sockets[0].getsockname()[1])
        while True:
            await asyncio.sleep(PRESENCE_INTERVAL_S)
            for room, joined in news.items():
                sockets = [socket for _, socket in rooms[room].values()]
                broadcast(sockets, json.dumps({"type": "presence", "joined": joined}))
            news.clear()


SYSTEMS: Final = {"mesh": serve_ours, "bare websockets": serve_bare}


def server_process(system: str, pipe: Connection) -> None:
    gc.set_threshold(2000, 20, 1_000_000)  # as `mesh signal` does
    asyncio.run(SYSTEMS[system](pipe.send))


# The clients: frames made by hand (RFC 6455), so that they cost less than the servers


class Caller(asyncio.Protocol):
    """One peer: joins, then takes what comes. ``on_relay`` is called with each relayed message."""

    def __init__(self, name: str, invite: Invite, *, on_relay: Callable[[bytes], None] | None = None) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes_raw()
        self.name, self.invite, self.on_relay = name, invite, on_relay
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = bytearray()
        self.upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        host = self.invite.server.removeprefix("http://")
        lines = ("GET /ws HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade")
        key = ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13", "", "")
        transport.write("\r\n".join((*lines, *key)).encode())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(error or ConnectionError(f"refused: {bytes(self.buffer[-200:])!r}"))

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.upgraded:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            del self.buffer[: end + 4]
            self.upgraded = True
        while (message := self.next_message()) is not None:
            self.receive(message)

    def next_message(self) -> bytes | None:
        if len(self.buffer) < 2:
            return None
        size, start = self.buffer[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(self.buffer[2:start])
        if len(self.buffer) < start + size:
            return None
        message = bytes(self.buffer[start : start + size])
        del self.buffer[: start + size]
        return message

    def receive(self, message: bytes) -> None:
        if message.startswith(b'{"type":"relay"') or message.startswith(b'{"type": "relay"'):
            if self.on_relay is not None:
                self.on_relay(message)
        elif not self.joined.done():
            said = json.loads(message)
            if said["type"] == "challenge":
                self.send(self.join_message(said["nonce"]))
            elif said["type"] == "joined":
                self.joined.set_result(None)
            else:
                self.joined.set_exception(ConnectionError(str(said)))

    def join_message(self, nonce: str) -> dict[str, Any]:
        return {
            "type": "join",
            "version": 1,
            "room": self.invite.room,
            "owner": self.invite.owner_key.hex(),
            "grant": self.invite.grant,
            "name": self.name,
            "key": self.public.hex(),
            "signature": sign_join(self.key, self.invite.room, nonce),
            "announce": ANNOUNCEMENT,
        }

    def send(self, message: dict[str, Any]) -> None:
        self.transport.write(frame(json.dumps(message).encode()))


def frame(payload: bytes) -> bytes:
    """A text frame, masked with zeros."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    else:
        length = b"\xfe" + size.to_bytes(2) if size < 65536 else b"\xff" + size.to_bytes(8)
    return b"\x81" + length + bytes(4) + payload


def invite_for(port: int, number: int) -> Invite:
    """An invite to the room of peer ``number``."""
    keys = RoomKeys(room_id(f"r{number // ROOM_PEERS}", OWNER.public_key().public_bytes_raw()), bytes(32), OWNER)
    can = ("submit", "work")
    return keys.invite(server=f"http://{HOST}:{port}", subject="bench", can=can, ttl_s=3600, now=time.time())


async def call(caller: Caller, port: int) -> None:
    """Connects and joins. Each server has its own addresses of callers: their ports would not do for all the rounds."""
    address = f"127.{port // 256}.{port % 256}.{1 + int(caller.invite.room[1:].partition('~')[0]) % 8}"
    await asyncio.get_running_loop().create_connection(lambda: caller, HOST, port, local_addr=(address, 0))
    await caller.joined


async def hold(port: int, peers: int, pipe: Connection) -> None:
    """Joins all peers, reports how long that took, and keeps them alive until told to stop."""
    callers = [Caller(f"p{number}", invite_for(port, number)) for number in range(peers)]
    waiting = iter(callers)

    async def join_some() -> None:
        for caller in waiting:
            await call(caller, port)
            alive.append(caller)

    alive: list[Caller] = []
    beating = asyncio.create_task(beat(alive))
    began = time.perf_counter()
    await asyncio.gather(*(join_some() for _ in range(JOINING)))
    pipe.send(time.perf_counter() - began)
    await asyncio.to_thread(pipe.recv)
    beating.cancel()
    pipe.send(sum(caller.transport.is_closing() for caller in callers))


async def beat(alive: list[Caller]) -> None:
    """Heartbeats of everybody, evenly over the interval."""
    data = frame(json.dumps({"type": "heartbeat", "load": 0.01, "hidden": False, "links": []}).encode())
    slices, turn = 30, 0
    while True:
        due = time.perf_counter() + SIGNALING_HEARTBEAT_S / slices
        for caller in alive[turn::slices]:
            if not caller.transport.is_closing():
                caller.transport.write(data)
        turn = (turn + 1) % slices
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def probe(port: int, seconds: float, pipe: Connection) -> None:
    """Relays from one peer to another, and reports the milliseconds of each."""
    times: list[float] = []

    def on_relay(message: bytes) -> None:
        times.append((time.perf_counter() - json.loads(message)["data"]["at"]) * 1e3)

    number = 10**6  # a room of their own
    sender = Caller("sender", invite_for(port, number))
    receiver = Caller("receiver", invite_for(port, number), on_relay=on_relay)
    for caller in (sender, receiver):
        await call(caller, port)
    beating = asyncio.create_task(beat([sender, receiver]))
    end = time.perf_counter() + seconds
    while (now := time.perf_counter()) < end:
        data = {"at": now, "sdp": "x" * RELAY_BYTES}
        sender.send({"type": "relay", "to": peer_id(receiver.public), "data": data})
        await asyncio.sleep(1 / RELAYS_PER_S)
    await asyncio.sleep(0.2)
    beating.cancel()
    pipe.send(times)


def client_process(work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(work(*arguments))


# One round, and what it says


@dataclass(frozen=True, slots=True)
class Round:
    kb_per_peer: float
    joins_per_s: float
    cpu_ms_per_join: float
    idle_cpu: float  # share of a core, for the heartbeats
    relay_p50_ms: float
    relay_p99_ms: float
    lost: int


def measure(system: str, peers: int, seconds: float) -> Round:
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(3)]
    (server_here, server_there), (hold_here, hold_there), (probe_here, probe_there) = pipes
    server = spawn.Process(target=server_process, args=(system, server_there), daemon=True)
    server.start()
    port, pid = server_here.recv(), server.pid
    assert pid is not None
    memory, cpu = memory_kb(pid), cpu_s(pid)
    holder = spawn.Process(target=client_process, args=(hold, port, peers, hold_there), daemon=True)
    holder.start()
    hold_there.close()  # so that a holder that dies is heard of
    joining_s = hold_here.recv()
    time.sleep(1)
    memory, cpu = memory_kb(pid) - memory, cpu_s(pid) - cpu
    prober = spawn.Process(target=client_process, args=(probe, port, seconds, probe_there), daemon=True)
    idle, began = cpu_s(pid), time.perf_counter()
    prober.start()
    probe_there.close()
    times = sorted(probe_here.recv())
    idle_cpu = (cpu_s(pid) - idle) / (time.perf_counter() - began)
    hold_here.send(None)
    lost = hold_here.recv()
    for process in (prober, holder, server):
        process.kill()
        process.join()
    return Round(
        memory / peers,
        peers / joining_s,
        1e3 * cpu / peers,
        idle_cpu,
        statistics.median(times),
        times[int(len(times) * 0.99)],
        lost,
    )


def memory_kb(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0, help="of relaying, in each round")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rounds: defaultdict[str, list[Round]] = defaultdict(list)
    print(f"{options.peers} peers, rooms of {ROOM_PEERS}")
    print(f"{'':18}{'KB/peer':>9}{'joins/s':>9}{'ms/join':>9}{'idle CPU':>10}{'p50 ms':>8}{'p99 ms':>8}{'lost':>6}")
    for _ in range(options.rounds):
        for system in SYSTEMS:
            done = measure(system, options.peers, options.seconds)
            rounds[system].append(done)
            print(row(system, done), flush=True)
    ours, bare = (
        [statistics.median(getattr(each, field) for each in rounds[system]) for field in Round.__slots__[:-1]]
        for system in SYSTEMS
    )
    ratios = "".join(f"{a / b:>{width}.2f}" for a, b, width in zip(ours, bare, (9, 9, 9, 10, 8, 8), strict=True))
    print(f"{'mesh / bare':18}{ratios}")


def row(system: str, done: Round) -> str:
    return (
        f"{system:18}{done.kb_per_peer:>9.1f}{done.joins_per_s:>9.0f}{done.cpu_ms_per_join:>9.3f}"
        f"{done.idle_cpu:>10.0%}{done.relay_p50_ms:>8.2f}{done.relay_p99_ms:>8.2f}{done.lost:>6}"
    )


if __name__ == "__main__":
    main()
