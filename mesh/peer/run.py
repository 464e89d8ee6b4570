"""A run that this peer drives: plan, start everywhere, feed, gather, receipt."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesh.errors import ItemError, ProtocolError, RunError, ValueFault
from mesh.ids import DRIVER, NodeId, PeerId, new_run_id
from mesh.limits import JOIN_LEVELS, RUN_REPORT_INTERVAL_S, SETUP_TIMEOUT_S, STATS_TIMEOUT_S
from mesh.manifest.graph import Graph, to_value
from mesh.peer.host import summaries
from mesh.peer.placement import Placement
from mesh.peer.site import RunKey, Site
from mesh.protocol import messages
from mesh.run.driver import Counts, Driver, DriverInstruction, Failure, Finished, OnError, Result, SeqFailed
from mesh.run.events import Emit, Frame, GiveCredit, ReportError
from mesh.values import decode, encode

if TYPE_CHECKING:
    from mesh.peer.peer import Peer

type Items = Iterable[Any] | AsyncIterable[Any]
type Manifest = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunResult:
    """One part of the single sink's answer to item ``seq``, or the map of several sinks."""

    seq: int
    part: int
    payload: bytes

    @property
    def value(self) -> Any:
        """The payload as a Python value; raises ValueFault where a node answered none."""
        return decode(self.payload, extra_levels=2 * JOIN_LEVELS)


