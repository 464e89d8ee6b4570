"""What a node asks for, held against what a peer is: the runtimes it may use there, or everything that is missing."""

from collections.abc import Iterator, Mapping
from typing import Any

from mesh.manifest.model import Capabilities, Gpu, Placement
from mesh.nodes.spec import NodeSpec, RuntimeName
from mesh.partitioner.peers import Peer, signature


def runtimes_for(spec: NodeSpec, placement: Placement, peer: Peer) -> tuple[RuntimeName, ...]:
    """Where on the peer a node of this type may run; empty if nowhere."""
    offered = peer.types.get(spec.node_type)
    if offered is None or signature(offered) != signature(spec):
        return ()
    return tuple(name for name in offered.runtimes if placement.runtime in (None, name))


def lacks(spec: NodeSpec, needs: Capabilities, placement: Placement, pin: str | None, peer: Peer) -> list[str]:
    """Every requirement of a node that the peer misses, in words; empty if it fits."""
    return [
        *_lacks_grant(peer),
        *_lacks_type(spec, placement, peer),
        *_lacks_place(placement, pin, peer),
        *lacks_capabilities(needs, peer.caps),
    ]


def _lacks_grant(peer: Peer) -> Iterator[str]:
    if not peer.works and not peer.is_driver:
        yield "does not serve others (no work grant)"


def _lacks_type(spec: NodeSpec, placement: Placement, peer: Peer) -> Iterator[str]:
    offered = peer.types.get(spec.node_type)
    if offered is None:
        yield f"does not offer {spec.node_type}"
    elif signature(offered) != signature(spec):
        yield f"offers another {spec.node_type}, with other parameters or another arity"
    elif not runtimes_for(spec, placement, peer):
        runtimes = " and ".join(offered.runtimes) or "no runtime"
        asked = f", {placement.runtime} is asked" if placement.runtime else ""
        yield f"offers {spec.node_type} only in {runtimes}{asked}"


def _lacks_place(placement: Placement, pin: str | None, peer: Peer) -> Iterator[str]:
    if placement.peer is not None and not peer.is_called(placement.peer):
        yield f"is not {placement.peer}"
    if pin is not None and not peer.is_called(pin):
        yield f"is not {pin}, to which the node is pinned"
    if placement.kind is not None and placement.kind != peer.kind:
        yield f"is a {peer.kind}, a {placement.kind} is asked"
    yield from _lacks_labels(placement.labels, peer.caps)


def lacks_capabilities(needs: Capabilities, caps: Mapping[str, Any]) -> Iterator[str]:
    """The capabilities that are missing: hard for ``capabilities``, counted for ``prefers``."""
    if needs.gpu is not None:
        yield from _lacks_gpu(needs.gpu, caps.get("gpu"))
    if needs.cpu is not None:
        cores, arch = caps.get("cores", 1), caps.get("arch", "unknown")
        if needs.cpu.cores is not None and cores < needs.cpu.cores:
            yield f"cpu {_number(cores)} cores < {_number(needs.cpu.cores)}"
        if needs.cpu.arch is not None and arch != needs.cpu.arch:
            yield f"cpu is {arch}, {needs.cpu.arch} is asked"
    if needs.memory_gb is not None and caps.get("memory_gb", 0) < needs.memory_gb:
        yield f"memory {_number(caps.get('memory_gb', 0))} GB < {_number(needs.memory_gb)} GB"
    yield from _lacks_labels(needs.labels, caps)


def _lacks_gpu(need: Gpu, gpu: Mapping[str, Any] | None) -> Iterator[str]:
    if gpu is None:
        yield "has no gpu"
        return
    kind = gpu.get("type", "of unknown type")
    if need.type is not None and kind != need.type:
        yield f"gpu is {kind}, {need.type} is asked"
    if need.min_memory_gb is not None and gpu.get("memory_gb", 0) < need.min_memory_gb:
        yield f"gpu {kind} {_number(gpu.get('memory_gb', 0))} GB < {_number(need.min_memory_gb)} GB"


def _lacks_labels(labels: Mapping[str, str], caps: Mapping[str, Any]) -> Iterator[str]:
    owned = caps.get("labels", {})
    for key, value in labels.items():
        if owned.get(key) != value:
            yield f"label {key}={value} missing"


def _number(value: float) -> str:
    return f"{value:g}"
