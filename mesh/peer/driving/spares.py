"""Whom a run may need later: a link to them, made while the signaling server is there, outlives its absence."""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain, islice, zip_longest
from typing import Any

from mesh.ids import NodeId, PeerId
from mesh.limits import MAX_SPARE_LINKS


def spares(why: Mapping[NodeId, Sequence[Mapping[str, Any]]], *, workers: Collection[PeerId]) -> list[PeerId]:
    """Peers that fit a node of a plan (its ``why``) and are no workers: every node's best first, MAX_SPARE_LINKS."""
    fitting = [
        [PeerId(each["peer"]) for each in candidates if not each["lacks"] and each["peer"] not in workers]
        for candidates in why.values()
    ]
    by_rank = (peer for peer in chain.from_iterable(zip_longest(*fitting)) if peer is not None)
    return list(islice(dict.fromkeys(by_rank), MAX_SPARE_LINKS))
