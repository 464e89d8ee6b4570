"""``mesh run --chaos SEED``: a run over a private mesh that is disturbed, held against one that nobody disturbs."""

import asyncio
import itertools
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mesh.cli.private_mesh import PrivateMesh, Worker, private_mesh
from mesh.cli.shell import FAILED, USAGE, say, stop
from mesh.errors import ItemError, MeshError
from mesh.ids import DRIVER, NodeId
from mesh.manifest import Graph, compile_graph, parse
from mesh.manifest.parse import read_tree
from mesh.peer import Peer, Run, RunResult
from mesh.peer.driving.items import Items, each
from mesh.run.driver import OnError
from mesh.values import to_json

FAULTS: Final = 8  # of one run, as far as it has results enough
LASTS_S: Final = {  # until what was broken is mended
    "kill": (0.5, 2.0),  # then another worker starts, in the place of the killed one
    "cut": (0.5, 2.0),  # the peers make their connections anew by themselves, within it or later
    "pause": (0.5, 8.0),
    "restart": (0.5, 4.0),  # of the signaling server, which is killed
}
SIDES: Final = ("a", "b")  # neighbouring nodes are on workers of different sides, so that workers exchange items
TRICKLE_S: Final = 0.05  # between two items while a fault lasts
SHOWN_CHARS: Final = 200  # of a result in which the runs differ


async def run_under_chaos(
    manifest: str,
    items: Items,
    *,
    seed: int,
    nodes: Sequence[str],
    on_error: OnError,
    on_failure: Callable[[ItemError], None] | None,
    engine: str,
) -> tuple[int, dict[str, Any] | None]:
    """Both runs, and the results of the disturbed one on stdout; answers the exit code and the receipt.

    ``on_failure`` is told the item errors of the disturbed run.
    Ends the command where the output is not promised to stay the same; raises what a Run raises where the undisturbed
    one fails.
    """
    graph = compile_graph(parse(manifest, name="manifest"), Peer.alone(nodes=nodes).types)
    if reasons := unpromised(graph):
        stop(USAGE, f"--chaos: the same output under faults cannot be promised: {'; '.join(reasons)}")
    sides = sides_of(manifest, graph)
    if not sides:
        stop(USAGE, "--chaos: every node is placed on the driver, so there is nobody to disturb")
    undisturbed = await run_undisturbed(placed(manifest, {}), items, nodes=nodes, on_error=on_error)
    folder, difference = Path(tempfile.mkdtemp(prefix="mesh-chaos-")), ""
    try:
        async with private_mesh(folder, set(sides.values()), nodes=nodes, engine=engine) as mesh:
            log = stopwatch()
            async with Peer.join(mesh.invites["submit"], nodes=nodes, engine=engine, log=log) as driver:
                chaos = Chaos(mesh, driver, undisturbed, schedule(seed, len(undisturbed.results)), log=log)
                run = driver.run(placed(manifest, sides), chaos.items(), on_error=on_error, on_failure=on_failure)
                difference = await chaos.watch(run)
    finally:
        if not difference:
            shutil.rmtree(folder)
    say(f"{chaos.summary()}\n{short(run.receipt)}")
    if difference:
        say(f"NOT identical to the undisturbed run: {difference}\nThe logs of its peers are in {folder}")
    else:
        came, failed = len(undisturbed.results), len(undisturbed.failures)
        say(f"identical to the undisturbed run: {came} results, {failed} item errors")
    return FAILED if difference or run.failures else 0, run.receipt


def short(receipt: Mapping[str, Any] | None) -> str:
    """A receipt in a line."""
    if receipt is None:
        return "the run left no receipt"
    ends = f"{receipt['items_in']} items in, {receipt['results_out']} results out"
    again = f"{receipt['replayed']} seqs replayed, {receipt['duplicates_dropped']} duplicates dropped"
    return f"{ends}; {len(receipt['epochs'])} epochs, {again}"


def stopwatch() -> Callable[[str], None]:
    """Says a line with the time since this was called."""
    began = time.monotonic()
    return lambda text: say(f"{time.monotonic() - began:6.1f} s: {text}")


# The pipeline


def unpromised(graph: Graph) -> list[str]:
    """Why two runs over the same items may differ: every such edge and node."""
    reasons = [
        f"the edge {edge.source} -> {edge.target} may drop items (overflow: drop_oldest)"
        for edge in graph.edges
        if edge.overflow == "drop_oldest"
    ]
    for node in graph.nodes:
        if not node.deterministic:
            reasons.append(f"node {node.id!r} ({node.node_type}) is not deterministic")
        if node.stateful and not node.snapshots:
            reasons.append(f"node {node.id!r} ({node.node_type}) keeps state and makes no snapshots")
    return reasons


