"""A pipeline as its manifest writes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mesh.errors import Fault
from mesh.ids import NodeId
from mesh.limits import DEFAULT_TIMEOUT_S
from mesh.nodes.spec import RuntimeName

PeerKind = Literal["browser", "server"]
Overflow = Literal["block", "drop_oldest"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, of any type and size where nothing is said."""

    type: str | None = None
    min_memory_gb: float | None = None


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processors."""

    cores: float | None = None
    arch: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a peer must have (``capabilities``) or had better have (``prefers``)."""

    gpu: Gpu | None = None
    cpu: Cpu | None = None
    memory_gb: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a node must run; all that is said must hold."""

    peer: str | None = None
    kind: PeerKind | None = None
    runtime: RuntimeName | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipelineNode:
    """A node. ``id`` or ``node_type`` is empty only where the manifest is at fault."""

    id: NodeId
    node_type: str
    params: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Capabilities = Capabilities()
    prefers: Capabilities = Capabilities()
    placement: Placement = Placement()
    timeout_s: float = DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Connection:
    """From one node to another; ``port`` is None where the manifest leaves it to the rule."""

    source: NodeId
    target: NodeId
    port: str | None = None
    overflow: Overflow = "block"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A manifest, read. ``source`` is its text, ``faults`` are those of its form: ``validate`` adds the others."""

    name: str
    metadata: Mapping[str, Any]
    nodes: tuple[PipelineNode, ...]
    connections: tuple[Connection, ...]
    source: str
    faults: tuple[Fault, ...] = ()
