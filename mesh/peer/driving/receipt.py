"""What a run says of itself: its receipt (the contract's form), and the line on the dashboard (docs/wire.md, 6)."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from mesh.errors import ItemError
from mesh.ids import NodeId, PeerId, RunId
from mesh.manifest.graph import Graph
from mesh.peer.driving.epoch import Epoch
from mesh.peer.host import summaries
from mesh.protocol import messages
from mesh.run.outcome import Counts

type Told = Mapping[tuple[PeerId, int], messages.Times]  # by worker, and the epoch since which it counts


def summary(
    run: RunId,
    name: str,
    state: str,
    *,
    epochs: Sequence[Epoch],
    counts: Counts,
    stats: Told,
    errors: int,
    reason: str,
) -> dict[str, Any]:
    """``run`` of a report; ``reason``: why the run failed, or stands still."""
    return {
        "id": run,
        "name": name,
        "state": state,
        "items_in": counts.items_in,
        "results_out": counts.results_out,
        "errors": errors,
        "placement": epochs[-1].seats() if epochs else {},
        "node_ms": _node_ms(epochs, stats),
        **({"reason": reason} if reason else {}),
    }


def _node_ms(epochs: Sequence[Epoch], stats: Told) -> dict[NodeId, Any]:
    """Times of each node's calls, here and on the workers that told theirs.

    Of a node that moved, the calls of all its places are counted; the percentiles are those of the place with the most.
    """
    told: dict[NodeId, list[Any]] = defaultdict(list)
    for nodes in (*(nodes for _, nodes, _ in stats.values()), summaries(epochs[-1].site.host.times) if epochs else {}):
        for node, times in nodes.items():
            told[node].append(times)
    return {
        node: {**max(each, key=itemgetter("count")), "count": sum(times["count"] for times in each)}
        for node, each in told.items()
    }


def _link_bytes(epochs: Sequence[Epoch], stats: Told) -> dict[str, int]:
    """What the driver sent in all epochs, and what the workers told that they did."""
    names = {peer: name for epoch in epochs for peer, name in epoch.names.items()}
    links = Counter(epochs[-1].site.link_bytes(names) if epochs else {})
    for _, _, sent in stats.values():
        links.update(sent)
    return dict(links)


def write_receipt(
    run: RunId,
    status: str,
    *,
    graph: Graph | None,
    epochs: Sequence[Epoch],
    counts: Counts,
    stats: Told,
    moves: Sequence[Mapping[str, Any]],
    failures: Sequence[ItemError],
    error: Exception | None,
) -> dict[str, Any]:
    """The contract's form, and ``dropped``, ``moves``, ``errors`` and perhaps ``reason``."""
    return {
        "run_id": run,
        "status": status,
        "items_in": counts.items_in,
        "results_out": counts.results_out,
        "seqs": {"done": counts.done, "filtered": counts.filtered, "failed": counts.failed},
        "dropped": counts.dropped,
        "cancelled": counts.cancelled,
        "replayed": counts.replayed,
        "duplicates_dropped": counts.duplicates_dropped,
        "epochs": [{"epoch": each.number, "reason": each.reason, "placement": each.began} for each in epochs],
        "moves": list(moves),
        "execution_order": list(graph.order) if graph else [],
        "node_ms": _node_ms(epochs, stats),
        "link_bytes": _link_bytes(epochs, stats),
        "errors": [{"seq": each.seq, "node": each.node, "peer": each.peer, "cause": each.cause} for each in failures],
        **({"reason": str(error)} if error else {}),
    }
