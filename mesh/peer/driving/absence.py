"""Whom a run cannot count on now, and why its present epoch cannot go on as it is."""

import asyncio
from collections.abc import Callable

from mesh.ids import PeerId
from mesh.limits import HEARTBEAT_S, SUSPECT_AFTER_S
from mesh.peer.driving.epoch import Epoch


class Absence:
    """Of peers of the room, whether they have a part in the run or not. ``changed`` is called whenever a worker's
    absence may matter to the present epoch, or its return.

    Who is silent may come back before anybody takes their place, and then nothing has happened. Who is gone lost what
    the present epoch had there. Who is stuck does not get on with a node, though it beats: this run is through with it.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._epoch: Epoch | None = None
        self._silent: dict[PeerId, str] = {}
        self._gone: set[PeerId] = set()
        self._stuck: set[PeerId] = set()
        self._died: set[PeerId] = set()  # of those who are silent or gone, whose process is gone too
        self.apart: set[frozenset[PeerId]] = set()  # pairs that have no link to one another
        self.loss = ""  # why the present epoch is lost

    def began(self, epoch: Epoch) -> None:
        """It is the present one from now on."""
        self._epoch, self.loss = epoch, ""

    @property
    def peers(self) -> set[PeerId]:
        """Who is left out of the next plan."""
        return self._silent.keys() | self._gone | self._stuck

    @property
    def dead(self) -> set[PeerId]:
        """Who may have died of an item, or got stuck in it."""
        return self._died | self._stuck

    @property
    def suspicion(self) -> str:
        """Which worker of the present epoch is silent; empty: none."""
        workers = self._epoch.workers if self._epoch is not None else set()
        silent = ((peer, reason) for peer, reason in self._silent.items() if peer in workers)
        return next((f"{self._name(peer)} was suspected: {reason}" for peer, reason in silent), "")

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
        if works:
            self.lose(f"{self._name(peer)} was lost: {reason}")

    def stuck(self, peer: PeerId, reason: str) -> None:
        """The lease of a worker is over."""
        self._stuck.add(peer)
        self.lose(f"{self._name(peer)} is stuck: {reason}")

    async def unlinked(self, one: PeerId, other: PeerId) -> None:
        """Two workers have no link any more: one of them is lost, as we shall notice, or the next plan parts them."""
        epoch = self._epoch
        await asyncio.sleep(SUSPECT_AFTER_S + HEARTBEAT_S)
        if epoch is self._epoch:
            self.apart.add(frozenset((one, other)))
            self.lose(f"{self._name(one)} and {self._name(other)} cannot reach each other")

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
        self.apart = {pair for pair in self.apart if peer not in pair}

    def _name(self, peer: PeerId) -> str:
        return self._epoch.names.get(peer, peer) if self._epoch is not None else peer
