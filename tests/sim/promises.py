"""The promises of docs/architecture.md, as checks of a simulated mesh. What they look at is inside, so they know it."""

from collections.abc import Iterable, Sequence

from explanation import Explanation, Observed

from mesh.errors import ItemError, MeshError, RunError
from mesh.limits import EDGE_CREDIT_BYTES, PART_OVERHEAD_BYTES, RUN_WINDOW_SEQS, SESSION_WINDOW_BYTES
from mesh.manifest.graph import Graph
from mesh.peer import Peer, Run
from mesh.peer.site import Site
from mesh.protocol.codec import Lane
from mesh.run.outbox import cost
from mesh.values import encode

MUTE = "keeps state and makes no snapshots"
NOBODY = "no peer fits node"
CANCELLED = "the run was cancelled"


class Violation(Exception):
    """A promise was broken."""


def check_order(results: Sequence[tuple[int, int, bytes]], seq: int, part: int) -> None:
    """Exactly once, and in order."""
    last_seq, last_part = results[-1][:2] if results else (-1, 0)
    if not ((seq, part) == (last_seq, last_part + 1) or (seq > last_seq and part == 0)):
        raise Violation(f"result {seq}.{part} came after {last_seq}.{last_part}")


def check_memory(peers: Iterable[Peer], runs: Sequence[Run], *, largest: int) -> None:
    """What runs and links hold, against the limits; ``largest``: what was made at once, in bytes of credit."""
    edge_most = EDGE_CREDIT_BYTES + largest
    epochs = sum(len(run.graph.edges) * len(run._epochs) for run in runs if run.graph is not None)
    for peer in peers:
        for site in _sites(peer):
            boxes = [box for node in site.host.fragment._instances.values() for box in node.outboxes.values()]
            for box, strand in [(each, strand) for each in boxes for strand in each._strands.values()]:
                ends = 2 * largest + RUN_WINDOW_SEQS * PART_OVERHEAD_BYTES if box._drops else 0
                size = strand.outstanding + sum(map(cost, strand.waiting))
                _at_most(edge_most + ends, size, f"{peer.name} has out on a strand of edge {box.edge}")
        network = peer._network
        for link in network._links._standing.values() if network is not None and network._links is not None else ():
            _at_most(edge_most * epochs, link._session.backlog(Lane.DATA), f"{peer.name} has to send to {link.name}")
            for lane in Lane:
                sent = link._session._out[lane].unacknowledged
                _at_most(SESSION_WINDOW_BYTES, sent, f"{peer.name} sent, unacknowledged, to {link.name}")
    for run in runs:
        if run._driver is not None:
            _at_most(RUN_WINDOW_SEQS, len(run._driver._retention._kept), "a driver keeps items", "items")


def _sites(peer: Peer) -> list[Site]:
    driven = [run._epochs[-1].site for run in peer._runs.values() if run._epochs]
    return [*peer._hosting._sites.values(), *driven]


def _at_most(most: int, count: int, what: str, unit: str = "bytes") -> None:
    if count > most:
        raise Violation(f"{what}: {count} {unit}, more than {most}")


def check_orphan(run: Run | None, items: Sequence[bytes], observed: Observed) -> str:
    """What came of a run until its driver was killed."""
    if run is not None and run.graph is not None:
        _explained(run, run.graph, items, observed, complete=observed.results[-1][0] if observed.results else 0)
    return "its driver was killed"


def check_end(
    run: Run, error: MeshError | None, items: Sequence[bytes], observed: Observed, *, given_up: bool = False
) -> str:
    """How the run ended: ``done``, or for which good reason it failed; raises Violation."""
    graph, receipt = run.graph, run.receipt
    if given_up and graph is None:
        return CANCELLED
    if graph is None or receipt is None:
        raise Violation(f"the run did not begin: {error!r}")
    failures = [*observed.failures, *([(error.seq, error.node)] if isinstance(error, ItemError) else [])]
    ending, complete = _ending(run, graph, error, observed, len(items), given_up=given_up)
    countings = _explained(run, graph, items, Observed(observed.results, failures), complete=complete)
    if receipt["results_out"] != len(observed.results):
        raise Violation(f"{len(observed.results)} results came, the receipt has {receipt['results_out']}")
    if ending == "done":
        _check_sums(receipt, len(items), countings)
    return ending


def _explained(
    run: Run, graph: Graph, items: Sequence[bytes], observed: Observed, *, complete: int
) -> Sequence[set[str]]:
    """Raises Violation for what nothing explains; answers what each seq below ``complete`` may be counted as."""
    began = [epoch._resumption.first_seq for epoch in run._epochs]
    explanation = Explanation(graph, [encode(item) for item in items], began=began)
    if fault := explanation.fault(observed, complete=complete):
        raise Violation(fault)
    return explanation.countings


def _ending(
    run: Run, graph: Graph, error: MeshError | None, observed: Observed, items: int, *, given_up: bool
) -> tuple[str, int]:
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
        case RunError() if given_up and CANCELLED in str(error):
            return CANCELLED, begun
        case _:
            raise Violation(f"the run ended: {error!r}")


def _check_sums(receipt: dict[str, object], items: int, countings: Sequence[set[str]]) -> None:
    """The receipt adds up, and counts every seq as what came of it."""
    seqs, epochs = receipt["seqs"], receipt["epochs"]
    assert isinstance(seqs, dict)
    assert isinstance(epochs, list)
    counts = {**seqs, "dropped": receipt["dropped"]}
    if not receipt["items_in"] == sum(counts.values()) == items:
        raise Violation(f"{items} items went in; the receipt has {receipt['items_in']}, and {counts}")
    for word, count in counts.items():
        least, most = sum(each == {word} for each in countings), sum(word in each for each in countings)
        if not least <= count <= most:
            raise Violation(f"the receipt has {count} seqs {word}, and it was at least {least} and at most {most}")
    numbers = [each["epoch"] for each in epochs]
    if numbers != list(range(1, len(epochs) + 1)) or not all(each["reason"] for each in epochs):
        raise Violation(f"the receipt's epochs: {epochs}")


def held(peers: Iterable[Peer]) -> str:
    """What peers still hold of runs; empty if nothing."""
    return "; ".join(f"{peer.name} has {len(_sites(peer))} sites" for peer in peers if _sites(peer))
