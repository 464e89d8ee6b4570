"""The planned moves of a run: what they are made for, and which nodes go where.

A worker that leaves has its nodes moved away; where the room has changed so that items would take less time, by more
than MOVE_GAIN, nodes are moved for that. A node that keeps state and makes no snapshots stays where it is, one with
several places too (unless a worker of it leaves), and so do all where no other plan is to be had.
"""

import asyncio
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mesh.errors import MeshError
from mesh.ids import DRIVER, NodeId, PeerId
from mesh.limits import MOVE_GAIN, MOVE_INTERVAL_S
from mesh.peer.driving.epoch import Epoch
from mesh.peer.driving.move import Move, Nodes
from mesh.protocol import messages
from mesh.run.driver import Driver
from mesh.run.outcome import DriverInstruction

if TYPE_CHECKING:
    from mesh.peer.peer import Peer, Planned


class Movable(Protocol):
    """A run, as far as its moves need it."""

    @property
    def driver(self) -> Driver: ...

    @property
    def epoch(self) -> Epoch | None:
        """The present one, where it stands."""

    def carry_out(self, instructions: Sequence[DriverInstruction]) -> None: ...

    async def planned(self, pins: Mapping[str, str], without: Collection[PeerId]) -> "Planned":
        """Raises MeshError where there is no such plan."""

    def leave(self, workers: Collection[PeerId], reason: str) -> None:
        """They have no part in the run any more."""


class Moves:
    """``watch`` makes one after the other; ``made`` is for the receipt."""

    def __init__(self, peer: "Peer", run: Movable) -> None:
        self.made: list[dict[str, Any]] = []
        self._peer, self._run = peer, run
        self._leaving: dict[PeerId, str] = {}  # who wants to go, and why
        self._room: Mapping[PeerId, Hashable] = {}  # what everybody offered at the last look
        self._move: Move | None = None
        self._moving: asyncio.Task[None] | None = None
        self._count = 0
        self._changed = asyncio.Event()

    @property
    def leaving(self) -> Collection[PeerId]:
        """Who takes no nodes any more."""
        return self._leaving.keys()

    # What happens

    def began(self) -> None:
        """An epoch stands; it was planned for the room as it is."""
        self._room = self._peer.offers()
        self._changed.set()

    def interrupted(self) -> None:
        """An epoch is over, and with it the move that is under way."""
        if self._moving is not None:
            self._moving.cancel()

    def room_changed(self) -> None:
        self._changed.set()

    def results_came(self) -> None:
        if self._move is not None:
            self._move.changed()

    def receive(self, sender: PeerId, message: messages.Step | messages.State | messages.Leaving) -> None:
        """What a worker says of a move."""
        match message:
            case messages.Leaving(text=text):
                self._leaving[sender] = text
                self._changed.set()
            case messages.Step(body=body):
                self.said(sender, *messages.read_step(body))
            case messages.State(body=body):
                self.handed_over(*messages.read_state(body))

    def said(self, peer: PeerId, number: int, stage: str, fault: str) -> None:
        """How far a peer is."""
        if self._move is not None:
            self._move.said(peer, number, stage, fault)

    def through(self) -> None:
        """All below the cut is consumed on this peer."""
        self.said(self._peer.id, self._count, "through", "")

    def handed_over(self, node: NodeId, state: bytes | None, fault: str) -> None:
        """The state of a node that moves."""
        if self._move is not None:
            self._move.handed_over(node, state, fault)

    # What is done about it

    async def watch(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                if self._run.epoch is not None:
                    self._moving = asyncio.create_task(self._reconsider(self._run.epoch))
                    await asyncio.wait([self._moving])
                    self._move = None
                    if not self._moving.cancelled() and (error := self._moving.exception()) is not None:
                        self._run.carry_out(self._run.driver.fail(f"internal error: {error!r}"))
                await asyncio.sleep(MOVE_INTERVAL_S)
        finally:
            self.interrupted()

    async def _reconsider(self, epoch: Epoch) -> None:
        try:
            if leaving := self._leaving.keys() & epoch.workers:
                moved, reason = await self._away_from(epoch, leaving)
            else:
                moved, reason = await self._better(epoch)
            if moved and epoch is self._run.epoch:
                await self._make(epoch, {**epoch.nodes, **moved}, reason)
        except MeshError as error:
            self._peer.log(f"nothing was moved: {error}")

    async def _away_from(self, epoch: Epoch, leaving: Collection[PeerId]) -> tuple[Nodes, str]:
        """New places for what the leaving workers run; everything else stays."""
        there = {node for node, place in epoch.nodes.items() if set(leaving) & _peers(place)}
        moving = there - self._fixed(epoch)
        if not moving:
            return {}, ""
        planned = await self._run.planned(self._pins(epoch, epoch.nodes.keys() - there), leaving)
        return _moved(epoch, planned, moving), "; ".join(self._leaving[each] for each in sorted(leaving))

    async def _better(self, epoch: Epoch) -> tuple[Nodes, str]:
        """Places with which an item takes less time, by more than MOVE_GAIN."""
        room, self._room = self._room, self._peer.offers()
        if not self._room.items() - room.items():  # nobody offers what they did not offer before
            return {}, ""
        several = {node for node, place in epoch.nodes.items() if len(place["on"]) > 1}
        moving = epoch.nodes.keys() - self._fixed(epoch) - several
        best = await self._run.planned(self._pins(epoch, epoch.nodes.keys() - moving), ())
        moved = _moved(epoch, best, moving)
        if not moved:
            return {}, ""
        present = await self._run.planned(self._pins(epoch, epoch.nodes), ())
        before, after = present.plan["latency_ms"], best.plan["latency_ms"]
        gained = after < before * (1 - MOVE_GAIN)
        return (moved, f"an item takes {after:.1f} ms instead of {before:.1f} ms") if gained else ({}, "")

    def _fixed(self, epoch: Epoch) -> set[NodeId]:
        """What keeps state that could not be handed over."""
        stateful = [node for node in epoch.site.graph.nodes if node.stateful]
        return {node.id for node in stateful if self._run.driver.fault or not node.snapshots}

    def _pins(self, epoch: Epoch, nodes: Collection[NodeId]) -> dict[str, str]:
        """Nodes of one place as they are."""
        single: dict[str, PeerId] = {
            node: epoch.nodes[node]["on"][0]["peer"] for node in nodes if len(epoch.nodes[node]["on"]) == 1
        }
        return {node: DRIVER if peer == self._peer.id else epoch.names[peer] for node, peer in single.items()}

    async def _make(self, epoch: Epoch, nodes: Nodes, reason: str) -> None:
        self._count += 1
        driver, carry_out = self._run.driver, self._run.carry_out
        move = self._move = Move(self._peer, epoch, self._count, nodes, driver=driver, carry_out=carry_out)
        since = await move.begin()
        epoch.stepped(nodes)
        self.made.append({"epoch": epoch.number, "from_seq": since, "reason": reason, "placement": epoch.seats()})
        self._peer.log(f"moved from seq {since} on: {reason}")
        await move.end()
        self._run.leave(epoch.workers - {peer for place in nodes.values() for peer in _peers(place)}, reason)


def _peers(place: Mapping[str, Any]) -> set[PeerId]:
    return {PeerId(seat["peer"]) for seat in place["on"]}


def _moved(epoch: Epoch, planned: "Planned", nodes: Collection[NodeId]) -> Nodes:
    """The new places of those of ``nodes`` that have another one in a plan."""
    step = planned.plan["steps"][-1]["nodes"]
    return {node: step[node] for node in sorted(nodes) if step[node]["on"] != epoch.nodes[node]["on"]}
