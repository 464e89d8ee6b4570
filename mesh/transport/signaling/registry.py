"""Who else is in the room, as the server tells it: whole at first, then what changed. Sans-IO."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mesh.errors import SignalingError
from mesh.ids import PeerId
from mesh.protocol import signaling as said
from mesh.protocol.signaling import Record

SOCKET_CLOSED: Final = "closed"  # why a peer left the room, where it was not the server that dismissed it

type OnPresence = Callable[[Sequence[Record], Sequence[Record], Sequence[Mapping[str, Any]]], None]


class Registry:
    """``on_presence(joined, updated, left)`` hears of every change, after it was made.

    ``peers`` are the records of the others, by id, with their node types whole; ``catalog`` has those lists by their
    digest. ``awaited`` are peers of before a restart of the server that it has not told of yet.
    """

    def __init__(self, me: PeerId, on_presence: OnPresence) -> None:
        self._me, self._on_presence = me, on_presence
        self.peers: dict[PeerId, Record] = {}
        self.catalog: dict[str, list[dict[str, Any]]] = {}
        self.awaited: set[PeerId] = set()
        self._own_digest: str | None = None  # the server tells the types of a digest once, so ours counts as used

    def begin(self, joined: said.Joined) -> None:
        """The whole registry, perhaps of another server than before."""
        self.catalog = joined.catalog
        self.awaited = set(self.peers)
        self._merge(joined.peers)

    def change(self, presence: said.Presence) -> None:
        """What is different since the last message; raises SignalingError where it makes no sense."""
        self.catalog |= presence.catalog
        self._forget(presence.left)
        self._merge([*presence.joined, *presence.updated])
        used = {self._own_digest, *(record["digest"] for record in self.peers.values())}
        self.catalog = {digest: types for digest, types in self.catalog.items() if digest in used}

    def give_up(self) -> None:
        """Whoever is still awaited does not come back."""
        missing, self.awaited = self.awaited, set()
        self._forget([{"peer": peer, "name": self.peers[peer]["name"], "reason": "not back"} for peer in missing])

    def _merge(self, records: Sequence[Record]) -> None:
        joined: list[Record] = []
        updated: list[Record] = []
        for record in records:
            peer = PeerId(record["peer"])
            if peer == self._me:
                self._own_digest = record.get("types")
                continue
            whole = self._whole(record)
            (updated if peer in self.peers else joined).append(whole)
            self.peers[peer] = whole
            self.awaited.discard(peer)
        if joined or updated:
            self._on_presence(joined, updated, [])

    def _whole(self, record: Record) -> Record:
        """The record with its node types in place of their digest, which moves to ``digest``."""
        digest = record.get("types")
        types = self.catalog.get(digest) if isinstance(digest, str) else None
        if types is None:
            raise SignalingError("bad-message", "the server lists a peer without its node types")
        return {**record, "digest": digest, "types": types}

    def _forget(self, left: Sequence[Mapping[str, Any]]) -> None:
        known = [each for each in left if self.peers.pop(PeerId(each["peer"]), None) is not None]
        self.awaited.difference_update(PeerId(each["peer"]) for each in known)
        if known:
            self._on_presence([], [], known)
