"""Negotiation through a peer that both ends have a link to: RELAY (docs/wire.md, 8)."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.errors import ProtocolError
from mesh.ids import PeerId
from mesh.limits import MAX_RELAYS_KNOWN, RELAY_BURST, RELAYS_PER_S
from mesh.protocol.messages import Relay
from mesh.protocol.sealing import SEAL_NONCE_BYTES, seal, unseal
from mesh.transport.link import Link

OPENINGS: Final = frozenset(("want", "offer"))
_log = logging.getLogger(__name__)


class Relays:
    """What this peer says through its neighbours, hears through them, and carries between them.

    ``neighbours`` are the links that have a connection now; ``post`` sends to one of them; ``take`` gets what another
    peer says to this one. Nothing that is carried is kept.
    """

    def __init__(
        self,
        me: PeerId,
        *,
        key: Ed25519PrivateKey,
        room_key: bytes,
        neighbours: Callable[[], Sequence[Link]],
        post: Callable[[PeerId, Relay], None],
        take: Callable[[PeerId, Mapping[str, Any]], None],
    ) -> None:
        self._me, self._key, self._room_key = me, key, room_key
        self._neighbours, self._post, self._take = neighbours, post, take
        self._budgets: WeakKeyDictionary[Link, _Budget] = WeakKeyDictionary()
        self._ways: dict[PeerId, PeerId] = {}  # through whom a peer was heard last
        self._known: dict[bytes, None] = {}  # nonces of what came, which may come again by another way

    def send(self, to: PeerId, data: Mapping[str, Any]) -> bool:
        """Says ``data`` to a peer through whoever has a link to it. Answers whether there is anybody to try.

        An opening goes to all neighbours, since nobody knows whose neighbours they are; what follows goes the way that
        the answer came.
        """
        if data.get("kind") in OPENINGS:
            self.forget(to)
        neighbours = [link.peer for link in self._neighbours() if link.peer != to]
        if not neighbours:
            return False
        nonce = secrets.token_bytes(SEAL_NONCE_BYTES)
        sealed = seal(data, key=self._key, sender=self._me, to=to, room_key=self._room_key, nonce=nonce)
        way = self._ways.get(to)
        for neighbour in [way] if way in neighbours else neighbours:
            self._post(neighbour, Relay(self._me, to, sealed))
        return True

    def heard(self, peer: PeerId) -> bool:
        """Whether a peer was heard through a neighbour last."""
        return peer in self._ways

    def forget(self, peer: PeerId) -> None:
        """It was heard through the server since, or is to be found anew."""
        self._ways.pop(peer, None)

    def received(self, link: Link, relay: Relay) -> None:
        """Takes what is for this peer, and carries what is for a neighbour; everything else is dropped."""
        if not (_in_good_standing(link) and self._budgets.setdefault(link, _Budget()).spend()):
            _log.debug("a relay of %s is dropped: too many, or its grant has expired", link.peer)
        elif relay.to == self._me:
            self._hear(link, relay)
        elif relay.sender == link.peer and any(
            other.peer == relay.to and _in_good_standing(other) for other in self._neighbours()
        ):
            self._post(relay.to, relay)

    def _hear(self, link: Link, relay: Relay) -> None:
        nonce = relay.sealed[:SEAL_NONCE_BYTES]
        if nonce in self._known:
            return
        try:
            data = unseal(relay.sealed, sender=relay.sender, to=self._me, room_key=self._room_key)
        except ProtocolError as error:  # by whom is not known, so nobody is to blame
            _log.debug("a relay through %s is dropped: %s", link.peer, error)
            return
        _remember(self._known, nonce, None)
        _remember(self._ways, relay.sender, link.peer)
        self._take(relay.sender, data)


class _Budget:
    """RELAY_BURST messages at once, and RELAYS_PER_S in the long run."""

    def __init__(self) -> None:
        self._left, self._since = float(RELAY_BURST), time.monotonic()

    def spend(self) -> bool:
        now = time.monotonic()
        self._left = min(RELAY_BURST, self._left + (now - self._since) * RELAYS_PER_S)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _in_good_standing(link: Link) -> bool:
    """Whether the link's grant still makes its peer one of the room; a link may outlive it."""
    return link.grant.expires > time.time() and not link.grant.can.isdisjoint(("submit", "work"))


def _remember[Key, Value](known: dict[Key, Value], key: Key, value: Value) -> None:
    known[key] = value
    if len(known) > MAX_RELAYS_KNOWN:
        del known[next(iter(known))]
