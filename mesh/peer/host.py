"""The nodes of a run that live on this peer: the fragment engine's instructions, carried out by the runtimes."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Final

from mesh.errors import NodeError
from mesh.ids import NodeId
from mesh.manifest.graph import Graph, GraphNode
from mesh.nodes.spec import RuntimeName
from mesh.run.events import Call, FailRun, Frame, Instruction, Recreate
from mesh.run.fragment import Fragment
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
        seats: Mapping[NodeId, RuntimeName],
        runtimes: Runtimes,
        *,
        resumption: Resumption,
        execute: Callable[[Sequence[Instruction]], None],
        times: dict[NodeId, Times],
    ) -> None:
        """``times``: of the run's calls here so far, by node; they are added to."""
        self._nodes: dict[NodeId, GraphNode] = {node.id: node for node in graph.nodes if node.id in seats}
        self._seats = seats
        self._runtimes = runtimes
        self._execute = execute
        self._instances: dict[NodeId, Instance] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._states = resumption.states
        self.fragment = Fragment(graph, tuple(self._nodes), first_seq=resumption.first_seq, states=resumption.states)
        self.times = times
        for node in self._nodes:
            times.setdefault(node, Times())

    async def setup(self) -> None:
        """Makes every node, in its state; raises NodeError, naming the node, where one cannot be made."""
        await asyncio.gather(*(self._create(node) for node in self._nodes))
        await asyncio.gather(
            *(self._restore(node, state) for node, state in self._states.items() if node in self._nodes)
        )

    async def _restore(self, node: NodeId, state: bytes) -> None:
        try:
            await self._instances[node].restore(state)
        except NodeError as error:
            raise NodeError(f"node {node!r} could not be restored: {error}", kind=error.kind) from error

    async def _create(self, node: NodeId) -> None:
        try:
            instance = await self._runtimes[self._seats[node]].create(self._nodes[node])
        except NodeError as error:
            raise NodeError(f"node {node!r} could not be set up: {error}", kind=error.kind) from error
        if self._closed:
            await instance.close()
        self._instances[node] = instance

    def frame(self, frame: Frame) -> None:
        self.carry_out(self.fragment.frame(frame))

    def credit(self, edge: int, amount: int) -> None:
        self.carry_out(self.fragment.credit(edge, amount))

    def carry_out(self, instructions: Sequence[Instruction]) -> None:
        """Starts calls, after everything else was passed on, in order."""
        if self._closed:
            return
        calls: list[Coroutine[None, None, None]] = []
        others: list[Instruction] = []
        for instruction in instructions:
            match instruction:
                case Call():
                    calls.append(self._call(instruction))
                case Recreate(node):
                    calls.append(self._recreate(node))
                case _:
                    others.append(instruction)
        if others:
            self._execute(others)
        for work in calls:
            self._start(work)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        # eager: the runtime should have the call before this turn of the loop ends
        task = asyncio.Task(work, loop=asyncio.get_running_loop(), eager_start=True)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if (
            not task.cancelled() and (error := task.exception()) is not None
        ):  # a bug of ours must end the run, not hang it
            self._execute([FailRun(f"internal error: {error!r}")])

    async def _call(self, call: Call) -> None:
        started = time.perf_counter()
        try:
            instructions = await self._perform(call)
        except NodeError as error:
            instructions = self.fragment.failed(call.node, error.kind, str(error))
        if call.op in ("process", "next", "finish"):
            self.times[call.node].add((time.perf_counter() - started) * 1e3)
        self.carry_out(instructions)

    async def _perform(self, call: Call) -> Sequence[Instruction]:
        instance = self._instances[call.node]
        answer: Answer
        match call.op:
            case "snapshot":
                return self.fragment.snapshotted(call.node, await instance.snapshot())
            case "restore":
                await instance.restore(call.payload or b"")
                return self.fragment.restored(call.node)
            case "process":
                answer = await instance.process(call.payload or b"")
            case "next":
                answer = await instance.next()
            case "finish":
                answer = await instance.finish()
        return self.fragment.answered(call.node, answer.parts, answer.more)

    async def _recreate(self, node: NodeId) -> None:
        await self._instances.pop(node).close()
        try:
            await self._create(node)
        except NodeError as error:
            self.carry_out(self.fragment.failed(node, "crashed", str(error)))
            return
        self.carry_out(self.fragment.recreated(node))

    def costs(self) -> dict[str, dict[str, float]]:
        """What one call took here: node type → runtime → median ms."""
        costs: dict[str, dict[str, float]] = {}
        for node, runtime in self._seats.items():
            if self.times[node].count:
                costs.setdefault(self._nodes[node].node_type, {})[runtime] = self.times[node].summary()["p50"]
        return costs

    async def close(self) -> None:
        """Ends every call and every instance; safe to call twice."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(instance.close() for instance in self._instances.values()))
        self._instances.clear()
