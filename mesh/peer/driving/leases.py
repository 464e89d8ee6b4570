"""A worker has a lease for what it runs, which progress extends: that it beats is not enough."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mesh.ids import NodeId, PeerId
from mesh.limits import HEARTBEAT_S, LEASE_GRACE_S
from mesh.manifest.graph import Graph

type Told = Mapping[NodeId, tuple[int, int, bool]]  # of each node: calls ended, lowest seq not ended, a call under way


@dataclass(slots=True)
class _Lease:
    """Of one node on one worker. ``since``: nothing else was told; ``seq``: the lowest that was not ended."""

    since: float
    ended: int = -1
    seq: int = 0


class Leases:
    """Of one epoch; time comes in as an argument (s)."""

    def __init__(self, graph: Graph, nodes: Mapping[PeerId, Collection[NodeId]], now: float) -> None:
        """``nodes``: of each worker."""
        self._limits = {node.id: node.timeout_s + LEASE_GRACE_S for node in graph.nodes}
        self._leases = {worker: {node: _Lease(now) for node in each} for worker, each in nodes.items()}
        self._looked = now

    def told(self, worker: PeerId, told: Told, now: float) -> None:
        """A worker reports; what has no call under way, or another one than before, is extended."""
        leases = self._leases.setdefault(worker, {})
        for node, (ended, seq, busy) in told.items():
            lease = leases.get(node)
            if node in self._limits and (lease is None or not busy or ended != lease.ended):
                leases[node] = _Lease(now, ended, seq)

    def expired(self, now: float, *, silent: Collection[PeerId]) -> tuple[PeerId, str] | None:
        """A worker whose lease is over, and why. To be asked every HEARTBEAT_S.

        None of those who are ``silent``, whose reports cannot come; nor after this side stood still.
        """
        stood_still = now - self._looked > 2 * HEARTBEAT_S
        self._looked = now
        for worker, leases in self._leases.items():
            for node, lease in leases.items():
                if stood_still or worker in silent:
                    lease.since = now
                elif now - lease.since > self._limits[node]:
                    waited = f"nothing was heard of its call for {now - lease.since:.0f} s"
                    return worker, f"node {node!r} stands still there at seq {lease.seq}: {waited}"
        return None

    def reached(self, worker: PeerId) -> dict[NodeId, int]:
        """Below which seq each node of a worker has ended all, as far as it told."""
        return {node: lease.seq for node, lease in self._leases.get(worker, {}).items()}
