"""The nodes of a run that live on this peer: the fragment engine's instructions, carried out by the runtimes."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Final

from mesh.errors import NodeError
from mesh.ids import NodeId, PeerId
from mesh.manifest.graph import Graph, GraphNode
from mesh.nodes.spec import RuntimeName
from mesh.run.events import Call, FailRun, Frame, Instruction, Interrupt, Recreate, Retire
from mesh.run.fragment import Fragment
from mesh.run.placement import Placement, Seat
from mesh.run.retention import Resumption
from mesh.runtimes.base import Answer, Instance, Runtime

type Runtimes = Mapping[RuntimeName, Runtime]

RECENT: Final = 2048  # calls that the percentiles look back on


class Times:
    """Durations of one node's calls, in milliseconds."""

    def __init__(self) -> None:
        self.count = 0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, ms: float) -> None:
        self.count += 1
        self._recent.append(ms)

    def summary(self) -> dict[str, float]:
        """``{count, p50, p95}`` (nearest rank, over the last RECENT calls)."""
        ranked = sorted(self._recent)
        if not ranked:
            return {"count": 0, "p50": 0.0, "p95": 0.0}
        return {"count": self.count, "p50": _rank(ranked, 0.50), "p95": _rank(ranked, 0.95)}


def _rank(ranked: list[float], share: float) -> float:
    return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 4)


def summaries(times: Mapping[NodeId, Times]) -> dict[NodeId, dict[str, float]]:
    """The summary of every node that was called at all."""
    return {node: each.summary() for node, each in times.items() if each.count}


