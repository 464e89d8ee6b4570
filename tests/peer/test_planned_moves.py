"""Which nodes of a run are moved, when, and why; how they are moved is tested with whole meshes (tests/sim)."""

from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from mesh.errors import NoPlanError
from mesh.ids import PeerId
from mesh.manifest.graph import Graph, GraphNode
from mesh.peer.driving.moves import Moves
from mesh.protocol import messages

ME, ADA, BEA, CLEO = (PeerId(each) for each in ("me", "ada", "bea", "cleo"))
FREE = GraphNode("free", "T", b"")
KEPT = GraphNode("kept", "T", b"", stateful=True, snapshots=True)
MUTE = GraphNode("mute", "T", b"", stateful=True)


def place(peer: str) -> dict[str, Any]:
    return {"on": [{"peer": peer, "runtime": "python"}], "share": "modulo"}


class World:
    """A peer and a run whose three nodes are on ada; ``best`` is where the planner would put them."""

    id = ME

    def __init__(self, best: str = CLEO, *, ms: float = 50.0) -> None:
        self.best, self.ms = best, ms
        self.offered: dict[PeerId, str] = {ADA: "python", BEA: "python"}
        self.asked: list[tuple[dict[str, str], set[PeerId]]] = []
        self.logged: list[str] = []
        self.driver = SimpleNamespace(fault="")
        nodes = {node.id: place(ADA) for node in (FREE, KEPT, MUTE)}
        site = SimpleNamespace(graph=Graph((FREE, KEPT, MUTE), (), ()))
        self.epoch = SimpleNamespace(nodes=nodes, workers={ADA, BEA}, names={ADA: "ada", BEA: "bea"}, site=site)
        self.moves = Moves(self, self)
        self.moves.began()
        self.made: list[tuple[list[str], str]] = []
        self.moves._make = self._make

    async def _make(self, epoch: object, nodes: Mapping[str, Any], reason: str) -> None:
        moved = [node for node, where in nodes.items() if where != self.epoch.nodes[node]]
        self.made.append((moved, reason))

    def offers(self) -> dict[PeerId, str]:
        return dict(self.offered)

    def log(self, text: str) -> None:
        self.logged.append(text)

    async def planned(self, pins: Mapping[str, str], without: Collection[PeerId]) -> Any:
        """An item takes 100 ms where all is as it is, and ``ms`` otherwise."""
        self.asked.append((dict(pins), set(without)))
        if not self.best:
            raise NoPlanError("no peer fits", [])
        nodes = {node: place(pins.get(node, self.best)) for node in self.epoch.nodes}
        stays = len(pins) == len(nodes)
        return SimpleNamespace(plan={"steps": [{"nodes": nodes}], "latency_ms": 100.0 if stays else self.ms})

    async def look(self) -> list[tuple[list[str], str]]:
        await self.moves._reconsider(self.epoch)
        return self.made


def leaving(text: str = "ada drains") -> messages.Leaving:
    return messages.Leaving(ME, "run", 1, text)


async def test_from_a_worker_that_leaves_all_goes_but_what_cannot_hand_over_its_state() -> None:
    world = World()
    world.moves.receive(ADA, leaving())
    assert await world.look() == [(["free", "kept"], "ada drains")]
    assert world.asked == [({}, {ADA})]


async def test_what_is_elsewhere_stays_there() -> None:
    world = World()
    world.epoch.nodes["free"] = place(BEA)
    world.moves.receive(ADA, leaving())
    assert await world.look() == [(["kept"], "ada drains")]
    assert world.asked == [({"free": "bea"}, {ADA})]


async def test_states_that_a_checkpoint_could_not_have_are_not_handed_over() -> None:
    world = World()
    world.driver.fault = "the states of its nodes have too many bytes"
    world.moves.receive(ADA, leaving())
    assert await world.look() == [(["free"], "ada drains")]


async def test_where_nobody_else_fits_nothing_is_moved() -> None:
    world = World(best="")
    world.moves.receive(ADA, leaving())
    assert await world.look() == []
    assert world.logged == ["nothing was moved: no peer fits"]


@pytest.mark.parametrize(("ms", "moved"), [(89.0, True), (91.0, False)])
async def test_a_peer_that_comes_gets_nodes_where_an_item_then_takes_a_tenth_less_time(ms: float, moved: bool) -> None:
    world = World(ms=ms)
    world.offered[CLEO] = "python"
    made = await world.look()
    assert made == ([(["free", "kept"], "an item takes 89.0 ms instead of 100.0 ms")] if moved else [])


async def test_a_room_in_which_nobody_offers_more_is_not_planned_for_anew() -> None:
    world = World()
    del world.offered[BEA]
    assert await world.look() == []
    assert world.asked == []
    world.offered[ADA] = "python wasm"
    await world.look()
    assert world.asked
