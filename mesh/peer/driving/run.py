"""A run that this peer drives: plan, start everywhere, feed, gather, receipt.

A worker that is lost, or silent while somebody else fits, begins a new epoch: a new plan without it, everything set up
anew, and what was not finished again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mesh.errors import ItemError, ProtocolError, RunError
from mesh.ids import DRIVER, PeerId, new_run_id
from mesh.limits import RUN_REPORT_INTERVAL_S
from mesh.manifest.graph import Graph
from mesh.peer.driving.absence import Absence
from mesh.peer.driving.epoch import Epoch
from mesh.peer.driving.items import Items, Manifest, RunResult, encoded
from mesh.peer.driving.moves import Moves
from mesh.peer.driving.receipt import summary, write_receipt
from mesh.peer.driving.replanning import plan_anew
from mesh.peer.driving.stats import Stats
from mesh.peer.site import RunKey, Site
from mesh.protocol import messages
from mesh.run.driver import Driver, OnError
from mesh.run.events import CancelSeq, Checkpoint, Emit, Frame, GiveCredit, HandOver, ReportError
from mesh.run.outcome import Counts, DriverInstruction, Failure, Finished, Result, SeqFailed
from mesh.run.retention import Resumption

if TYPE_CHECKING:
    from mesh.peer.peer import Peer, Planned


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
        self.send_frame, self.send_credit = peer.post_frame, peer.post_credit
        self._manifest, self._items, self._pins = manifest, items, pins or {}
        self._on_error: OnError = on_error
        self._on_failure = on_failure
        self._driver: Driver | None = None
        self._epochs: list[Epoch] = []
        self._stands = False  # the present epoch is set up; until then nothing of the run moves
        self._stats = Stats(self.key, peer.post)
        self._result: Result | None = None
        self._phase = "planning"
        self._status = ""
        self._error: Exception | None = None
        self._arrived = asyncio.Event()  # a result, or the very end: the application waits
        self._room = asyncio.Event()  # for another item: the source waits
        self._disturbed = asyncio.Event()  # by the end, or by a change of who is absent
        self.absence = Absence(self._disturbed.set, probe=peer.probe)
        self.moves = Moves(peer, self)
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
                await _next(self._arrived)
        except asyncio.CancelledError:
            await self.cancel()
            raise
        result, self._result = self._result, None
        self.carry_out(self.driver.taken())
        return RunResult(result.seq, result.part, result.payload)

    def cancel_item(self, seq: int) -> None:
        """Gives an item up: what waits for it anywhere is dropped, what computes for it is interrupted, and results of
        it that were not taken do not come. A stateful node may have seen it. Raises ValueError if it was not taken in.
        """
        self.carry_out(self.driver.cancel(seq))

    async def cancel(self) -> None:
        """Ends the run everywhere; what is queued for it is dropped."""
        if not self._status:  # a run that is ending is left to free everything
            self._task.cancel()
        await asyncio.wait((self._task,))

    # The course of the run

    async def _main(self) -> None:
        tasks = [asyncio.create_task(self._report_regularly())]
        try:
            await self._prepare()
            self._phase = "running"
            tasks += [asyncio.create_task(each) for each in (self._feed(), self.moves.watch(), self.absence.watch())]
            while not self._status:  # the end may come while the source of the items is silent
                await (self._recover() if self._trouble() else _next(self._disturbed))
        except asyncio.CancelledError:
            self._end("cancelled", RunError("the run was cancelled"))
        except Exception as error:
            self._end("failed", error)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._close()

    async def _prepare(self) -> None:
        """The first plan, and the first epoch."""
        planned = await self._peer.plan(self._manifest, pins=self._pins)
        self.name, self.graph = planned.name, planned.graph
        self._phase = "connecting"
        epoch = self._next_epoch(planned.plan, "start", Resumption(0, {}))
        self._driver = Driver(planned.graph, epoch.placement, on_error=self._on_error)
        self.driver.interrupt()  # nothing goes out before the epoch stands
        await self._set_up(epoch)

    def _next_epoch(self, plan: Mapping[str, Any], reason: str, resumption: Resumption) -> Epoch:
        """Nothing moves from here on, until it is set up."""
        assert self.graph is not None
        self._stands = False
        self.moves.interrupted()
        self.plan = {**plan, "epoch": len(self._epochs) + 1}
        epoch = Epoch(
            self._peer,
            self.key,
            self.graph,
            self.plan,
            reason=reason,
            resumption=resumption,
            on_error=self._on_error,
            owner=self,
            before=self._epochs[-1] if self._epochs else None,
        )
        self._epochs.append(epoch)
        self.absence.began(epoch)
        return epoch

    async def _set_up(self, epoch: Epoch) -> None:
        """Leaves it where a worker is absent meanwhile; raises RunError where a part cannot be set up."""
        setting_up = asyncio.create_task(epoch.set_up())
        setting_up.add_done_callback(lambda _: self._disturbed.set())
        try:
            while not (setting_up.done() or self._trouble() or self._status):
                await _next(self._disturbed)
            if self._trouble():
                self.absence.lose(self._trouble())
            elif not self._status:
                setting_up.result()
                self._stands = True
                self.moves.began()
                self.carry_out(self.driver.resume(epoch.placement))
        finally:
            setting_up.cancel()
            await asyncio.gather(setting_up, return_exceptions=True)

    # Who is absent

    def _trouble(self) -> str:
        """Why the present epoch should not go on as it is; a run that could not begin another one waits for a loss."""
        fault = self._driver.fault if self._driver is not None else ""
        return self.absence.loss or ("" if fault else self.absence.suspicion)

    async def _recover(self) -> None:
        """A new epoch without who is absent. The present one goes on until there is a plan, as far as it can."""
        if self.driver.fault:
            raise RunError(f"{self.absence.loss}; {self.driver.fault}, so the run cannot go on")
        before = self._epochs[-1]
        planned = await plan_anew(
            lambda: self.planned({}, self.moves.leaving),
            self._peer.call,
            trouble=self._trouble,
            absence=self.absence,
            lost=before,
        )
        reason = self._trouble()
        if planned is None or not reason or self._status:
            return
        if planned.graph != self.graph:
            raise RunError(f"{reason}; the room's node types are not any more what they were when the run began")
        epoch = self._next_epoch(planned.plan, reason, self.driver.interrupt(before.deaths(self.absence.dead)))
        leaving = before.workers - epoch.workers
        self._stats.ask(leaving - self.absence.peers)
        before.stop(leaving, reason)
        self._peer.log(f"run {self.key.run}: epoch {epoch.number}, since {reason}")
        await before.close()
        await self._set_up(epoch)

    # What its moves need

    async def planned(self, pins: Mapping[str, str], without: Collection[PeerId]) -> "Planned":
        """A plan without who is absent; raises MeshError where there is none."""
        absent, apart = self.absence.peers | set(without), self.absence.apart
        return await self._peer.plan(self._manifest, pins={**pins, **self._pins}, without=absent, apart=apart)

    @property
    def driver(self) -> Driver:
        assert self._driver is not None  # there is one as soon as there is an epoch
        return self._driver

    @property
    def epoch(self) -> Epoch | None:
        """The present one, where it stands and can go on."""
        return self._epochs[-1] if self._stands and not (self._status or self._trouble()) else None

    def leave(self, workers: Collection[PeerId], reason: str) -> None:
        """They have no part in the run any more."""
        self._stats.ask(workers)
        self._epochs[-1].dismiss(workers, reason)

    # Items

    async def _feed(self) -> None:
        """Admits items, as window and credit allow, until there are no more; what their source raises ends the run."""
        try:
            async for payload in encoded(self._items):
                while not (self._status or self.driver.can_admit()):
                    await _next(self._room)
                if self._status:
                    return
                self.carry_out(self.driver.admit(payload))
            self.carry_out(self.driver.finish_input())
        except Exception as error:
            self._end("failed", error)

    async def _close(self) -> None:
        """Frees the run everywhere and writes the receipt."""
        if self._epochs:
            if self._status == "done" or isinstance(self._error, ItemError):
                self._stats.ask(self._epochs[-1].workers)
                if not await self._stats.wait():
                    self._peer.log("a worker did not report its times; the receipt lacks them")
            epoch = self._epochs[-1]
            epoch.stop(epoch.workers, self._status)
            await epoch.close()
        self.receipt = write_receipt(
            self.key.run,
            self._status,
            graph=self.graph,
            epochs=self._epochs,
            counts=self._driver.counts if self._driver else Counts(),
            stats=self._stats.told,
            moves=self.moves.made,
            failures=self.failures,
            error=self._error,
        )
        self._peer.run_ended(self)
        self._report()
        self._arrived.set()

    def _end(self, status: str, error: Exception | None = None) -> None:
        if not self._status:
            self._status, self._error = status, error
        self._disturbed.set()
        self._room.set()

    # What the engines want done

    def carry_out(self, instructions: Sequence[DriverInstruction]) -> None:
        for instruction in instructions:
            match instruction:
                case Emit() | GiveCredit():
                    self._epochs[-1].site.execute([instruction])
                case Result() if not self._status:  # what the engine still has at a bad end stays there
                    self._result = instruction
                    self._arrived.set()
                case CancelSeq(seq):
                    self._epochs[-1].cancel(seq)
                case SeqFailed(failure):
                    error = self._failed_item(failure)
                    if self._on_failure is not None:
                        self._on_failure(error)
                case Finished(status, failure, reason):
                    ending = RunError(reason) if reason else None
                    self._end(status, self._failed_item(failure) if failure is not None else ending)
        self.moves.results_came()
        if not self._room.is_set() and self.driver.can_admit():
            self._room.set()

    def _failed_item(self, failure: Failure) -> ItemError:
        error = ItemError(run=self.key.run, seq=failure.seq, node=failure.node, peer=failure.peer, cause=failure.cause)
        self.failures.append(error)
        return error

    # What this peer's own part says; before an epoch stands it may be the part of the one that is over

    def frame(self, frame: Frame) -> None:
        """A frame of a result edge."""
        if self._stands:
            self.carry_out(self.driver.frame(frame))

    def credit(self, edge: int, seq: int, amount: int) -> None:
        """Credit of a source edge."""
        if self._stands:
            self.carry_out(self.driver.credit(edge, seq, amount))

    def item_failed(self, site: Site, error: ReportError) -> None:
        if self._stands:
            self.carry_out(self.driver.error(error.node, error.seq, error.kind, error.cause, DRIVER))

    def state_saved(self, site: Site, saved: Checkpoint) -> None:
        if self._stands:
            self.carry_out(self.driver.checkpoint(saved.node, saved.seq, saved.state, saved.fault))

    def handed_over(self, site: Site, state: HandOver) -> None:
        if self._stands:
            self.moves.handed_over(state.node, state.state, state.fault)

    def through(self, site: Site) -> None:
        self.moves.through()

    def run_failed(self, site: Site, reason: str) -> None:
        if self._stands:
            self.carry_out(self.driver.fail(reason))

    # What the workers say

    def receive(self, sender: PeerId, message: messages.RunMessage) -> None:
        """A message of one of the run's workers; raises ProtocolError where it is none of theirs to send."""
        epoch = self._epochs[-1] if self._epochs else None
        if epoch is None or self._driver is None:
            raise ProtocolError("bad-message", f"run {self.key.run} has not begun")
        if isinstance(message, messages.StatsReply):
            self._stats.take(sender, messages.read_stats(message.body), self._epochs)
            return
        if isinstance(message, messages.Silence):  # of a link, whatever the epoch
            self._silence(sender, message)
            return
        if not isinstance(message, messages.Stats) and message.epoch != epoch.number:
            return  # of an epoch that is over
        if sender not in epoch.names:
            raise ProtocolError("bad-message", f"{sender} has no part in run {self.key.run}")
        match message:
            case messages.Ready():
                epoch.answered(sender)
            case messages.Refused(text=text):
                epoch.answered(sender, text)
            case messages.Progress(body=body):
                epoch.leases.told(sender, messages.read_progress(body), asyncio.get_running_loop().time())
            case messages.Unreachable(peer=other):
                self._peer.background(self.absence.unlinked(sender, other))
            case messages.Leaving() | messages.Step() | messages.State():
                self.moves.receive(sender, message)
            case _ if self._stands:
                self._receive(epoch, sender, message)

    def _receive(self, epoch: Epoch, sender: PeerId, message: messages.RunMessage) -> None:
        match message:
            case messages.Error(body=body):
                self.carry_out(self.driver.error(*messages.read_error(body), epoch.names[sender]))
            case messages.Checkpoint(body=body):
                self.carry_out(self.driver.checkpoint(*messages.read_checkpoint(body)))
            case messages.Failed(text=text):
                self.carry_out(self.driver.fail(text))
            case messages.Credit(edge=edge, seq=seq, amount=amount):
                epoch.site.receive_credit(sender, GiveCredit(edge, seq, amount))

    def _silence(self, sender: PeerId, message: messages.Silence) -> None:
        known = {peer for epoch in self._epochs for peer in epoch.names}
        if not known.issuperset((sender, message.peer)):
            raise ProtocolError("bad-message", f"{sender} and {message.peer} have no part in run {self.key.run}")
        if message.silent:
            self._peer.background(self.absence.unheard(sender, message.peer))
        else:
            self.absence.heard(sender, message.peer)

    def lost(self, peer: PeerId, reason: str, *, died: bool = False) -> None:
        """Its link is gone."""
        self._stats.forget(peer)
        self.absence.lost(peer, reason, died=died)

    def site(self, epoch: int) -> Site | None:
        """This peer's own part of the run, for what is of its present epoch."""
        if not self._stands or self._epochs[-1].number != epoch:
            return None
        return self._epochs[-1].site

    # What it says of itself

    def _report(self) -> None:
        if self.plan is None:  # there is no name to show
            return
        line = summary(
            self.key.run,
            self.name,
            self._status or self._phase,
            epochs=self._epochs,
            counts=self._driver.counts if self._driver else Counts(),
            stats=self._stats.told,
            errors=len(self.failures),
            reason=str(self._error) if self._error else self._trouble(),
        )
        self._peer.report(line)

    async def _report_regularly(self) -> None:
        while True:
            self._report()
            await asyncio.sleep(RUN_REPORT_INTERVAL_S)


async def _next(event: asyncio.Event) -> None:
    event.clear()
    await event.wait()
