"""A runtime of imagined nodes: what they answer is a pure function of what they get, and takes virtual time.

A node type's name says what its nodes are: any of the words of WORDS, in that order, before one of SHAPES. So
``StatefulFinishingFilter`` keeps a state, makes snapshots, has something to say at the end of the stream, and answers
an item or none. Parameters: ``wrong``, how many inputs of a hundred go wrong, and ``ms``, what a call takes.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

from imagined_nodes import Outcome, finish, process

from mesh.errors import NodeError, NodeTimeout
from mesh.ids import NodeId
from mesh.limits import PART_OVERHEAD_BYTES
from mesh.manifest.graph import GraphNode
from mesh.nodes.spec import NodeSpec, Param
from mesh.runtimes.base import Answer, Instance, Runtime
from mesh.values import decode, encode

WORDS: Final = ("Optional", "Join", "Differing", "Mute", "Stateful", "Finishing")
SHAPES: Final = {"Map": "one", "Filter": "maybe", "Generator": "many"}
OPTIONAL: Final = ("a", "b")  # the ports that an OptionalJoin does not need
PORTS: Final = ("a", "b", "c")
_NAME: Final = re.compile("".join(f"({word})?" for word in WORDS) + f"({'|'.join(SHAPES)})")

ERRORS: Final[dict[str, Callable[[], NodeError]]] = {
    "raised": lambda: NodeError("it went wrong"),
    "trapped": lambda: NodeError("it trapped", kind="trapped"),
    "timeout": lambda: NodeTimeout("it took too long"),
}


def imagined_spec(node_type: str) -> NodeSpec:
    """The spec that a type's name describes; raises ValueError for a name that is none."""
    named = _NAME.fullmatch(node_type)
    if named is None:
        shapes = ", ".join(SHAPES)
        raise ValueError(f"{node_type!r} is no imagined type: write some of {', '.join(WORDS)} before one of {shapes}")
    words = set(named.groups())
    stateful = bool(words & {"Stateful", "Mute"})
    return NodeSpec(
        node_type,
        params={"wrong": Param("int", required=False, default=0), "ms": Param("number", required=False, default=5)},
        arity=SHAPES[named[len(WORDS) + 1]],
        join="Join" in words,
        optional=OPTIONAL if "Optional" in words else (),
        stateful=stateful,
        deterministic="Differing" not in words,
        finishes="Finishing" in words,
        snapshots="Stateful" in words,
    )


class ImaginedRuntime(Runtime):
    """``epoch`` tells the number of the epoch of a node's run: what differs between executions differs by it.
    ``called`` is told every call, and ``made`` the bytes of every answer. While it is ``stuck``, no call is answered.
    """

    name = "python"

    def __init__(
        self,
        types: Iterable[str],
        random: Random,
        *,
        epoch: Callable[[NodeId], int],
        slowness: Callable[[], float],
        stuck: Callable[[], bool],
        called: Callable[[GraphNode, str], None],
        made: Callable[[int], None],
    ) -> None:
        self._types = [imagined_spec(each) for each in types]
        self._random = random
        self._epoch, self._slowness, self._stuck, self._called, self._made = epoch, slowness, stuck, called, made

    def types(self) -> Sequence[NodeSpec]:
        return self._types

    def warm(self) -> None:
        pass

    async def create(self, node: GraphNode) -> Instance:
        await asyncio.sleep(0.01 * self._slowness())
        epoch = self._epoch(node.id)
        return _Imagined(node, self._random, epoch, self._slowness, self._stuck, self._called, self._made)

    async def close(self) -> None:
        pass


class _Imagined(Instance):
    """Hands out the parts of an outcome a few at a time."""

    def __init__(
        self,
        node: GraphNode,
        random: Random,
        epoch: int,
        slowness: Callable[[], float],
        stuck: Callable[[], bool],
        called: Callable[[GraphNode, str], None],
        made: Callable[[int], None],
    ) -> None:
        self._node, self._random, self._epoch = node, random, epoch
        self._slowness, self._stuck, self._called, self._made = slowness, stuck, called, made
        self._seconds = decode(node.params)["ms"] / 1000
        self._state = 0
        self._parts: list[bytes] = []
        self._error = ""

    async def process(self, payload: bytes) -> Answer:
        await self._work("process")
        return self._begin(process(self._node, self._state, payload, self._epoch))

    async def finish(self) -> Answer:
        await self._work("finish")
        return self._begin(finish(self._node, self._state))

    async def next(self) -> Answer:
        await self._work("next")
        return self._step()

    async def snapshot(self) -> bytes:
        await self._work("snapshot")
        return encode(self._state)

    async def restore(self, state: bytes) -> None:
        await self._work("restore")
        self._state = decode(state)

    async def close(self) -> None:
        pass

    async def _work(self, op: str) -> None:
        self._called(self._node, op)
        await asyncio.sleep(self._seconds * self._slowness() * (0.5 + self._random.random()))
        if self._stuck() and op != "restore":
            await asyncio.get_running_loop().create_future()

    def _begin(self, outcome: Outcome) -> Answer:
        self._state = outcome.state
        self._parts, self._error = list(outcome.parts), outcome.error
        return self._step()

    def _step(self) -> Answer:
        many = self._node.arity == "many"
        if self._error and not self._parts:
            raise ERRORS[self._error]()
        count = self._random.randint(0, 3) if many else 2
        given, self._parts = self._parts[:count], self._parts[count:]
        more = bool(self._parts or self._error) or (many and self._random.random() < 0.2)
        self._made(sum(len(part) + PART_OVERHEAD_BYTES for part in given))
        return Answer(tuple(given), more)
