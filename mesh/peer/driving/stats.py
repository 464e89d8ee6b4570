"""What the workers of a run measured, asked of them when they leave it and at its end."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from mesh.errors import ProtocolError
from mesh.ids import PeerId
from mesh.limits import STATS_TIMEOUT_S
from mesh.peer.site import RunKey
from mesh.protocol import messages

if TYPE_CHECKING:
    from mesh.peer.driving.epoch import Epoch


class Stats:
    """A worker counts from the epoch in which it came into the run until it leaves it; one that comes back, anew."""

    def __init__(self, key: RunKey, post: Callable[[PeerId, messages.Message], None]) -> None:
        self.told: dict[tuple[PeerId, int], messages.Times] = {}  # by worker, and the epoch since which it counts
        self._key, self._post = key, post
        self._asked: set[PeerId] = set()  # who have not answered
        self._answered = asyncio.Event()

    def ask(self, workers: Collection[PeerId]) -> None:
        for worker in workers:
            self._post(worker, messages.Stats(self._key.driver, self._key.run))
        self._asked.update(workers)

    def take(self, sender: PeerId, times: messages.Times, epochs: Iterable["Epoch"]) -> None:
        """A worker's answer; raises ProtocolError where it had no part in the epoch that it names."""
        since = times[0]
        if not any(epoch.number == since and sender in epoch.names for epoch in epochs):
            raise ProtocolError("bad-message", f"{sender} had no part in epoch {since} of run {self._key.run}")
        self.told[sender, since] = times
        self.forget(sender)

    def forget(self, worker: PeerId) -> None:
        """It has answered, or will not."""
        self._asked.discard(worker)
        self._answered.set()

    async def wait(self) -> bool:
        """For all answers, STATS_TIMEOUT_S at most; whether they came."""
        try:
            async with asyncio.timeout(STATS_TIMEOUT_S):
                while self._asked:
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            return False
        return True
