"""Whom a run cannot count on now, and why its present epoch cannot go on as it is."""

import asyncio
from collections.abc import Callable

from mesh.ids import PeerId
from mesh.limits import HEARTBEAT_S, PARTING_S
from mesh.peer.driving.epoch import Epoch


class Absence:
    """Of peers of the room, whether they have a part in the run or not. ``changed`` is called whenever a worker's
    absence may matter to the present epoch, or its return.

    Who is silent may come back before anybody takes their place, and then nothing has happened. Who is gone lost what
    the present epoch had there. Who is stuck does not get on with a node, though it beats: this run is through with it.
    Two workers may hear nothing of each other, though both are heard here. ``probe`` is to find out whether they are.
    """

    def __init__(self, changed: Callable[[], None], probe: Callable[[PeerId], None]) -> None:
        self._changed, self._probe = changed, probe
        self._epoch: Epoch | None = None
        self._silent: dict[PeerId, str] = {}
        self._gone: set[PeerId] = set()
        self._stuck: set[PeerId] = set()
        self._died: set[PeerId] = set()  # of those who are silent or gone, whose process is gone too
        self._unheard: set[tuple[PeerId, PeerId]] = set()  # a worker, and another one of which it hears nothing
        self._parted: set[tuple[PeerId, PeerId]] = set()  # those of them that have to do without each other
        self.loss = ""  # why the present epoch is lost

    def began(self, epoch: Epoch) -> None:
        """It is the present one from now on."""
        self._epoch, self.loss = epoch, ""
        for pairs in (self._unheard, self._parted):  # who has no part any more does not say when it hears again
            pairs -= {(one, other) for one, other in pairs if one not in epoch.workers}

    @property
    def peers(self) -> set[PeerId]:
        """Who is left out of the next plan."""
        return self._silent.keys() | self._gone | self._stuck

    @property
    def apart(self) -> set[frozenset[PeerId]]:
        """Who cannot be neighbours in the next plan."""
        return {frozenset(pair) for pair in self._parted}

    @property
    def dead(self) -> set[PeerId]:
        """Who may have died of an item, or got stuck in it."""
        return self._died | self._stuck

    @property
    def suspicion(self) -> str:
        """Which worker of the present epoch is silent, or which two are to each other; empty: none."""
        epoch = self._epoch
        if epoch is None:
            return ""
        for peer, reason in self._silent.items():
            if peer in epoch.workers:
                return f"{self._name(peer)} was suspected: {reason}"
        for one, other in self._parted:
            if other in epoch.placement.neighbours(one):
                return self._cut_off(one, other)
        return ""

    async def watch(self) -> None:
        """Looks after the leases of the workers."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self._epoch is None or self.loss:
                continue
            now = asyncio.get_running_loop().time()
            expired = self._epoch.leases.expired(now, silent=self.peers)
            if expired is not None:
                self.stuck(*expired)

    def suspected(self, peer: PeerId, reason: str, *, died: bool) -> None:
        """Its link has no connection."""
        self._silent[peer] = reason
        if died:
            self._died.add(peer)
        self._changed()

    def lost(self, peer: PeerId, reason: str, *, died: bool = False) -> None:
        """Its link is gone."""
        works = self._epoch is not None and peer in self._epoch.workers
        if self._silent.pop(peer, None) is None and not works:
            return  # nobody of this run
        self._gone.add(peer)
        if died:
            self._died.add(peer)
        else:  # it was taken for dead while nobody could say that it lives, and now the server does
            self._died.discard(peer)
        if works:
            self.lose(f"{self._name(peer)} was lost: {reason}")

    def stuck(self, peer: PeerId, reason: str) -> None:
        """The lease of a worker is over."""
        self._stuck.add(peer)
        self.lose(f"{self._name(peer)} is stuck: {reason}")

    async def unheard(self, one: PeerId, other: PeerId) -> None:
        """A worker hears nothing of another one: that is gone, as a probe shows, or the next plan parts them.

        Unless it hears it again before: a cut that heals at once moves nothing.
        """
        if self._epoch is None or one not in self._epoch.workers:
            return
        self._unheard.add((one, other))
        for peer in (one, other):
            self._probe(peer)
        await asyncio.sleep(PARTING_S)
        if (one, other) in self._unheard:
            self._parted.add((one, other))
            self._changed()

    def heard(self, one: PeerId, other: PeerId) -> None:
        """It hears it again."""
        for pairs in (self._unheard, self._parted):
            pairs.discard((one, other))
        self._changed()

    async def unlinked(self, one: PeerId, other: PeerId) -> None:
        """Two workers have no link any more, and what was on its way over it is lost."""
        epoch = self._epoch
        await self.unheard(one, other)
        if epoch is self._epoch and epoch is not None and one in epoch.workers:
            self.lose(self._cut_off(one, other))

    def lose(self, reason: str) -> None:
        """The present epoch is lost."""
        self.loss = self.loss or reason
        self._changed()

    def linked(self, peer: PeerId) -> None:
        """It has a connection: a new link, or the one that was silent."""
        self._silent.pop(peer, None)
        self._gone.discard(peer)
        self._died.discard(peer)
        self._changed()

    def joined(self, peer: PeerId) -> None:
        """It has come into the room, perhaps again: links to it may be tried."""
        self._gone.discard(peer)
        self._died.discard(peer)
        for pairs in (self._unheard, self._parted):
            pairs -= {pair for pair in pairs if peer in pair}

    def _cut_off(self, one: PeerId, other: PeerId) -> str:
        first, second = sorted((self._name(one), self._name(other)))
        return f"{first} and {second} cannot reach each other"

    def _name(self, peer: PeerId) -> str:
        return self._epoch.names.get(peer, peer) if self._epoch is not None else peer
