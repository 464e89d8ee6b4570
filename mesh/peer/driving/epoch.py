"""One epoch of a run, as its driver sees it: who runs what, this peer's own part, and the setting up of all parts."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from mesh.errors import LinkError, RunError
from mesh.ids import DRIVER, NodeId, PeerId, RunId
from mesh.limits import SETUP_TIMEOUT_S
from mesh.manifest.graph import Graph, to_value
from mesh.peer.driving.leases import Leases
from mesh.peer.driving.spares import spares
from mesh.peer.site import Ends, Outside, RunKey, Site
from mesh.protocol import messages
from mesh.run.driver import OnError
from mesh.run.placement import Placement
from mesh.run.retention import Resumption
from mesh.run.suspects import Death

if TYPE_CHECKING:
    from mesh.peer.driving.absence import Absence
    from mesh.peer.peer import Peer


class Owner(Ends, Outside, Protocol):
    """The run."""

    @property
    def absence(self) -> "Absence": ...


class Epoch:
    """``plan`` has the number of the epoch; ``reason`` says why it began."""

    def __init__(
        self,
        peer: "Peer",
        key: RunKey,
        graph: Graph,
        plan: Mapping[str, Any],
        *,
        reason: str,
        resumption: Resumption,
        on_error: OnError,
        owner: Owner,
        before: "Epoch | None",
    ) -> None:
        self.number: int = plan["epoch"]
        self.reason = reason
        self.placement = Placement.from_plan(graph, peer.id, plan)
        self.workers = self.placement.peers() - {peer.id}
        self.names = {worker: peer.name_of(worker) for worker in self.workers} | {peer.id: DRIVER}
        self._peer, self._key, self._owner = peer, key, owner
        self._spares = spares(plan["why"], workers={*self.workers, peer.id})
        self._resumption = resumption
        self._body: dict[str, Any] = {
            "graph": to_value(graph),
            "plan": {"epoch": self.number, "steps": plan["steps"]},
            "names": self.names,
            "on_error": on_error,
            "from_seq": resumption.first_seq,
        }
        self._ready: dict[PeerId, asyncio.Future[None]] = {}
        self._graph = graph
        self.leases = self._begin_leases(())
        self.site: Site = Site(
            key,
            self.number,
            graph,
            self.placement,
            me=peer.id,
            runtimes=peer.runtimes,
            outside=owner,
            ends=owner,
            resumption=resumption,
            before=before.site if before else None,
        )
        self.began = self.seats()  # where each node was at first

    def _begin_leases(self, workers: Iterable[PeerId]) -> Leases:
        nodes = {worker: self.placement.nodes(worker) for worker in workers}
        return Leases(self._graph, nodes, asyncio.get_running_loop().time())

    async def set_up(self) -> None:
        """All parts at once; raises RunError where one of them cannot be set up."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.site.host.setup())
                for worker in self.workers:
                    group.create_task(self._start(worker))
        except ExceptionGroup as errors:
            raise RunError(str(errors.exceptions[0])) from errors.exceptions[0]
        self.leases = self._begin_leases(self.workers)
        self._peer.background(self._link_to_spares())

    async def _link_to_spares(self) -> None:
        """One after the other, not to disturb the run, and whoever cannot be linked to is no spare."""
        for peer in self._spares:
            with suppress(LinkError):
                await self._peer.link_to(peer)

    async def _start(self, worker: PeerId) -> None:
        """START, and the worker's READY. Who cannot be linked to is as good as lost."""
        ready = self._ready[worker] = asyncio.get_running_loop().create_future()
        try:
            await self._peer.link_to(worker)
        except LinkError as error:
            self._owner.absence.lost(worker, str(error))
        states = self._resumption.states
        own = {node: states[node] for node in self.placement.nodes(worker) if node in states}
        self._peer.post(worker, messages.Start(*self.address(), {**self._body, "states": own}))
        try:
            await asyncio.wait_for(ready, SETUP_TIMEOUT_S)
        except TimeoutError:
            name = self.names[worker]
            raise RunError(f"{name} did not set up its nodes within {SETUP_TIMEOUT_S:.0f} s") from None

    def answered(self, worker: PeerId, refusal: str = "") -> None:
        """READY, or REFUSED with its reason."""
        future = self._ready.get(worker)
        if future is None or future.done():
            return
        if refusal:
            future.set_exception(RunError(f"{self.names[worker]} refused: {refusal}"))
        else:
            future.set_result(None)

    # A planned move

    @property
    def nodes(self) -> dict[NodeId, dict[str, Any]]:
        """The places of the nodes now, as a step of a plan has them."""
        nodes: dict[NodeId, dict[str, Any]] = self._body["plan"]["steps"][-1]["nodes"]
        return nodes

    def stepped(self, nodes: Mapping[NodeId, Mapping[str, Any]]) -> None:
        """A new step has begun; for who comes later it is the only one."""
        self._body["plan"] = {"epoch": self.number, "steps": [{"from_seq": 0, "nodes": nodes}]}

    async def admit(self, worker: PeerId) -> None:
        """A worker gets a part, without nodes as yet; raises LinkError or RunError where that fails."""
        await self._peer.link_to(worker)
        self.workers.add(worker)
        self.names[worker] = self._peer.name_of(worker)
        await self._start(worker)

    def dismiss(self, workers: Collection[PeerId], text: str) -> None:
        """They have no part any more."""
        self.stop(workers, text)
        self.workers -= set(workers)

    def lose(self, reason: str) -> None:
        """It cannot go on."""
        self._owner.absence.lose(reason)

    def cancel(self, seq: int) -> None:
        """Nobody wants a seq any more: all parts are told."""
        for worker in self.workers:
            self._peer.post(worker, messages.Cancel(*self.address(), seq))
        self.site.host.cancel(seq)

    # Its end

    def deaths(self, peers: Collection[PeerId]) -> list[Death]:
        """Of those of its workers that are among the dead ``peers``."""
        return [Death(peer, self.names[peer], self.leases.reached(peer)) for peer in self.workers & set(peers)]

    def stop(self, workers: Collection[PeerId], text: str) -> None:
        """Frees what these workers hold of the run."""
        for worker in workers:
            self._peer.post(worker, messages.Stop(*self.address(), text))

    async def close(self) -> None:
        """Ends this peer's own part."""
        await self.site.close()
        self._peer.learn(self.site.host.costs())

    def address(self) -> tuple[PeerId, RunId, int]:
        """How messages of this epoch begin."""
        return self._key.driver, self._key.run, self.number

    def nodes_on(self, peers: Iterable[PeerId]) -> list[NodeId]:
        """What these peers run."""
        return [node for peer in sorted(peers) for node in self.placement.nodes(peer)]

    def seats(self) -> dict[NodeId, list[str]]:
        """The names of the peers that run each node."""
        placed = self.placement.seats_of_last_step()
        return {node: [self.names[seat.peer] for seat in seats] for node, seats in placed.items()}
