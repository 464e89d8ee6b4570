"""A fragment carried out: calls on instances, failures, instances made anew."""

import asyncio
from collections.abc import Sequence

from mesh.errors import NodeCrashed, NodeError
from mesh.ids import NodeId, PeerId
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.nodes.spec import NodeSpec
from mesh.peer.host import Host, Times, summaries
from mesh.run.events import Emit, FailRun, Flag, Frame, GiveCredit, Instruction, ReportError
from mesh.run.placement import Placement
from mesh.run.retention import Resumption
from mesh.runtimes.base import Answer, Instance, Runtime
from mesh.values import decode, encode

N, ME = NodeId("n"), PeerId("me")
GRAPH = Graph((GraphNode(N, "Double", encode({})),), (Edge(None, N, ""), Edge(N, None, "n")), (N,))


class Doubling(Instance):
    """Doubles; raises at "raise", is lost at "crash", breaks in a way that nobody foresaw at "bug"."""

    def __init__(self) -> None:
        self.closed = False

    async def process(self, payload: bytes) -> Answer:
        value = decode(payload)
        match value:
            case "raise":
                raise NodeError("no")
            case "crash":
                self.closed = True
                raise NodeCrashed("gone")
            case "bug":
                raise ZeroDivisionError
        return Answer((encode(2 * value),))

    async def next(self) -> Answer:
        raise AssertionError

    async def finish(self) -> Answer:
        raise AssertionError

    async def snapshot(self) -> bytes:
        raise AssertionError

    async def restore(self, state: bytes) -> None:
        raise AssertionError

    async def close(self) -> None:
        self.closed = True


class DoublingRuntime(Runtime):
    name = "python"

    def __init__(self) -> None:
        self.made: list[Doubling] = []

    def types(self) -> Sequence[NodeSpec]:
        return []

    def warm(self) -> None:
        pass

    async def create(self, node: GraphNode) -> Instance:
        self.made.append(Doubling())
        return self.made[-1]

    async def close(self) -> None:
        pass


async def outcome(*items: object) -> tuple[list[Instruction], DoublingRuntime]:
    """What a host wants done after these items, one seq each."""
    runtime = DoublingRuntime()
    done: list[Instruction] = []
    step = {"from_seq": 0, "nodes": {N: {"on": [{"peer": ME, "runtime": "python"}]}}}
    placement = Placement.from_plan(GRAPH, ME, {"steps": [step]})
    runtimes = {"python": runtime}
    host = Host(GRAPH, placement, ME, runtimes, resumption=Resumption(0, {}), execute=done.extend, times={})
    await host.setup()
    for seq, item in enumerate(items):
        host.frame(Frame(0, seq, 0, Flag.END, encode(item)))
    await asyncio.sleep(0.05)
    await host.close()
    return done, runtime


async def test_an_item_goes_through_and_its_credit_comes_back() -> None:
    done, _ = await outcome(4)
    assert [each.frame.payload for each in done if isinstance(each, Emit)] == [encode(8)]
    assert any(isinstance(each, GiveCredit) for each in done)


async def test_an_exception_is_reported_and_the_next_item_is_taken_by_the_same_instance() -> None:
    done, runtime = await outcome("raise", 1)
    assert [(each.seq, each.cause) for each in done if isinstance(each, ReportError)] == [(0, "no")]
    assert [each.frame.flags for each in done if isinstance(each, Emit)] == [Flag.END | Flag.FAILED, Flag.END]
    assert len(runtime.made) == 1


async def test_a_lost_instance_is_made_anew() -> None:
    done, runtime = await outcome("crash", 3)
    assert [each.kind for each in done if isinstance(each, ReportError)] == ["crashed"]
    assert [each.frame.payload for each in done if isinstance(each, Emit)][-1] == encode(6)
    assert len(runtime.made) == 2


async def test_a_bug_of_ours_ends_the_run_and_does_not_hang_it() -> None:
    done, _ = await outcome("bug")
    assert any(isinstance(each, FailRun) and "ZeroDivisionError" in each.reason for each in done)


async def test_closing_closes_every_instance() -> None:
    _, runtime = await outcome(1)
    assert all(instance.closed for instance in runtime.made)


def test_times_are_summed_up_by_nearest_rank() -> None:
    times = Times()
    for ms in range(1, 101):
        times.add(float(ms))
    assert summaries({N: times, NodeId("idle"): Times()}) == {"n": {"count": 100, "p50": 51.0, "p95": 96.0}}
