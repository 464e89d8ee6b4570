"""What a runtime is to the rest: it makes instances of nodes, and an instance answers calls, one at a time."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from mesh.manifest.graph import GraphNode
from mesh.nodes.spec import NodeSpec, RuntimeName


@dataclass(slots=True)
class Answer:
    """Parts of one input, as encoded values. ``more``: the node may have further ones, ask ``next``."""

    parts: tuple[bytes, ...]
    more: bool = False


class Instance(ABC):
    """One node, alive. Every method raises NodeError for the node's faults, NodeTimeout after ``timeout_s``, and
    NodeCrashed when the process or module instance is gone; after the last two, and after a call that was cancelled,
    the instance is closed and must be made anew.
    """

    @abstractmethod
    async def process(self, payload: bytes) -> Answer:
        """One input: an encoded value, for a join an encoded map ``{port: value}``."""

    @abstractmethod
    async def next(self) -> Answer:
        """Further parts of the same input: at most STEP_PARTS, or what comes within STEP_S."""

    @abstractmethod
    async def finish(self) -> Answer:
        """The end of the stream; further parts by ``next``."""

    @abstractmethod
    async def snapshot(self) -> bytes:
        """The state, as an encoded value."""

    @abstractmethod
    async def restore(self, state: bytes) -> None:
        """Back to a state."""

    @abstractmethod
    async def close(self) -> None:
        """Frees everything; safe to call twice."""


class Runtime(ABC):
    """Where nodes of one kind run on this peer."""

    name: RuntimeName

    @abstractmethod
    def types(self) -> Sequence[NodeSpec]:
        """What this runtime can run here."""

    @abstractmethod
    def warm(self) -> None:
        """Begins, without waiting, what can be done before the first node is asked for."""

    @abstractmethod
    async def create(self, node: GraphNode) -> Instance:
        """An instance of ``node``, set up. Raises NodeError where that fails."""

    @abstractmethod
    async def close(self) -> None:
        """Ends every instance and frees the runtime."""