class Host:
    """Runs a fragment. What it cannot do itself (frames, credit, errors) goes to ``execute``."""

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        me: PeerId,
        runtimes: Runtimes,
        *,
        resumption: Resumption,
        execute: Callable[[Sequence[Instruction]], None],
        times: dict[NodeId, Times],
    ) -> None:
        """``times``: of the run's calls here so far, by node; they are added to."""
        self._nodes: dict[NodeId, GraphNode] = {node.id: node for node in graph.nodes}
        self._placement, self._me = placement, me
        self._seats = placement.seats(me)
        self._prepared: list[Seat] = []  # of a step that has not begun
        self._runtimes = runtimes
        self._execute = execute
        self._instances: dict[Seat, Instance] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: deque[Call | Recreate | Interrupt] = deque()
        self._under_way: dict[Seat, asyncio.Task[None]] = {}  # the last of each instance
        self._starting = False
        self._closing: set[asyncio.Task[None]] = set()  # instances that are not needed any more
        self._closed = False
        self._states = resumption.states
        first, states = resumption.first_seq, resumption.states
        self.fragment = Fragment(graph, placement, me, first_seq=first, states=states)
        self._calls: Counter[NodeId] = Counter()  # calls, of each node
        self.times = times
        for seat in self._seats:
            times.setdefault(seat.node, Times())

    async def setup(self) -> None:
        """Makes every instance, in its state; raises NodeError, naming the node, where one cannot be made."""
        await asyncio.gather(*(self._create(seat) for seat in self._seats))
        states = {seat: self._states[seat.node] for seat in self._seats if seat.node in self._states}
        await asyncio.gather(*(self._restore(seat, state) for seat, state in states.items()))

    async def _restore(self, seat: Seat, state: bytes) -> None:
        try:
            await self._instances[seat].restore(state)
        except NodeError as error:
            raise NodeError(f"node {seat.node!r} could not be restored: {error}", kind=error.kind) from error

    async def _create(self, seat: Seat) -> None:
        try:
            instance = await self._runtimes[seat.runtime].create(self._nodes[seat.node])
        except NodeError as error:
            raise NodeError(f"node {seat.node!r} could not be set up: {error}", kind=error.kind) from error
        if self._closed:
            await instance.close()
        self._instances[seat] = instance

    # A planned move

    async def prepare(self, seats: list[Seat]) -> None:
        """Makes the instances of a step to come; raises NodeError, naming the node, where one cannot be made."""
        self._prepared = seats
        await asyncio.gather(*(self._create(seat) for seat in seats))

    def call_off(self) -> None:
        """The step that was prepared does not begin."""
        for seat in self._prepared:
            self._discard(seat)
        self._prepared = []

    def cut(self, since: int) -> None:
        """The placement has the step that was prepared, from ``since`` on."""
        self._prepared = []
        self._seats = self._placement.seats(self._me)
        for seat in self._seats:
            self.times.setdefault(seat.node, Times())
        self.carry_out(self.fragment.cut(since))

    def arrived(self, seat: Seat, state: bytes) -> None:
        self.carry_out(self.fragment.arrived(seat, state))

    def _discard(self, seat: Seat) -> None:
        instance = self._instances.pop(seat, None)
        if instance is not None:
            closing = asyncio.create_task(instance.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    # Events

    def frame(self, frame: Frame) -> None:
        self.carry_out(self.fragment.frame(frame))

    def credit(self, edge: int, seq: int, amount: int) -> None:
        self.carry_out(self.fragment.credit(edge, seq, amount))

    def cancel(self, seq: int) -> None:
        self.carry_out(self.fragment.cancel(seq))

    def carry_out(self, instructions: Sequence[Instruction]) -> None:
        """Starts calls, after everything else was passed on, in order."""
        if self._closed:
            return
        others: list[Instruction] = []
        for instruction in instructions:
            if isinstance(instruction, Call | Recreate | Interrupt):
                self._due.append(instruction)
            elif isinstance(instruction, Retire):
                self._discard(instruction.seat)
            else:
                others.append(instruction)
        if others:
            self._execute(others)
        self._start_due()

    def _start_due(self) -> None:
        """In a loop rather than by recursion: a call may be answered at once, and bring the next."""
        if self._starting:
            return
        self._starting = True
        try:
            while self._due and not self._closed:
                match self._due.popleft():
                    case Call() as call:
                        self._under_way[call.seat] = self._start(self._call(call))
                    case Recreate(seat):
                        self._start(self._recreate(seat))
                    case Interrupt(seat):
                        self._start(self._interrupt(seat, self._under_way[seat]))
        finally:
            self._starting = False

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        # eager: the runtime should have the call before this turn of the loop ends
        task = asyncio.Task(self._watch(work), loop=asyncio.get_running_loop(), eager_start=True)
        if not task.done():
            self._tasks.add(task)
        return task

    async def _watch(self, work: Coroutine[None, None, None]) -> None:
        """Without a callback of the task, which would cost a turn of the loop."""
        try:
            await work
        except Exception as error:  # a bug of ours must end the run, not hang it
            self._execute([FailRun(f"internal error: {error!r}")])
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)

    async def _call(self, call: Call) -> None:
        started = time.perf_counter()
        try:
            instructions = await self._perform(call)
        except NodeError as error:
            instructions = self.fragment.failed(call.seat, error.kind, str(error))
        if call.op in ("process", "next", "finish"):
            self.times[call.seat.node].add((time.perf_counter() - started) * 1e3)
        self._calls[call.seat.node] += 1
        self.carry_out(instructions)

    async def _perform(self, call: Call) -> Sequence[Instruction]:
        instance = self._instances[call.seat]
        answer: Answer
        match call.op:
            case "snapshot":
                return self.fragment.snapshotted(call.seat, await instance.snapshot())
            case "restore":
                await instance.restore(call.payload or b"")
                return self.fragment.restored(call.seat)
            case "process":
                answer = await instance.process(call.payload or b"")
            case "next":
                answer = await instance.next()
            case "finish":
                answer = await instance.finish()
        return self.fragment.answered(call.seat, answer.parts, answer.more)

    async def _interrupt(self, seat: Seat, call: asyncio.Task[None]) -> None:
        """Unless it is answered first."""
        call.cancel()
        await asyncio.wait((call,))
        if call.cancelled():
            self.carry_out(self.fragment.failed(seat, "cancelled", ""))

    async def _recreate(self, seat: Seat) -> None:
        await self._instances.pop(seat).close()
        try:
            await self._create(seat)
        except NodeError as error:
            self.carry_out(self.fragment.failed(seat, "crashed", str(error)))
            return
        self.carry_out(self.fragment.recreated(seat))

    def progress(self) -> dict[NodeId, tuple[int, int, bool]]:
        """Of each node the calls that ended, the lowest seq that did not, and whether a call is under way."""
        nodes: dict[NodeId, tuple[int, int, bool]] = {}
        for seat, (seq, busy) in self.fragment.progress().items():
            _, lowest, any_busy = nodes.get(seat.node, (0, seq, False))
            nodes[seat.node] = self._calls[seat.node], min(seq, lowest), busy or any_busy
        return nodes

    def costs(self) -> dict[str, dict[str, float]]:
        """What one call took here: node type → runtime → median ms."""
        costs: dict[str, dict[str, float]] = {}
        for seat in self._seats:
            times = self.times[seat.node]
            if times.count:
                costs.setdefault(self._nodes[seat.node].node_type, {})[seat.runtime] = times.summary()["p50"]
        return costs

    async def close(self) -> None:
        """Ends every call and every instance; safe to call twice."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._closing, *(instance.close() for instance in self._instances.values()))
        self._instances.clear()
