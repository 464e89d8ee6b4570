"""An event loop whose clock moves only when nothing is left to do, and processes in it that can be stopped and killed.

Everything that runs belongs to the process in whose context it was started (a task, a timer, a callback inherits it),
so killing or stopping a process stops just its part of the program, between any two of its steps, as a signal does.
What belongs to no process is the world: wires and the signaling server.
"""

import asyncio
import contextvars
import heapq
import itertools
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

_PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
THREAD_S = 0.02  # for what would be done in a thread
WORLD = contextvars.Context()


class Deadlock(Exception):
    """Nothing is ready, and nothing ever will be."""


class _Clock(selectors.SelectSelector):
    """A selector that does not wait: it moves the time on to the next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is left that could happen")
        self.now += max(0.0, timeout)
        return []


class _OfProcess:
    """A callback that runs only where its process does."""

    def _run(self) -> None:
        process = self._context.get(_PROCESS)
        if process is None or process.running:
            super()._run()
        else:
            process.held.append(self)


class _Step(_OfProcess, asyncio.Handle):
    pass


class _Timer(_OfProcess, asyncio.TimerHandle):
    pass


class _Numbered:
    """Sets of these have the same order in every process of Python that does the same."""

    _numbers: Iterator[int] = itertools.count()

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            self._number = next(self._numbers)
            return self._number


class _Task(_Numbered, asyncio.Task):
    pass


class _Future(_Numbered, asyncio.Future):
    pass


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0. What is called after its end is never done."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)
        self.set_task_factory(lambda loop, work, **options: _Task(work, loop=loop, **options))
        _Numbered._numbers = itertools.count()

    def time(self) -> float:
        return self._clock.now

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        step = _Step(callback, args, self, context)
        self._ready.append(step)
        return step

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def run_in_executor(self, executor: Any, work: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """There are no threads here, which would work by another clock."""
        done = self.create_future()
        self.call_later(THREAD_S, self._work, done, work, *args)
        return done

    def _work(self, done: asyncio.Future[Any], work: Callable[..., Any], *args: Any) -> None:
        try:
            result = work(*args)
        except Exception as error:
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(result)

    def again(self, steps: deque[asyncio.Handle]) -> None:
        """Does what was held up."""
        self._ready.extend(steps)


class Process:
    """One process of the simulated mesh."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.alive = self.running = True
        self.held: deque[asyncio.Handle] = deque()
        self._loop = loop
        self.context = contextvars.Context()
        self.context.run(_PROCESS.set, self)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """From outside: what a packet or a signal sets off."""
        if self.alive:
            self._loop.call_soon(callback, *args, context=self.context)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._loop.create_task(work, context=self.context)

    def stop(self) -> None:
        """SIGSTOP."""
        self.running = False

    def go_on(self) -> None:
        """SIGCONT."""
        if self.alive and not self.running:
            self._run()

    def kill(self) -> None:
        """SIGKILL."""
        self.alive = self.running = False

    def bury(self) -> None:
        """Lets what was going on in a killed process go on, so that it can be cancelled in good order."""
        self._run()

    def _run(self) -> None:
        self.running = True
        held, self.held = self.held, deque()
        self._loop.again(held)


def this_process() -> Process:
    """The one whose code asks."""
    process = _PROCESS.get()
    assert process is not None
    return process


class Pipe:
    """What is sent arrives in order, each thing after its own delay, at ``take`` in ``process`` (None: the world)."""

    def __init__(self, loop: VirtualLoop, process: Process | None, take: Callable[[Any], None]) -> None:
        self._loop, self._process, self._take = loop, process, take
        self._under_way: deque[Any] = deque()
        self._last = 0.0

    def send(self, thing: Any, delay_s: float) -> None:
        self._last = max(self._last, self._loop.time() + delay_s)
        self._under_way.append(thing)
        self._loop.call_at(self._last, self._arrive, context=WORLD)

    def _arrive(self) -> None:
        thing = self._under_way.popleft()
        if self._process is None:
            self._take(thing)
        else:
            self._process.call_soon(self._take, thing)
