"""Every error that this package raises on purpose.

::

    MeshError
    ├── ValueFault            a value that cannot be carried: says where in the value, and what is wrong
    ├── ManifestError         an invalid manifest: carries every Fault
    │   └── NodeSourceError   a file or module of nodes that cannot be loaded, or a wrong node type in it
    ├── NoPlanError           no peer fits a node: carries, for each peer, what it lacks
    ├── NodeError             a node raised, trapped, timed out or answered nonsense: the node's fault
    │   ├── NodeTimeout       one call or step took longer than timeout_s
    │   └── NodeCrashed       its process or instance is gone, and with it its state
    ├── ItemError             what NodeError becomes in a run: run, seq, node, peer, cause
    ├── RunError              a run ended without finishing: peer lost, refused, cancelled
    ├── ProtocolError         the other side broke the wire protocol: carries a code of protocol/registry.json
    │   └── HandshakeError    it could not prove that it belongs to the room
    ├── LinkError             a link could not be made or is gone: says which step failed
    └── SignalingError        the signaling server refused, or is not there: carries its code
"""

from collections.abc import Sequence
from dataclasses import dataclass


class MeshError(Exception):
    """The root of every error raised on purpose."""


class ValueFault(MeshError):
    """A value outside the contract; the text begins with the place, for example ``[2].a: map keys must be text``."""

    def __init__(self, message: str, *, place: str = "") -> None:
        self.place, self.message = place, message
        super().__init__(f"{place}: {message}" if place else message)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a manifest: ``path: what is wrong, what to write instead``."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ManifestError(MeshError):
    """An invalid manifest, with every fault at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class NodeSourceError(ManifestError):
    """A source of nodes that cannot be used; the fault's path is the source, or the class."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__([Fault(source, message)])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one peer cannot run one node: every requirement that it misses."""

    node: str
    peer: str
    lacks: tuple[str, ...]


class NoPlanError(MeshError):
    """No peer fits at least one node; the text lists every peer and what it lacks."""

    def __init__(self, message: str, refusals: Sequence[Refusal] = ()) -> None:
        self.refusals = tuple(refusals)
        super().__init__(message)


class NodeError(MeshError):
    """The fault of a node. ``kind`` is ``raised``, ``trapped``, ``timeout``, ``crashed`` or ``answer``."""

    kind = "raised"

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        if kind is not None:
            self.kind = kind
        super().__init__(message)


class NodeTimeout(NodeError):
    """One call, or one step to the next part, took longer than ``timeout_s``."""

    kind = "timeout"


class NodeCrashed(NodeError):
    """The process or instance that held the node is gone, and its state with it."""

    kind = "crashed"


class ItemError(MeshError):
    """A node failed on an item; it is not retried. ``seq`` is the item's number in the run."""

    def __init__(self, *, run: str, seq: int, node: str, peer: str, cause: str) -> None:
        self.run, self.seq, self.node, self.peer, self.cause = run, seq, node, peer, cause
        super().__init__(f"seq {seq}, node {node!r} on peer {peer!r}: {cause}")


class RunError(MeshError):
    """A run ended without finishing."""


class ProtocolError(MeshError):
    """The other side broke the protocol; ``code`` names the rule (``mesh/protocol/registry.json``)."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


class HandshakeError(ProtocolError):
    """The other side could not prove that it belongs to the room, or that the link is the one it meant."""


class LinkError(MeshError):
    """A link could not be made, or is gone. ``step`` names what failed (``signaling``, ``ice``, ``dtls``, …)."""

    def __init__(self, step: str, message: str) -> None:
        self.step = step
        super().__init__(f"{step}: {message}")


class SignalingError(MeshError):
    """The signaling server refused or cannot be reached."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(f"{code}: {message}")
