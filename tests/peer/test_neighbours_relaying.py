"""Relays through a peer that two others have links to: which way they go, and what bounds them."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.ids import PeerId, PeerName, peer_id
from mesh.limits import MAX_RELAYS_KNOWN, RELAY_BURST
from mesh.peer.neighbours import relaying
from mesh.peer.neighbours.relaying import Relays
from mesh.protocol.codec import Lane
from mesh.protocol.grants import Grant
from mesh.protocol.messages import Relay
from mesh.transport.link import Link, LinkStats

ROOM_KEY = bytes(32)
GRANT = Grant("room", "someone", frozenset(("work",)), 2**31, "1")
WANT = {"kind": "want"}


class End(Link):
    """A link that carries nothing by itself."""

    def __init__(self, peer: PeerId, grant: Grant = GRANT) -> None:
        self.peer, self.name, self.grant = peer, PeerName("x"), grant

    async def send(self, lane: Lane, message: bytes) -> None: ...

    def post(self, lane: Lane, message: bytes) -> None: ...

    def stats(self) -> LinkStats:
        raise NotImplementedError

    async def close(self) -> None: ...


@dataclass
class Member:
    """A peer; what it posts waits in ``posted`` until the mesh delivers it."""

    mesh: "Mesh"
    key: Ed25519PrivateKey
    links: dict[PeerId, End] = field(default_factory=dict)
    heard: list[tuple[PeerId, Any]] = field(default_factory=list)
    carried: int = 0

    def __post_init__(self) -> None:
        self.id = peer_id(self.key.public_key().public_bytes_raw())
        self.relays = Relays(
            self.id,
            key=self.key,
            room_key=ROOM_KEY,
            neighbours=lambda: list(self.links.values()),
            post=self._post,
            take=lambda sender, data: self.heard.append((sender, data)),
        )

    def _post(self, to: PeerId, relay: Relay) -> None:
        self.carried += relay.sender != self.id
        self.mesh.posted.append((self.id, to, relay))


class Mesh:
    def __init__(self, *links: str) -> None:
        self.posted: list[tuple[PeerId, PeerId, Relay]] = []
        names = sorted({name for link in links for name in link})
        self.members = {
            name: Member(self, Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32)) for at, name in enumerate(names)
        }
        for first, second in links:
            self.link(self[first], self[second])

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def link(self, first: Member, second: Member) -> None:
        first.links[second.id], second.links[first.id] = End(second.id), End(first.id)

    def deliver(self) -> int:
        """Everything arrives; answers how many messages that took."""
        by_id = {member.id: member for member in self.members.values()}
        count = 0
        while self.posted:
            sender, to, relay = self.posted.pop(0)
            count += 1
            by_id[to].relays.received(by_id[to].links[sender], relay)
        return count


def test_a_common_neighbour_carries_what_two_peers_say() -> None:
    mesh = Mesh("ad", "bd")
    mesh["a"].relays.send(mesh["b"].id, WANT)
    mesh.deliver()
    assert mesh["b"].heard == [(mesh["a"].id, WANT)]
    mesh["b"].relays.send(mesh["a"].id, {"kind": "offer"})
    mesh.deliver()
    assert mesh["a"].heard == [(mesh["b"].id, {"kind": "offer"})]
    assert mesh["d"].heard == []


def test_an_opening_goes_to_all_neighbours_is_heard_once_and_the_rest_goes_one_way() -> None:
    mesh = Mesh("ac", "ad", "ae", "bc", "bd")
    ana, bob = mesh["a"], mesh["b"]
    ana.relays.send(bob.id, WANT)
    assert mesh.deliver() == 5
    assert bob.heard == [(ana.id, WANT)]
    bob.relays.send(ana.id, {"kind": "answer"})
    assert mesh.deliver() == 2
    ana.relays.send(bob.id, {"kind": "candidate"})
    assert mesh.deliver() == 2
    del ana.links[mesh["c"].id]  # the way is gone
    ana.relays.send(bob.id, {"kind": "candidate"})
    assert mesh.deliver() == 3
    assert len(bob.heard) == 3
    assert bob.relays.heard(ana.id)
    bob.relays.forget(ana.id)
    assert not bob.relays.heard(ana.id)


def test_nobody_carries_further_than_to_a_neighbour() -> None:
    mesh = Mesh("ac", "cd", "db")
    mesh["a"].relays.send(mesh["b"].id, WANT)
    assert mesh.deliver() == 1
    assert mesh["b"].heard == []


def test_without_neighbours_there_is_nobody_to_try() -> None:
    mesh = Mesh("ab", "cd")
    assert not mesh["a"].relays.send(mesh["b"].id, WANT)  # whose own link is what is to be made


def test_nobody_carries_in_anothers_name() -> None:
    mesh = Mesh("ad", "bd", "ed")
    mesh["a"].relays.send(mesh["b"].id, WANT)
    ((_, _, relay),) = mesh.posted
    mesh.posted = [(mesh["e"].id, mesh["d"].id, relay)]  # eve has heard it, and says it again
    assert mesh.deliver() == 1
    assert mesh["b"].heard == []


def test_what_was_heard_is_not_taken_again_and_what_was_changed_never() -> None:
    mesh = Mesh("ad", "bd")
    mesh["a"].relays.send(mesh["b"].id, WANT)
    (sent,) = mesh.posted
    changed = sent[2]._replace(sealed=sent[2].sealed[:-1] + b"x")
    mesh.posted = [(*sent[:2], changed), sent, sent]
    mesh.deliver()
    assert mesh["b"].heard == [(mesh["a"].id, WANT)]


@pytest.mark.parametrize("end", ["a", "b"])
@pytest.mark.parametrize(
    "grant", [replace(GRANT, expires=int(time.time()) - 1), replace(GRANT, can=frozenset(("watch",)))]
)
def test_only_between_peers_whose_grants_are_good(end: str, grant: Grant) -> None:
    mesh = Mesh("ad", "bd")
    mesh["d"].links[mesh[end].id].grant = grant
    mesh["a"].relays.send(mesh["b"].id, WANT)
    mesh.deliver()
    assert mesh["b"].heard == []


def test_a_peer_that_relays_too_much_is_heard_no_more_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(relaying.time, "monotonic", lambda: now)
    mesh = Mesh("ad", "bd", "ed")
    for _ in range(RELAY_BURST + 50):
        mesh["a"].relays.send(mesh["b"].id, WANT)
    mesh.deliver()
    assert mesh["d"].carried == RELAY_BURST
    mesh["e"].relays.send(mesh["b"].id, WANT)  # another peer's budget is its own
    mesh.deliver()
    assert mesh["d"].carried == RELAY_BURST + 1
    now += 1
    for _ in range(RELAY_BURST):
        mesh["a"].relays.send(mesh["b"].id, WANT)
    mesh.deliver()
    assert mesh["d"].carried == RELAY_BURST + 1 + relaying.RELAYS_PER_S


def test_what_is_remembered_is_bounded() -> None:
    known: dict[int, None] = {}
    for number in range(2 * MAX_RELAYS_KNOWN):
        relaying._remember(known, number, None)
    assert len(known) == MAX_RELAYS_KNOWN
    assert min(known) == MAX_RELAYS_KNOWN
