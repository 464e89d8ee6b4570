"""Brief calls of a WebAssembly node, made in the thread of the event loop: to the node's own and back takes longer.

Only a node without state has this, for a call must do no harm when it is made again: one that overruns is interrupted,
which ends its instance. The node's own thread, which has nothing else to do then, watches.
"""

import asyncio
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from mesh.errors import NodeCrashed
from mesh.limits import INLINE_BYTES, INLINE_CALL_S, INLINE_OVERRUN_S, INLINE_TURN_S
from mesh.runtimes.guest import Guest

type Jobs = SimpleQueue[Callable[[], object] | None]

OVERRUN: Final = NodeCrashed("it took too long for the thread of the event loop")
_BRIEF_CALLS: Final = 8  # in a row, before the next one may be made here
_AFTER_OVERRUN: Final = 1000  # so many more


class Shortcut:
    """For one node; ``jobs`` is what its own thread waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, jobs: Jobs) -> None:
        self._loop = loop
        self._jobs = jobs
        self._brief = 0
        self._entered = 0.0
        self._held_s = 0.0  # that calls here have taken, since others had their turn for certain
        self._guest: Guest | None = None  # that is called in the thread of the event loop
        self._calls = 0  # made there
        self._seen = 0  # of them, when the other thread last looked
        self._watched = False

    def is_open(self, size: int) -> bool:
        """Whether a call with an input of ``size`` bytes may be made here now."""
        return self._brief >= _BRIEF_CALLS and size <= INLINE_BYTES and self._held_s < INLINE_TURN_S

    def _next_turn(self) -> None:
        self._held_s = 0.0

    def took(self, seconds: float) -> None:
        """A call, in either thread, is done."""
        self._brief = self._brief + 1 if seconds < INLINE_CALL_S else 0

    def enter(self, guest: Guest) -> None:
        """A call begins here."""
        self._guest = guest
        self._entered = time.perf_counter()
        self._calls += 1
        if not self._watched:
            self._watched = True
            self._jobs.put(lambda: None)  # wakes the other thread

    def leave(self, *, overrun: bool) -> None:
        """It is done, or was given up."""
        self._guest = None
        before, self._held_s = self._held_s, self._held_s + time.perf_counter() - self._entered
        if before < INLINE_TURN_S <= self._held_s:
            self._loop.call_soon(self._next_turn)  # not behind each call: a turn of the loop costs as much as a call
        if overrun:
            self._brief = -_AFTER_OVERRUN

    def next_job(self) -> Callable[[], object] | None:
        """For the node's own thread, which waits here."""
        while True:
            try:
                return self._jobs.get(timeout=INLINE_OVERRUN_S if self._watched else None)
            except Empty:
                self._look()

    def _look(self) -> None:
        guest, calls = self._guest, self._calls
        if calls != self._seen:
            self._seen = calls
        elif guest is not None:
            guest.interrupt(OVERRUN)
        else:
            self._watched = False
            if self._calls != calls:  # one that began just now believes that it is watched
                self._watched = True
