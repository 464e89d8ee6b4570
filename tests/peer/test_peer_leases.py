"""Leases of workers: what extends them, and what does not."""

from mesh.ids import NodeId, PeerId
from mesh.limits import HEARTBEAT_S, LEASE_GRACE_S
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.peer.driving.leases import Leases, Told

A, ADA = NodeId("a"), PeerId("ada")
GRAPH = Graph((GraphNode(A, "T", b"", timeout_s=2.0),), (Edge(None, A, ""), Edge(A, None, A)), (A,))
LIMIT_S = 2.0 + LEASE_GRACE_S


def heard(*reports: Told, silent: bool = False) -> tuple[PeerId, str] | None:
    """One report a second, the last of them for ever; who is stuck until long after."""
    leases = Leases(GRAPH, {ADA: [A]}, 0.0)
    for second in range(1, 60):
        if reports:
            leases.told(ADA, reports[min(second, len(reports)) - 1], float(second))
        if expired := leases.expired(second * HEARTBEAT_S, silent={ADA} if silent else ()):
            assert second > LIMIT_S
            return expired
    return None


def test_a_call_that_does_not_end_ends_the_lease() -> None:
    stuck = heard({A: (4, 3, True)}, {A: (5, 4, True)})
    assert stuck is not None
    assert stuck[0] == ADA
    assert stuck[1].startswith("node 'a' stands still there at seq 4")


def test_so_does_a_worker_that_reports_nothing() -> None:
    assert heard() is not None


def test_calls_that_end_extend_it_and_a_node_without_a_call_needs_none() -> None:
    assert heard(*({A: (number, 0, True)} for number in range(60))) is None
    assert heard({A: (1, 1, False)}) is None


def test_who_is_silent_is_suspected_for_that_and_not_stuck() -> None:
    assert heard({A: (1, 1, True)}, silent=True) is None


def test_nobody_is_stuck_after_this_side_stood_still() -> None:
    leases = Leases(GRAPH, {ADA: [A]}, 0.0)
    leases.told(ADA, {A: (1, 1, True)}, 1.0)
    assert leases.expired(100.0, silent=()) is None
    assert leases.expired(100.0 + HEARTBEAT_S, silent=()) is None


def test_how_far_each_node_was_is_known_of_who_told() -> None:
    leases = Leases(GRAPH, {ADA: [A]}, 0.0)
    assert leases.reached(ADA) == {A: 0}
    leases.told(ADA, {A: (9, 7, True), NodeId("unknown"): (1, 1, True)}, 1.0)
    assert leases.reached(ADA) == {A: 7}
    assert leases.reached(PeerId("bea")) == {}