def sides_of(manifest: str, graph: Graph) -> dict[NodeId, str]:
    """The side of each node that is not bound to the driver."""
    nodes = read_tree(manifest)["nodes"]
    bound = {node["id"] for node in nodes if node.get("placement", {}).get("peer") == DRIVER}
    free = (node for node in graph.order if node not in bound)
    return dict(zip(free, itertools.cycle(SIDES), strict=False))


def placed(manifest: str, sides: Mapping[NodeId, str]) -> str:
    """The manifest with nodes on the workers of their sides, and without the peers, kinds and labels that it asks for:
    the private mesh has others. What is bound to the driver or to a runtime stays so.
    """
    tree = read_tree(manifest)
    for node in tree["nodes"]:
        asked = node.get("placement", {})
        node["placement"] = {key: asked[key] for key in ("runtime",) if key in asked}
        if asked.get("peer") == DRIVER:
            node["placement"]["peer"] = DRIVER
        elif node["id"] in sides:
            node["placement"]["labels"] = {"chaos": sides[node["id"]]}
    return to_json(tree)


# The undisturbed run


@dataclass(slots=True)
class Undisturbed:
    """What went in, what came out as (seq, part, JSON), and which items failed."""

    items: list[Any] = field(default_factory=list)
    results: list[tuple[int, int, str]] = field(default_factory=list)
    failures: set[tuple[int, NodeId, str]] = field(default_factory=set)

    def difference(self, number: int, result: RunResult, text: str) -> str:
        """How result ``number`` of another run differs from the one here; empty where it does not."""
        came = f"seq {result.seq}, part {result.part}"
        if number == len(self.results):
            return f"{came} came after the last result: {text[:SHOWN_CHARS]}"
        seq, part, expected = self.results[number]
        if (result.seq, result.part) != (seq, part):
            return f"{came} came where seq {seq}, part {part} is due"
        if text != expected:
            return f"{came} is {text[:SHOWN_CHARS]} instead of {expected[:SHOWN_CHARS]}"
        return ""

    def rest(self, number: int, run: Run) -> str:
        """Likewise, where another run ended after ``number`` results."""
        if number < len(self.results):
            seq, part, _ = self.results[number]
            return f"seq {seq}, part {part} did not come, nor what follows it"
        changed = failures_of(run) ^ self.failures
        return "; ".join(f"seq {seq} failed in one of the runs, at node {node!r}: {why}" for seq, node, why in changed)


def failures_of(run: Run) -> set[tuple[int, NodeId, str]]:
    return {(error.seq, NodeId(error.node), error.cause) for error in run.failures}


async def run_undisturbed(manifest: str, items: Items, *, nodes: Sequence[str], on_error: OnError) -> Undisturbed:
    """The run in this process; it keeps the items for the other one."""
    made = Undisturbed()

    async def kept() -> AsyncIterator[Any]:
        async for item in each(items):
            made.items.append(item)
            yield item

    began = time.monotonic()
    async with Peer.alone(nodes=nodes) as alone:
        run = alone.run(manifest, kept(), on_error=on_error)
        try:
            async for result in run:
                made.results.append((result.seq, result.part, to_json(result.value)))
        except MeshError:
            say("the undisturbed run fails already:")
            raise
        made.failures = failures_of(run)
    say(f"undisturbed, in this process: {len(made.results)} results in {time.monotonic() - began:.1f} s")
    return made


# The faults


@dataclass(frozen=True, slots=True)
class Fault:
    """``after`` so many results; it lasts so long; ``aim`` (0 … 1) chooses whom it strikes."""

    kind: str
    after: int
    lasts_s: float
    aim: float


def schedule(seed: int, results: int) -> list[Fault]:
    """Faults spread over a run with so many results: one of each kind, then any."""
    rnd = random.Random(seed)
    number = max(0, min(FAULTS, results - 1))
    kinds = [*rnd.sample(sorted(LASTS_S), len(LASTS_S)), *rnd.choices(sorted(LASTS_S), k=FAULTS - len(LASTS_S))]
    return [
        Fault(
            kind=kinds[index],
            after=1 + int((results - 1) * (index + rnd.random()) / number),
            lasts_s=rnd.uniform(*LASTS_S[kinds[index]]),
            aim=rnd.random(),
        )
        for index in range(number)
    ]


