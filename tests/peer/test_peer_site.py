"""A site: credit for another peer waits for more, for a moment and up to a quarter of the window."""

import asyncio
from typing import Final

from mesh.ids import NodeId, PeerId, RunId
from mesh.limits import CREDIT_AFTER_S, CREDIT_EVERY_BYTES
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.peer.site import RunKey, Site
from mesh.run.events import Checkpoint, Frame, GiveCredit, ReportError
from mesh.run.placement import Placement
from mesh.run.retention import Resumption
from mesh.values import encode

N: Final = NodeId("n")
ME, DRIVER = PeerId("me"), PeerId("dora")
GRAPH: Final = Graph((GraphNode(N, "PassThrough", encode({})),), (Edge(None, N, ""), Edge(N, None, "n")), (N,))
PLAN: Final = {"steps": [{"from_seq": 0, "nodes": {N: {"on": [{"peer": ME, "runtime": "wasm"}]}}}]}


class Paid:
    """The rest of the mesh, where credit arrives."""

    def __init__(self) -> None:
        self.credit: list[tuple[PeerId, GiveCredit]] = []

    def send_credit(self, site: Site, to: PeerId, credit: GiveCredit) -> None:
        self.credit.append((to, credit))

    def send_frame(self, site: Site, to: PeerId, frame: Frame) -> None:
        raise AssertionError

    def item_failed(self, site: Site, error: ReportError) -> None:
        raise AssertionError

    def state_saved(self, site: Site, saved: Checkpoint) -> None:
        raise AssertionError

    def run_failed(self, site: Site, reason: str) -> None:
        raise AssertionError


def make_site(paid: Paid) -> Site:
    placement = Placement.from_plan(GRAPH, DRIVER, PLAN)
    key = RunKey(DRIVER, RunId("r"))
    return Site(key, 1, GRAPH, placement, me=ME, runtimes={}, outside=paid, resumption=Resumption(0, {}))


async def a_while() -> None:
    await asyncio.sleep(4 * CREDIT_AFTER_S)


async def test_small_amounts_go_together() -> None:
    paid = Paid()
    site = make_site(paid)
    site.execute([GiveCredit(0, 0, 64), GiveCredit(0, 1, 100)])
    assert paid.credit == []
    await a_while()
    assert paid.credit == [(DRIVER, GiveCredit(0, 1, 164))]
    site.execute([GiveCredit(0, 2, 7)])
    await a_while()
    assert paid.credit[1:] == [(DRIVER, GiveCredit(0, 2, 7))]


async def test_a_large_amount_goes_at_once_with_what_waited_and_nothing_twice() -> None:
    paid = Paid()
    site = make_site(paid)
    site.execute([GiveCredit(0, 0, 64), GiveCredit(0, 1, CREDIT_EVERY_BYTES)])
    assert paid.credit == [(DRIVER, GiveCredit(0, 1, CREDIT_EVERY_BYTES + 64))]
    await a_while()
    assert len(paid.credit) == 1


async def test_none_goes_from_a_site_that_is_closed() -> None:
    paid = Paid()
    site = make_site(paid)
    site.execute([GiveCredit(0, 0, 64)])
    await site.close()
    await a_while()
    assert paid.credit == []
