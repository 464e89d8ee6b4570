"""What this peer tells the others of itself: its runtimes, its node types, its machine (docs/wire.md, 6)."""

import os
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mesh.nodes.spec import ALIASES, NodeSpec, RuntimeName
from mesh.runtimes.base import Runtime


@dataclass(frozen=True, slots=True)
class Machine:
    """What the owner says of the machine, beyond what can be seen from inside."""

    gpu: Mapping[str, Any] | None = None  # {"type", "memory_gb"}
    labels: Mapping[str, str] = field(default_factory=dict)


def capabilities(machine: Machine) -> dict[str, Any]:
    """``caps`` of an announcement."""
    seen: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "arch": platform.machine(),
        "memory_gb": _memory_gb(),
        "labels": dict(machine.labels),
    }
    if machine.gpu is not None:
        seen["gpu"] = dict(machine.gpu)
    return seen


def _memory_gb() -> float:
    if not hasattr(os, "sysconf"):
        return 1.0
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def offered_types(runtimes: Mapping[RuntimeName, Runtime], allow: Collection[str] | None) -> dict[str, NodeSpec]:
    """Every type that runs here and is allowed, with the runtimes it has; the first runtime's words describe it."""
    allowed = None if allow is None else {ALIASES.get(name, name) for name in allow}
    types: dict[str, NodeSpec] = {}
    for name, runtime in runtimes.items():
        for spec in runtime.types():
            if allowed is not None and spec.node_type not in allowed:
                continue
            known = types.get(spec.node_type, replace(spec, runtimes=()))
            types[spec.node_type] = replace(known, runtimes=(*known.runtimes, name))
    return types


def announcement(
    runtimes: Mapping[RuntimeName, Runtime], types: Mapping[str, NodeSpec], machine: Machine
) -> dict[str, Any]:
    """The whole announcement of a server."""
    caps = capabilities(machine)
    return {
        "kind": "server",
        "runtimes": list(runtimes),
        "types": [spec.to_json() for spec in types.values()],
        "caps": caps,
        "slots": caps["cores"],
        "speed": {},
    }