class Chaos:
    """Disturbs a run: one fault after another, each with items under way before it and while it lasts. For that, items
    are let in, and results are taken, no further than the faults have come.
    """

    def __init__(
        self,
        mesh: PrivateMesh,
        driver: Peer,
        undisturbed: Undisturbed,
        faults: Sequence[Fault],
        *,
        log: Callable[[str], None],
    ) -> None:
        self._log = log
        self._mesh, self._driver, self._undisturbed = mesh, driver, undisturbed
        self._due = deque(faults)
        self._struck: Counter[str] = Counter()
        self._striking: asyncio.Task[None] | None = None
        self._open()

    def _open(self) -> None:
        """Lets items in until the next fault and half the way to the one after it; while it lasts, more trickle in."""
        strikes = [self._undisturbed.results[fault.after - 1][0] for fault in itertools.islice(self._due, 2)]
        here, beyond, *_ = (*strikes, len(self._undisturbed.items), len(self._undisturbed.items))
        self._let_in, self._fence = (here + beyond) // 2, beyond

    async def items(self) -> AsyncIterator[Any]:
        """Those of the undisturbed run."""
        for seq, item in enumerate(self._undisturbed.items):
            while seq > self._let_in:
                await asyncio.sleep(TRICKLE_S)
                if self._striking is not None and self._let_in < self._fence:
                    self._let_in += 1
            yield item

    async def watch(self, run: Run) -> str:
        """Prints the results as they come; answers how they differ from the undisturbed run's, if they do."""
        number = 0
        try:
            async for result in run:
                text = to_json(result.value)
                if difference := self._undisturbed.difference(number, result, text):
                    await run.cancel()
                    return difference
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
                number += 1
                while self._due and number >= self._due[0].after:
                    await self._over()
                    self._striking = asyncio.create_task(self._strike(self._due.popleft(), run))
        except MeshError as error:
            return f"after {number} results: {error}"
        finally:
            if self._striking is not None:
                self._striking.cancel()
                await asyncio.gather(self._striking, return_exceptions=True)
        return self._undisturbed.rest(number, run)

    async def _over(self) -> None:
        """Waits until the present fault is over."""
        if self._striking is not None:
            await self._striking
            self._striking = None
            self._open()

    async def _strike(self, fault: Fault, run: Run) -> None:
        self._struck[fault.kind] += 1
        match fault.kind:
            case "kill":
                await self._kill(self._victim(fault, run), fault.lasts_s)
            case "cut":
                self._cut(self._victim(fault, run))
                await asyncio.sleep(fault.lasts_s)
            case "pause":
                await self._pause(self._victim(fault, run), fault.lasts_s)
            case "restart":
                await self._restart(fault.lasts_s)

    def _victim(self, fault: Fault, run: Run) -> Worker:
        """A worker that takes part in the run; between two epochs, perhaps another one."""
        assert run.plan is not None
        seats = itertools.chain.from_iterable(place["on"] for place in run.plan["steps"][-1]["nodes"].values())
        peers = {seat["peer"] for seat in seats}
        workers = sorted(self._mesh.workers.values(), key=lambda worker: worker.name)
        taking_part = [worker for worker in workers if worker.peer in peers] or workers
        return taking_part[int(fault.aim * len(taking_part))]

    async def _kill(self, worker: Worker, lasts_s: float) -> None:
        self._log(f"killed {worker.name} (-9)")
        del self._mesh.workers[worker.peer]
        worker.process.kill()
        await asyncio.sleep(lasts_s)
        another = await self._mesh.add_worker(worker.side)
        self._log(f"{another.name} joined in its place")

    def _cut(self, worker: Worker) -> None:
        self._log(f"cut the connections of {worker.name}, and those of the driver")
        worker.process.send_signal(signal.SIGUSR1)
        self._driver.cut_links()

    async def _pause(self, worker: Worker, lasts_s: float) -> None:
        self._log(f"paused {worker.name} for {lasts_s:.1f} s (SIGSTOP)")
        worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(lasts_s)
        worker.process.send_signal(signal.SIGCONT)

    async def _restart(self, lasts_s: float) -> None:
        self._log(f"killed the signaling server (-9), for {lasts_s:.1f} s")
        await self._mesh.kill_signaling()
        await asyncio.sleep(lasts_s)
        await self._mesh.start_signaling()
        self._log("the signaling server is back")

    def summary(self) -> str:
        """How many faults struck, and which kinds did not."""
        struck = ", ".join(f"{kind} {number}" for kind, number in sorted(self._struck.items()))
        spared = [kind for kind in LASTS_S if not self._struck[kind]]
        more = f"; give more items for {', '.join(spared)}" if spared else ""
        return f"{self._struck.total()} faults struck ({struck}){more}"
