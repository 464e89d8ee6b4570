"""Who wants a run: hands its items in, takes its results, and holds the mesh to its promises."""

import asyncio
from collections.abc import AsyncIterator, Callable

from explanation import Observed
from promises import check_end, check_order, check_orphan
from scenario import Pipeline
from virtual_time import Process

from mesh.errors import ItemError, MeshError
from mesh.peer import Peer, Run

SINK_S = 0.2  # that a slow application takes for a result


class Application:
    """``over`` is set when its run has ended, or will not be heard of any more."""

    def __init__(
        self, pipeline: Pipeline, *, tell: Callable[[str], None], slow: Callable[[], bool], other: "Application | None"
    ) -> None:
        """``slow``: whether it takes its results slowly now; ``other``: whose end it waits for where it stalls."""
        self.pipeline = pipeline
        self.run: Run | None = None
        self.over = asyncio.Event()
        self._tell, self._slow = tell, slow
        self._goes_on = other.over if other is not None and pipeline.stalls else None
        self._process: Process | None = None
        self._driving: asyncio.Task[str] | None = None
        self._given_up = False
        self._observed = Observed([], [])

    def start(self, process: Process, peer: Peer) -> None:
        """Begins the run on the peer that drives it."""
        self._process = process
        self._driving = process.start(self._drive(peer))
        self._driving.add_done_callback(lambda _: self.over.set())

    def give_up(self) -> None:
        """Cancels the run, if it has begun."""
        if self.run is not None and self._process is not None:
            self._given_up = True
            self._process.start(self.run.cancel())

    def orphaned(self) -> None:
        """A driver was killed: if it is this one's, nothing more comes of the run."""
        if self._process is not None and not self._process.alive:
            self.over.set()

    def ending(self) -> str:
        """How the run ended, in a word; raises Violation."""
        if self._driving is not None and self._process is not None and self._process.alive:
            return self._driving.result()
        return check_orphan(self.run, self.pipeline.items, self._observed)

    async def _drive(self, peer: Peer) -> str:
        manifest, on_error = dict(self.pipeline.manifest), self.pipeline.on_error
        self.run = run = peer.run(manifest, self._items(), on_error=on_error, on_failure=self._failed)
        error: MeshError | None = None
        try:
            if self._goes_on is not None:
                await self._goes_on.wait()
            async for result in run:
                self._tell(f"result {result.seq}.{result.part} of {self.pipeline.name}")
                check_order(self._observed.results, result.seq, result.part)
                self._observed.results.append((result.seq, result.part, result.payload))
                await asyncio.sleep(SINK_S if self._slow() else 0)
        except MeshError as raised:
            error = raised
        return check_end(run, error, self.pipeline.items, self._observed, given_up=self._given_up)

    async def _items(self) -> AsyncIterator[bytes]:
        for item in self.pipeline.items:
            yield item
            await asyncio.sleep(self.pipeline.pace_s)

    def _failed(self, error: ItemError) -> None:
        self._tell(f"failed {error.seq} at {error.node}: {error.cause}")
        self._observed.failures.append((error.seq, error.node))
