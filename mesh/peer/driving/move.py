"""One planned move, as the driver makes it: a step of the plan that begins while the run goes on (docs/wire.md, 4)."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mesh.errors import MeshError, RunError
from mesh.ids import NodeId, PeerId
from mesh.limits import SETUP_TIMEOUT_S
from mesh.peer.driving.epoch import Epoch
from mesh.protocol import messages
from mesh.run.driver import Driver
from mesh.run.outcome import DriverInstruction

if TYPE_CHECKING:
    from mesh.peer.peer import Peer

type Nodes = Mapping[NodeId, Mapping[str, Any]]  # as a step of a plan has them


class Move:
    """``begin`` and ``end`` are its two halves; where ``begin`` fails, nothing has happened."""

    def __init__(
        self,
        peer: "Peer",
        epoch: Epoch,
        number: int,
        nodes: Nodes,
        *,
        driver: Driver,
        carry_out: Callable[[Sequence[DriverInstruction]], None],
    ) -> None:
        self._peer, self._epoch, self._number, self._nodes = peer, epoch, number, nodes
        self._driver, self._carry_out = driver, carry_out
        self._done: dict[str, set[PeerId]] = {stage: set() for stage in messages.STAGES}
        self._fault = ""
        self._changed = asyncio.Event()
        places = {PeerId(place["peer"]) for node in nodes.values() for place in node["on"]}
        self._newcomers = places - {peer.id, *epoch.workers}
        self._since = 0

    async def begin(self) -> int:
        """Answers the seq at which it cut. Raises RunError where it was called off."""
        try:
            async with asyncio.timeout(SETUP_TIMEOUT_S):
                await self._prepare()
            since = self._driver.hold()
            if since is None:
                raise RunError("all items are on their way already")
        except (MeshError, TimeoutError) as error:
            self._cut(None)
            self._epoch.dismiss(self._newcomers, "the move was called off")
            raise RunError(str(error) or "a peer did not answer") from error
        self._since = since
        self._cut(since)
        await self._all("cut", self._epoch.workers)
        self._carry_out(self._driver.go_on())
        return since

    async def end(self) -> None:
        """Until nothing of the old step is left anywhere."""
        await self._all("through", {self._peer.id, *self._epoch.workers})
        while self._driver.turn < self._since:
            await self._change()

    def said(self, worker: PeerId, move: int, stage: str, fault: str) -> None:
        """STEP."""
        if move == self._number:
            self._done[stage].add(worker)
            self._fault = self._fault or fault
            self._changed.set()

    def changed(self) -> None:
        """Results came out."""
        self._changed.set()

    def handed_over(self, node: NodeId, state: bytes | None, fault: str) -> None:
        """The state of a node that moves; without it, the run goes back to its last checkpoint."""
        (seat,) = self._epoch.placement.seats_of_last_step()[node]
        if state is None:
            self._epoch.lose(f"node {node!r} could not be moved: {fault}")
        elif seat.peer == self._peer.id:
            self._epoch.site.take_state(node, state)
        else:
            body = {"node": node, "state": state, "fault": ""}
            self._peer.post(seat.peer, messages.State(*self._epoch.address(), body))

    async def _prepare(self) -> None:
        await asyncio.gather(*(self._epoch.admit(worker) for worker in self._newcomers))
        for worker in self._epoch.workers:
            body = {"move": self._number, "nodes": self._nodes, "names": self._epoch.names}
            self._peer.post(worker, messages.Prepare(*self._epoch.address(), body))
        await self._epoch.site.host.prepare(self._epoch.site.propose(self._nodes))
        await self._all("prepared", self._epoch.workers)

    def _cut(self, since: int | None) -> None:
        for worker in self._epoch.workers:
            body = {"move": self._number, "from_seq": since}
            self._peer.post(worker, messages.Cut(*self._epoch.address(), body))
        if since is None:
            self._epoch.site.call_off()
        else:
            self._epoch.site.cut(since)

    async def _all(self, stage: str, who: Collection[PeerId]) -> None:
        """Until all are so far; raises RunError with what a worker has against it, which after the cut is a loss."""
        while not self._fault and set(who) - self._done[stage]:
            await self._change()
        if self._fault:
            if stage != "prepared":
                self._epoch.lose(self._fault)
            raise RunError(self._fault)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
