"""Nodes that people would not write, and some that they would."""

import asyncio
import os
import signal
import sys
import time

from mesh.nodes import SKIP, Node, node


@node
def raises(value: object) -> object:
    raise ValueError(f"no {value}")


@node
def exits(value: int) -> int:
    os._exit(value)


@node
def leaves(value: int) -> int:
    sys.exit(value)


@node
def dies(value: object) -> object:
    os.kill(os.getpid(), signal.SIGSEGV)
    return value


@node
def hangs(value: object) -> object:
    while True:
        time.sleep(1)


@node
def prints(value: object) -> object:
    print("loud", value)
    os.write(1, b"louder\n")
    return value


@node
def answers_an_object(value: object) -> object:
    return object()


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


@node
def raises_the_unprintable(value: object) -> object:
    raise Unprintable


@node
def raises_at_length(value: object) -> object:
    raise ValueError("x" * 1_000_000)


@node
def interrupts(value: object) -> object:
    raise KeyboardInterrupt


@node
def huge(value: int) -> bytes:
    return bytes(value)


@node(arity="maybe")
def evens(value: int) -> int:
    return value if value % 2 == 0 else SKIP


@node
def skips(value: object) -> object:
    return SKIP


@node
def countdown(value: int):
    yield from range(value, 0, -1)


@node
def breaks_off(value: int):
    yield from range(value)
    raise ValueError("that was all")


@node(arity="one")
def stutters(value: object):
    yield value
    yield value


@node
def slow_parts(value: int):
    for n in range(value):
        yield n
        time.sleep(0.2)


class Sleepy(Node):
    """Waits, asynchronously."""

    seconds: float
    arity = "many"

    async def setup(self):
        self.ready = asyncio.current_task() is not None

    async def process(self, value):
        for n in range(value):
            await asyncio.sleep(self.seconds)
            yield [n, self.ready]


@node
async def awaits(value: int) -> int:
    await asyncio.sleep(0.01)
    return value + 1


class Total(Node):
    """A sum, with all that a stateful node has."""

    stateful = True

    def setup(self):
        self.sum = 0

    def process(self, value):
        self.sum += value
        return self.sum

    def finish(self):
        return {"total": self.sum}

    def snapshot(self):
        return self.sum

    def restore(self, state):
        self.sum = state

    def close(self):
        print("closed", self.sum)


class Named(Node):
    """A join."""

    join = True

    def process(self, value):
        return sorted(value)


class BadSetup(Node):
    """Cannot be set up."""

    def setup(self):
        raise OSError("the model is not there")

    def process(self, value):
        return value


class SlowSetup(BadSetup):
    """Never comes up."""

    def setup(self):
        time.sleep(1000)


@node
def abandoned(value: int):
    try:
        yield from range(1000)
    finally:
        print("abandoned", value, file=sys.stderr)


@node
def environment(value: str) -> str:
    return os.environ.get(value, "")
