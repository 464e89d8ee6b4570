"""The promises of docs/architecture.md, as checks of a simulated mesh. What they look at is inside, so they know it."""

from collections.abc import Iterable, Sequence

from explanation import Explanation, Observed

from mesh.errors import ItemError, MeshError, RunError
from mesh.limits import EDGE_CREDIT_BYTES, RUN_WINDOW_SEQS, SESSION_WINDOW_BYTES
from mesh.manifest.graph import Graph
from mesh.peer import Peer, Run
from mesh.peer.site import Site
from mesh.protocol.codec import Lane
from mesh.run.outbox import cost
from mesh.values import encode

MUTE = "keeps state and makes no snapshots"
NOBODY = "no peer fits node"


class Violation(Exception):
    """A promise was broken."""


def check_order(results: Sequence[tuple[int, int, bytes]], seq: int, part: int) -> None:
    """Exactly once, and in order."""
    last_seq, last_part = results[-1][:2] if results else (-1, 0)
    if not ((seq, part) == (last_seq, last_part + 1) or (seq > last_seq and part == 0)):
        raise Violation(f"result {seq}.{part} came after {last_seq}.{last_part}")


def check_memory(peers: Iterable[Peer], run: Run, *, largest: int) -> None:
    """What runs and links hold, against the limits; ``largest``: what was made at once, in bytes of credit."""
    if run.graph is None or not run._epochs:
        return
    posted = (EDGE_CREDIT_BYTES + largest) * len(run.graph.edges) * len(run._epochs)
    for peer in peers:
        for site in _sites(peer):
            boxes = (box for node in site.host.fragment._instances.values() for box in node.outboxes.values())
            for edge, strand in ((box.edge, strand) for box in boxes for strand in box._strands.values()):
                size = strand.outstanding + sum(map(cost, strand.waiting))
                _at_most(EDGE_CREDIT_BYTES + largest, size, f"{peer.name} has out on a strand of edge {edge}")
        network = peer._network
        for link in network._links._standing.values() if network is not None and network._links is not None else ():
            _at_most(posted, link._session.backlog(Lane.DATA), f"{peer.name} has to send to {link.name}")
            for lane in Lane:
                sent = link._session._out[lane].unacknowledged
                _at_most(SESSION_WINDOW_BYTES, sent, f"{peer.name} sent, unacknowledged, to {link.name}")
    if run._driver is not None:
        _at_most(RUN_WINDOW_SEQS, len(run._driver._retention._kept), "the driver keeps items", "items")


def _sites(peer: Peer) -> list[Site]:
    driven = [run._epochs[-1].site for run in peer._runs.values() if run._epochs]
    return [*peer._hosting._sites.values(), *driven]


def _at_most(most: int, count: int, what: str, unit: str = "bytes") -> None:
    if count > most:
        raise Violation(f"{what}: {count} {unit}, more than {most}")


def check_orphan(run: Run, items: Sequence[bytes], observed: Observed) -> str:
    """What came of a run until its driver was killed."""
    if run.graph is not None:
        began = [epoch._resumption.first_seq for epoch in run._epochs]
        explanation = Explanation(run.graph, [encode(item) for item in items], began=began)
        if fault := explanation.fault(observed, complete=observed.results[-1][0] if observed.results else 0):
            raise Violation(fault)
    return "its driver was killed"


def check_end(run: Run, error: MeshError | None, items: Sequence[bytes], observed: Observed) -> str:
    """How the run ended: ``done``, or for which good reason it failed; raises Violation."""
    graph, receipt = run.graph, run.receipt
    if graph is None or receipt is None:
        raise Violation(f"the run did not begin: {error!r}")
    failures = [*observed.failures, *([(error.seq, error.node)] if isinstance(error, ItemError) else [])]
    ending, complete = _ending(run, graph, error, observed, len(items))
    began = [epoch._resumption.first_seq for epoch in run._epochs]
    explanation = Explanation(graph, [encode(item) for item in items], began=began)
    fault = explanation.fault(Observed(observed.results, failures), complete=complete)
    if fault:
        raise Violation(fault)
    if receipt["results_out"] != len(observed.results):
        raise Violation(f"{len(observed.results)} results came, the receipt has {receipt['results_out']}")
    if ending == "done":
        _check_sums(receipt, len(items), {seq for seq, _ in failures})
    return ending


def _ending(run: Run, graph: Graph, error: MeshError | None, observed: Observed, items: int) -> tuple[str, int]:
    """In a word, and how many seqs must be complete."""
    begun = observed.results[-1][0] if observed.results else 0
    match error:
        case None:
            return "done", items + 1
        case ItemError() if "was lost" in error.cause:
            return "a node lost its state", begun
        case ItemError():
            return "an item failed", error.seq + 1
        case RunError() if MUTE in str(error) and any(node.stateful and not node.snapshots for node in graph.nodes):
            return "a node without snapshots was lost", begun
        case RunError() if NOBODY in str(error) and "placement" in str(run._manifest):
            return "nobody else may run a node", begun
        case _:
            raise Violation(f"the run ended: {error!r}")


def _check_sums(receipt: dict[str, object], items: int, failed: set[int]) -> None:
    """The receipt adds up."""
    seqs, epochs = receipt["seqs"], receipt["epochs"]
    assert isinstance(seqs, dict)
    assert isinstance(epochs, list)
    counted = sum(seqs.values()) + receipt["dropped"]
    if not receipt["items_in"] == counted == items:
        raise Violation(f"{items} items went in; the receipt has {receipt['items_in']}, and seqs {seqs}")
    if seqs["failed"] != len(failed - {items}):
        raise Violation(f"seqs {sorted(failed)} failed; the receipt counts {seqs['failed']}")
    numbers = [each["epoch"] for each in epochs]
    if numbers != list(range(1, len(epochs) + 1)) or not all(each["reason"] for each in epochs):
        raise Violation(f"the receipt's epochs: {epochs}")


def held(peers: Iterable[Peer]) -> str:
    """What peers still hold of runs; empty if nothing."""
    return "; ".join(f"{peer.name} has {len(_sites(peer))} sites" for peer in peers if _sites(peer))
