"""The registry as the planner sees it: who is there, what each offers and what each has (docs/wire.md, 6)."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mesh.ids import DRIVER, PeerId, PeerName
from mesh.nodes.spec import NodeSpec


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer. ``types`` maps a node type to its spec, whose ``runtimes`` say where it runs there; ``speed`` is the
    micro-benchmark's time in each runtime (ms); ``load`` is the busy share, 0 … 1.
    """

    id: PeerId
    name: PeerName
    kind: str = "server"
    types: Mapping[str, NodeSpec] = field(default_factory=dict)
    caps: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)
    slots: int = 1
    load: float = 0.0
    hidden: bool = False
    pyodide: str = "absent"
    works: bool = True
    is_driver: bool = False

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, is_driver: bool = False) -> "Peer":
        """Reads a record that the hub has validated."""
        specs = [NodeSpec.from_json(spec) for spec in record.get("types", ())]
        return cls(
            id=PeerId(record["peer"]),
            name=PeerName(record["name"]),
            kind=record.get("kind", "server"),
            types={spec.node_type: spec for spec in specs},
            caps=record.get("caps", {}),
            speed=record.get("speed", {}),
            slots=max(1, int(record.get("slots", 1))),
            load=float(record.get("load", 0.0)),
            hidden=bool(record.get("hidden", False)),
            pyodide=record.get("pyodide") or "absent",
            works="work" in record.get("can", ()),
            is_driver=is_driver,
        )

    @property
    def label(self) -> str:
        """How texts for people call it."""
        return f"{self.name} ({DRIVER})" if self.is_driver and self.name != DRIVER else self.name

    def is_called(self, name: str) -> bool:
        """Whether a placement or a pin by that name or id means this peer."""
        return name in (self.name, self.id) or (self.is_driver and name == DRIVER)


def merged_types(peers: Sequence[Peer]) -> dict[str, NodeSpec]:
    """One spec for each type: the driver's, else the one that most peers announce (of equals, the first)."""
    offers: dict[str, list[NodeSpec]] = {}
    for peer in peers:
        for name, spec in peer.types.items():
            offers.setdefault(name, []).append(spec)
    merged = {name: _commonest(specs) for name, specs in offers.items()}
    return merged | {name: spec for peer in peers if peer.is_driver for name, spec in peer.types.items()}


def _commonest(specs: Sequence[NodeSpec]) -> NodeSpec:
    votes = Counter(map(signature, specs))
    return max(specs, key=lambda spec: votes[signature(spec)])


def signature(spec: NodeSpec) -> Hashable:
    """What two announcements of a type must have in common: the same parameters, the same behaviour on edges."""
    params = frozenset((name, param.required) for name, param in spec.params.items())
    return params, spec.arity, spec.join, spec.stateful, spec.finishes
