"""Seeded storms of clients, good and bad: whatever they do, the hub stands, and everybody sees the same room."""

import json
import random
from typing import Any

import pytest
from signaling_world import Caller, World, announcement, keys

from mesh.limits import OUTBOX_BYTES, OUTBOX_MESSAGES

ROOMS = (keys("studio", 1), keys("studio", 2))
NAMES = ("ada", "bea", "cid", "dan", "eva")
RIGHTS = (["submit"], ["work"], ["watch"], ["submit", "work"], ["submit", "work", "watch"])
JUNK: tuple[Any, ...] = (None, True, -1, 2**70, 0.5, "", "x" * 5000, "\ud800", [], [[]], {}, {"a": {"b": []}}, "ada")


class View:
    """The registry as a client makes it of what it hears, by the rules that both languages follow."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.read = 0
        self.catalog: dict[str, Any] = {}
        self.peers: dict[str, dict[str, Any]] = {}

    def catch_up(self) -> None:
        said = self.caller.end.said
        for message in said[self.read :]:
            if message["type"] in ("joined", "presence"):
                self.catalog |= message["catalog"]
                for gone in message.get("left", ()):
                    self.peers.pop(gone["peer"], None)
                for record in (*message.get("peers", ()), *message.get("joined", ()), *message.get("updated", ())):
                    types = self.catalog[record["types"]]
                    self.peers[record["peer"]] = {**record, "types": types, "digest": record["types"]}
                used = {record["digest"] for record in self.peers.values()}
                self.catalog = {digest: self.catalog[digest] for digest in used}
        self.read = len(said)


class Storm:
    """Clients that come, talk and go at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World()
        self.views: list[View] = []

    def step(self) -> None:
        act = self.random.choice((self.come, self.come, self.talk, self.talk, self.talk, self.talk, self.go, self.wait))
        act()

    def come(self) -> None:
        caller = self.world.caller(seed=self.random.randrange(8) if self.random.random() < 0.7 else None)
        can = self.random.choice(RIGHTS)
        watches = can == ["watch"] or ("watch" in can and self.random.random() < 0.2)
        message = caller.joining(
            self.random.choice(NAMES),
            can=can,
            watches=watches,
            room=self.random.choice(ROOMS),
            announce=announcement(self.random.choice(("A", "B", "C"))),
        )
        caller.say(self.spoil(message) if self.random.random() < 0.1 else message)
        if caller.end.closed is None:
            self.views.append(View(caller))

    def talk(self) -> None:
        if not self.views:
            return
        caller = self.random.choice(self.views).caller
        others = [view.caller.client.id for view in self.views] or ["nobody"]
        message = self.random.choice(
            (
                {"type": "heartbeat", "load": self.random.random(), "links": [{"peer": self.random.choice(others)}]},
                {"type": "relay", "to": self.random.choice(others), "data": {"kind": "want"}},
                {"type": "announce", "announce": announcement(self.random.choice(("A", "B", "D", "E")))},
                {"type": "plan", "id": self.random.randrange(9), "manifest": "{}"},
                {"type": "report", "run": {"id": "r", "name": "n", "state": "running"}},
                {"type": "costs", "nodes": {"A": {"python": 1.0}}},
                {"type": "watch"},
                {"type": "ice"},
            )
        )
        request = caller.say(self.spoil(message) if self.random.random() < 0.1 else message)
        if request is not None:
            self.world.hub.planned(request, self.random.choice((None, {"faults": []})))

    def spoil(self, message: dict[str, Any]) -> str | bytes:
        """The message with one thing wrong with it somewhere."""
        spoiled = json.loads(json.dumps(message))
        place: Any = spoiled
        while self.random.random() < 0.5:
            inner = [value for value in place.values() if isinstance(value, dict) and value]
            if not inner:
                break
            place = self.random.choice(inner)
        name = self.random.choice([*place, "surplus"])
        if self.random.random() < 0.3:
            place.pop(name, None)
        else:
            place[name] = self.random.choice(JUNK)
        text = json.dumps(spoiled)
        cut = self.random.randrange(len(text))
        return self.random.choice((text, text[:cut], text[:cut] + "\x00" + text[cut:], text.encode()))

    def go(self) -> None:
        if self.views and self.random.random() < 0.6:
            self.random.choice(self.views).caller.hang_up()
        elif self.views and self.random.random() < 0.1:
            self.random.choice(self.views).caller.end.reading = False

    def wait(self) -> None:
        for view in self.views:
            if self.random.random() < 0.95 and view.caller.end.closed is None:
                view.caller.say({"type": "heartbeat"})
        self.world.pass_time(self.random.choice((0.05, 0.05, 1.0)))

    def check(self) -> None:
        hub = self.world.hub
        for client in hub.clients:
            assert len(client.outbox) <= OUTBOX_MESSAGES
            assert len(client.outbox) <= 1 or client.queued <= OUTBOX_BYTES
            assert client.queued == sum(map(len, client.outbox))
        for room in hub.rooms.values():
            assert len({client.name for client in room.peers.values()}) == len(room.peers) == len(room.names)
            assert set(room.peers.values()) <= room.clients <= hub.clients
            assert room.watchers <= room.clients
        self.views = [view for view in self.views if view.caller.client in hub.clients]
        for view in self.views:
            room = view.caller.client.room
            if room is None or not view.caller.end.reading:
                continue
            view.catch_up()
            actual = {
                peer: {**json.loads(client.record()), "types": json.loads(client.offer.types.json)}
                for peer, client in room.peers.items()
                if client.offer is not None
            }
            assert {peer: _without_digest(record) for peer, record in view.peers.items()} == actual


def _without_digest(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "digest"}


@pytest.mark.parametrize("seed", range(25))
def test_storm(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(30):
        for _ in range(20):
            storm.step()
        storm.world.pass_time(0.05)
        storm.check()
    for view in storm.views:
        view.caller.hang_up()
    storm.world.pass_time(5)
    assert not storm.world.hub.clients
    assert not storm.world.hub.rooms
    assert not storm.world.hub._busy


@pytest.mark.parametrize("seed", range(5))
def test_noise(seed: int) -> None:
    """Bytes that are no messages at all."""
    chosen = random.Random(seed)
    world = World()
    ada = world.peer("ada")
    for _ in range(300):
        caller = world.caller() if chosen.random() < 0.5 else world.peer(f"p{chosen.randrange(10**9)}")
        text = "".join(chosen.choice('{}[]":,0e.-\\untrfals \x00é\U0001f600') for _ in range(chosen.randrange(60)))
        caller.say(chosen.choice((text, text.encode(), "[" * 100_000, '{"type":' * 2000, '{"type": "join"}')))
        assert caller.end.code in ("bad-message", "not-joined")
    world.pass_time(0.1)
    assert ada.end.closed is None
    assert len(world.hub.clients) == 1
