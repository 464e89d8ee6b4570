"""What things cost: the time of a node on a peer, of a message on a link. Measured where it was, else a prior."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from mesh.ids import NodeId, PeerId
from mesh.manifest.graph import Edge
from mesh.nodes.spec import NodeSpec, RuntimeName
from mesh.partitioner.peers import Peer

type MeasuredCosts = Mapping[
    str, Mapping[tuple[PeerId, RuntimeName], float]
]  # node type → (peer id, runtime) → ms of one call
type Links = Mapping[tuple[PeerId, PeerId], Mapping[str, Any]]  # two peer ids → {"rtt_ms", "bytes_per_s"}

PRIOR_CALL_MS: Final[Mapping[RuntimeName, float]] = {"wasm": 0.05, "python": 0.3, "pyodide": 0.2}
PRIOR_RTT_MS: Final = 1.0
PRIOR_BYTES_PER_S: Final = 20e6
MESSAGE_OVERHEAD_MS: Final = 0.1  # both ends' work for one message, whatever its size
APART_MS: Final = 1e9  # a way between two peers that cannot reach each other: longer than any there is
PYODIDE_STARTUP_MS: Final[Mapping[str, float]] = {"absent": 2500.0, "loading": 1200.0, "ready": 0.0}
HIDDEN_SLOWDOWN: Final = 2.7  # measured: what browsers leave to a tab that nobody sees
MAX_LOAD: Final = 0.75  # reported load lags by up to a minute: what is above says little of the next one
PREFERENCE_MS: Final = 50.0  # what one unmet preference weighs
PRIOR_BYTES: Final[Mapping[str, int]] = {
    **dict.fromkeys(("null", "bool", "int", "float", "number"), 9),
    **dict.fromkeys(("any", "text", "list", "map"), 1024),
    **dict.fromkeys(("bytes", "array", "audio"), 512 * 1024),
    "image": 1024 * 1024,
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Everything known of times, and the priors for the rest."""

    measured: MeasuredCosts
    links: Links
    typical_speed: Mapping[str, float]

    @classmethod
    def of(cls, peers: Sequence[Peer], *, measured: MeasuredCosts, links: Links) -> "Costs":
        """``typical_speed`` of a runtime is the median of the room's micro-benchmarks."""
        speeds: dict[str, list[float]] = {}
        for peer in peers:
            for runtime, ms in peer.speed.items():
                if ms > 0:
                    speeds.setdefault(runtime, []).append(ms)
        return cls(measured, links, {runtime: median(each) for runtime, each in speeds.items()})

    def compute_ms(self, node_type: str, peer: Peer, runtime: RuntimeName, *, peers: Mapping[PeerId, Peer]) -> float:
        """One call on an idle peer. Not measured there: its prior, times the factor by which others exceed theirs."""
        known = self.measured.get(node_type, {})
        here = known.get((peer.id, runtime))
        if here is not None:
            return max(here, 0.0)
        ratios = [
            math.log(max(ms, 1e-4) / self._prior_ms(peers[other], ran_in))
            for (other, ran_in), ms in known.items()
            if other in peers
        ]
        factor = math.exp(sum(ratios) / len(ratios)) if ratios else 1.0
        slowdown = HIDDEN_SLOWDOWN if peer.hidden else 1.0
        return factor * slowdown * self._prior_ms(peer, runtime)

    def _prior_ms(self, peer: Peer, runtime: RuntimeName) -> float:
        typical = self.typical_speed.get(runtime)
        ratio = peer.speed.get(runtime, typical) / typical if typical else 1.0
        return PRIOR_CALL_MS[runtime] * min(max(ratio, 0.1), 10.0)

    def link(self, a: PeerId, b: PeerId) -> tuple[float, float]:
        """``(ms one way, ms a byte)`` between two peers. A measured rate is what flowed, not what could: it only raises
        the prior.
        """
        known = self.links.get((a, b)) or self.links.get((b, a)) or {}
        rtt, rate = known.get("rtt_ms"), known.get("bytes_per_s") or 0.0
        return (PRIOR_RTT_MS if rtt is None else max(rtt, 0.0)) / 2, 1e3 / max(rate, PRIOR_BYTES_PER_S)


def queue_ms(compute_ms: float, peer: Peer) -> float:
    """The wait behind a peer's other work: a processor busy for the share ``load`` leaves the rest."""
    load = min(max(peer.load, 0.0), MAX_LOAD)
    return compute_ms * load / (1 - load)


def startup_ms(peer: Peer, runtime: RuntimeName) -> float:
    """How long until the runtime can take its first call."""
    return PYODIDE_STARTUP_MS.get(peer.pyodide, 0.0) if runtime == "pyodide" else 0.0


def part_bytes(edge: Edge, specs: Mapping[NodeId, NodeSpec]) -> int:
    """A prior for one part on an edge, by the kinds that its ends declare. ``specs`` is by node id."""
    kinds = [
        specs[edge.source].returns if edge.source is not None else "any",
        specs[edge.target].accepts if edge.target is not None else "any",
    ]
    return PRIOR_BYTES.get(next((kind for kind in kinds if kind != "any"), "any"), PRIOR_BYTES["any"])