class Run:
    """Iterate it for its results, in (seq, part) order; what ended it badly is raised at the end.

    ``plan`` and ``graph`` are there from the first result on, ``receipt`` (the contract's form) at the end.
    """

    def __init__(
        self,
        peer: "Peer",
        manifest: Manifest,
        items: Items,
        *,
        on_error: OnError = "stop",
        pins: Mapping[str, str] | None = None,
        on_failure: Callable[[ItemError], None] | None = None,
    ) -> None:
        self.key = RunKey(peer.id, new_run_id())
        self.name = ""
        self.plan: dict[str, Any] | None = None
        self.graph: Graph | None = None
        self.receipt: dict[str, Any] | None = None
        self.failures: list[ItemError] = []
        self._peer = peer
        self._manifest, self._items, self._pins = manifest, items, pins
        self._on_error: OnError = on_error
        self._on_failure = on_failure
        self._driver: Driver | None = None
        self._site: Site | None = None
        self._workers: set[PeerId] = set()
        self._names: dict[PeerId, str] = {}  # as they were when the run began: a peer that left has none any more
        self._ready: dict[PeerId, asyncio.Future[None]] = {}
        self._stats: dict[PeerId, messages.Times] = {}
        self._result: Result | None = None
        self._phase = "planning"
        self._status = ""
        self._error: Exception | None = None
        self._arrived = asyncio.Event()  # a result, or the very end: the application waits
        self._room = asyncio.Event()  # for another item: the source waits
        self._over = asyncio.Event()
        self._told = asyncio.Event()  # the times of a worker
        self._task = peer.background(self._main())

    # For the application

    def __aiter__(self) -> AsyncIterator[RunResult]:
        return self

    async def __anext__(self) -> RunResult:
        try:
            while self._result is None:
                if self._task.done():
                    if self._error is not None:
                        raise self._error
                    raise StopAsyncIteration
                self._arrived.clear()
                await self._arrived.wait()
        except asyncio.CancelledError:
            await self.cancel()
            raise
        result, self._result = self._result, None
        assert self._driver is not None
        self._carry_out(self._driver.taken())
        return RunResult(result.seq, result.part, result.payload)

    async def cancel(self) -> None:
        """Ends the run everywhere; what is queued for it is dropped."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # The course of the run

    async def _main(self) -> None:
        tasks = [asyncio.create_task(self._report_regularly())]
        try:
            await self._prepare()
            self._phase = "running"
            tasks.append(asyncio.create_task(self._feed()))
            await self._over.wait()  # which may come while the source of the items is silent
        except asyncio.CancelledError:
            self._end("cancelled", RunError("the run was cancelled"))
        except Exception as error:
            self._end("failed", error)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()

    async def _prepare(self) -> None:
        """Plans, and sets up the fragments of all peers at once."""
        planned = await self._peer.plan(self._manifest, pins=self._pins)
        self.name, self.graph, self.plan = planned.name, planned.graph, planned.plan
        placement = Placement.from_plan(planned.graph, self._peer.id, planned.plan)
        self._workers = placement.peers() - {self._peer.id}
        self._names = {worker: self._peer.name_of(worker) for worker in self._workers}
        self._phase = "connecting"
        self._driver = Driver(planned.graph, on_error=self._on_error)
        self._site = Site(
            self.key,
            planned.plan["epoch"],
            planned.graph,
            placement,
            me=self._peer.id,
            runtimes=self._peer.runtimes,
            outside=self,
            ends=self,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._site.host.setup())
                for worker in self._workers:
                    group.create_task(self._start(worker))
        except ExceptionGroup as errors:
            raise RunError(str(errors.exceptions[0])) from errors.exceptions[0]

    async def _start(self, worker: PeerId) -> None:
        """START, and the worker's READY; raises RunError where it refuses or is lost."""
        assert self.graph is not None
        assert self.plan is not None
        await self._peer.link_to(worker)
        self._ready[worker] = asyncio.get_running_loop().create_future()
        body = {
            "graph": to_value(self.graph),
            "plan": {"epoch": self.plan["epoch"], "steps": self.plan["steps"]},
            "names": {peer: self._name(peer) for peer in (*self._workers, self._peer.id)},
            "on_error": self._on_error,
        }
        self._peer.post(worker, messages.Start(*self._id(), body))
        try:
            await asyncio.wait_for(self._ready[worker], SETUP_TIMEOUT_S)
        except TimeoutError:
            raise RunError(f"{self._name(worker)} did not set up its nodes within {SETUP_TIMEOUT_S:.0f} s") from None

    async def _feed(self) -> None:
        """Admits items until there are no more; what their source raises ends the run."""
        try:
            await self._admit_all()
        except Exception as error:
            self._end("failed", error)

    async def _admit_all(self) -> None:
        """As the window and the credit of the sources allow."""
        driver = self._driver
        assert driver is not None
        number = 0
        async for item in _each(self._items):
            try:
                payload = encode(item)
            except ValueFault as error:
                raise ValueFault(f"item {number}: {error}") from None
            number += 1
            while not (self._status or driver.can_admit()):
                self._room.clear()
                await self._room.wait()
            if self._status:
                return
            self._carry_out(driver.admit(payload))
        self._carry_out(driver.finish_input())

    async def _close(self) -> None:
        """Frees the run everywhere and writes the receipt."""
        if self._site is not None:
            if self._status == "done" or isinstance(self._error, ItemError):
                await self._gather_stats()
            for worker in self._workers:
                self._peer.post(worker, messages.Stop(*self._id(), self._status))
            await self._site.close()
            self._peer.learn(self._site.host.costs())
        self.receipt = self._write_receipt()
        self._peer.run_ended(self)
        self._report()
        self._arrived.set()

    async def _gather_stats(self) -> None:
        for worker in self._workers:
            self._peer.post(worker, messages.Stats(*self._id()[:2]))
        try:
            async with asyncio.timeout(STATS_TIMEOUT_S):
                while self._stats.keys() < self._workers:
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            self._peer.log("a worker did not report its times; the receipt lacks them")

    def _end(self, status: str, error: Exception | None = None) -> None:
        if not self._status:
            self._status, self._error = status, error
        self._over.set()
        self._room.set()

    # What the engines want done

    def _carry_out(self, instructions: Sequence[DriverInstruction]) -> None:
        assert self._site is not None
        assert self._driver is not None
        for instruction in instructions:
            match instruction:
                case Emit() | GiveCredit():
                    self._site.execute([instruction])
                case Result():
                    self._result = instruction
                    self._arrived.set()
                case SeqFailed(failure):
                    error = self._failed_item(failure)
                    if self._on_failure is not None:
                        self._on_failure(error)
                case Finished(status, failure, reason):
                    ending = RunError(reason) if reason else None
                    self._end(status, self._failed_item(failure) if failure is not None else ending)
        if not self._room.is_set() and self._driver.can_admit():
            self._room.set()

    def _failed_item(self, failure: Failure) -> ItemError:
        error = ItemError(run=self.key.run, seq=failure.seq, node=failure.node, peer=failure.peer, cause=failure.cause)
        self.failures.append(error)
        return error

    def frame(self, frame: Frame) -> None:
        """A frame of a result edge."""
        assert self._driver is not None
        self._carry_out(self._driver.frame(frame))

    def credit(self, edge: int, amount: int) -> None:
        """Credit of a source edge."""
        assert self._driver is not None
        self._carry_out(self._driver.credit(edge, amount))

    def send_frame(self, site: Site, to: PeerId, frame: Frame) -> None:
        self._peer.post_frame(site, to, frame)

    def send_credit(self, site: Site, to: PeerId, edge: int, amount: int) -> None:
        self._peer.post(to, messages.Credit(*self._id(), edge, amount))

    def item_failed(self, site: Site, error: ReportError) -> None:
        assert self._driver is not None
        self._carry_out(self._driver.error(error.node, error.seq, error.kind, error.cause, DRIVER))

    def run_failed(self, site: Site, reason: str) -> None:
        assert self._driver is not None
        self._carry_out(self._driver.fail(reason))

    # What the workers say

    def receive(self, sender: PeerId, message: messages.Message) -> None:
        """A message of one of the run's workers; raises ProtocolError where it is none of theirs to send."""
        if sender not in self._workers or self._driver is None or self._site is None:
            raise ProtocolError("bad-message", f"{sender} has no part in run {self.key.run}")
        match message:
            case messages.Ready():
                self._answer(sender, None)
            case messages.Refused(text=text):
                self._answer(sender, RunError(f"{self._name(sender)} refused: {text}"))
            case messages.Error(body=body):
                self._carry_out(self._driver.error(*messages.read_error(body), self._name(sender)))
            case messages.Failed(text=text):
                self._carry_out(self._driver.fail(text))
            case messages.StatsReply(body=body):
                self._stats[sender] = messages.read_stats(body)
                self._told.set()
            case messages.Credit(edge=edge, amount=amount):
                self._site.receive_credit(sender, edge, amount)

    def _answer(self, worker: PeerId, error: RunError | None) -> None:
        future = self._ready.get(worker)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def lost(self, peer: PeerId, reason: str) -> None:
        """A peer is gone; if it has a part in the run, the run ends here."""
        if peer in self._workers and not self._status:
            error = RunError(f"peer {self._name(peer)} was lost: {reason}")
            self._answer(peer, error)
            self._end("failed", error)

    @property
    def site(self) -> Site | None:
        """This peer's own part of the run."""
        return self._site

    # What it says of itself

    def _id(self) -> tuple[PeerId, Any, int]:
        return self.key.driver, self.key.run, self.plan["epoch"] if self.plan else 0

    def _name(self, peer: PeerId) -> str:
        return DRIVER if peer == self._peer.id else self._names.get(peer, peer)

    def _counts(self) -> Counts:
        return self._driver.counts if self._driver else Counts()

    def _placement(self) -> dict[str, list[str]]:
        steps = self.plan["steps"] if self.plan else [{"nodes": {}}]
        return {node: [self._name(seat["peer"]) for seat in place["on"]] for node, place in steps[-1]["nodes"].items()}

    def _node_ms(self) -> dict[NodeId, Any]:
        times: dict[NodeId, Any] = dict(summaries(self._site.host.times)) if self._site else {}
        for nodes, _ in self._stats.values():
            times |= nodes
        return times

    def _link_bytes(self) -> dict[str, int]:
        sent = self._site.sent if self._site else {}
        links = {f"{DRIVER}->{self._name(to)}": count for to, count in sent.items()}
        for _, sent_on in self._stats.values():
            links |= sent_on
        return links

    def _write_receipt(self) -> dict[str, Any]:
        counts = self._counts()
        epoch = {"epoch": self.plan["epoch"], "reason": "start", "placement": self._placement()} if self.plan else None
        return {
            "run_id": self.key.run,
            "status": self._status,
            "items_in": counts.items_in,
            "results_out": counts.results_out,
            "seqs": {"done": counts.done, "filtered": counts.filtered, "failed": counts.failed},
            "dropped": counts.dropped,
            "replayed": 0,
            "duplicates_dropped": 0,
            "epochs": [epoch] if epoch else [],
            "execution_order": list(self.graph.order) if self.graph else [],
            "node_ms": self._node_ms(),
            "link_bytes": self._link_bytes(),
            "errors": [
                {"seq": each.seq, "node": each.node, "peer": each.peer, "cause": each.cause} for each in self.failures
            ],
            **({"reason": str(self._error)} if self._error else {}),
        }

    def _summary(self) -> dict[str, Any]:
        """For the dashboard (docs/wire.md, 6)."""
        counts = self._counts()
        return {
            "id": self.key.run,
            "name": self.name,
            "state": self._status or self._phase,
            "items_in": counts.items_in,
            "results_out": counts.results_out,
            "errors": len(self.failures),
            "placement": self._placement(),
            "node_ms": self._node_ms(),
            **({"reason": str(self._error)} if self._error else {}),
        }

    def _report(self) -> None:
        if self.plan is not None:  # before that there is no name to show
            self._peer.report(self._summary())

    async def _report_regularly(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(RUN_REPORT_INTERVAL_S)


async def _each(items: Items) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
