"""A hub with sockets that are lists, and clients that speak as real ones do."""

import json
import random
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.protocol.grants import ENTROPY_BYTES, RIGHTS, RoomKeys, mint, sign_join
from signaling_server.client import Client, Socket
from signaling_server.hub import Hub
from signaling_server.planner import PlanRequest

START = 1_800_000_000.0


def keys(label: str, seed: int) -> RoomKeys:
    return RoomKeys.make(label, random.Random(seed).randbytes(ENTROPY_BYTES))


STUDIO = keys("studio", 1)


def spec(node_type: str = "PassThrough") -> dict[str, Any]:
    return {"node_type": node_type, "runtimes": ["python"]}


def announcement(*types: str) -> dict[str, Any]:
    types = types or ("PassThrough",)
    return {"kind": "server", "runtimes": ["python"], "types": [spec(each) for each in types], "caps": {"cores": 2}}


class End(Socket):
    """A client's end of its socket: what came is in ``said``, unless it is not ``reading``."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.reading = True
        self.closed: tuple[int, str] | None = None

    def push(self, client: Client) -> None:
        while self.reading and (data := client.take()) is not None:
            self.said.append(json.loads(data))

    def kick(self, code: int, reason: str) -> None:
        assert self.closed is None, "kicked twice"
        self.closed = (code, reason)

    def last(self, kind: str) -> dict[str, Any]:
        return next(message for message in reversed(self.said) if message["type"] == kind)

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.said if message["type"] == kind]

    @property
    def code(self) -> str:
        """The code with which it was kicked."""
        assert self.closed is not None, f"it was not kicked; it heard {self.said[-3:]}"
        return self.closed[1].split(":")[0]


class Caller:
    """One client of the hub."""

    def __init__(self, world: "World", seed: int) -> None:
        self.world = world
        self.end = End()
        self.key = Ed25519PrivateKey.from_private_bytes(random.Random(seed).randbytes(32))
        self.client = world.hub.connect(self.end, world.now)

    def say(self, message: dict[str, Any] | str | bytes) -> PlanRequest | None:
        data = json.dumps(message) if isinstance(message, dict) else message
        return self.world.hub.receive(self.client, data, self.world.now)

    def joining(
        self,
        name: str,
        *,
        can: Iterable[str] = RIGHTS,
        announce: dict[str, Any] | None = None,
        watches: bool = False,
        room: RoomKeys = STUDIO,
    ) -> dict[str, Any]:
        """The message with which it joins."""
        return {
            "type": "join",
            "version": 1,
            "room": room.room,
            "owner": room.owner_key.hex(),
            "grant": mint(room.owner, room=room.room, subject=name, can=can, ttl_s=3600, now=self.world.now),
            "name": name,
            "key": self.key.public_key().public_bytes_raw().hex(),
            "signature": sign_join(self.key, room.room, self.end.said[0]["nonce"]),
            "announce": None if watches else announce or announcement(),
        }

    def join(self, name: str, *, changes: dict[str, Any] | None = None, **options: Any) -> "Caller":
        """Joins; ``changes`` are fields of the message that are not as they should be."""
        self.say({**self.joining(name, **options), **(changes or {})})
        return self

    @property
    def id(self) -> str:
        return str(self.end.last("joined")["peer"])

    def hang_up(self) -> None:
        self.world.hub.disconnect(self.client, self.world.now)


class World:
    """A hub, its clock, and those who call."""

    def __init__(self, **options: Any) -> None:
        self.now = START
        self.hub = Hub(random=random.Random(0).randbytes, **options)
        self._seed = 0
        self.hub.tick(self.now)

    def caller(self, seed: int | None = None) -> Caller:
        self._seed += 1
        return Caller(self, self._seed if seed is None else seed)

    def peer(self, name: str, **options: Any) -> Caller:
        caller = self.caller().join(name, **options)
        assert caller.end.closed is None, caller.end.closed
        return caller

    def pass_time(self, seconds: float) -> None:
        """As the server does: a tick every 50 ms."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.05)
            self.hub.tick(self.now)
