"""Which items may be what peers die of (the poison rule).

Every seq that may have been in a call on a peer when it died is a suspect: nobody knows better, and the others are not
to be blamed. In the next epoch the suspects go out alone: each when everything below it is through, and nothing above
it before it is through itself. Only a death while a suspect is alone on its way counts against it, and
POISON_DEATHS of them condemn it: from then on it goes out as failed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.ids import NodeId, PeerId
from mesh.limits import POISON_DEATHS
from mesh.run.outcome import Failure
from mesh.run.placement import Placement


@dataclass(frozen=True, slots=True)
class Death:
    """Of a peer, called ``name``. Its node ``n`` is known to have ended every seq of its own below ``reached[n]``."""

    peer: PeerId
    name: str
    reached: Mapping[NodeId, int]


class Suspects:
    """``order`` are the nodes in the order of the graph."""

    def __init__(self, order: Sequence[NodeId]) -> None:
        self._order = order
        self._seqs: set[int] = set()
        self._counted: dict[int, list[tuple[str, list[NodeId]]]] = {}  # the deaths while alone: who, in which nodes
        self.condemned: dict[int, Failure] = {}  # its peer is the last that died of it

    def may_go(self, seq: int, *, through: int) -> bool:
        """Whether the next seq may go out, while all below ``through`` are through."""
        if not self._seqs:
            return True
        self._seqs = {each for each in self._seqs if each >= through}
        first = min(self._seqs, default=seq + 1)
        return seq < first or seq == first == through

    def died(self, deaths: Sequence[Death], under_way: Sequence[int], placement: Placement) -> None:
        """Peers died while these seqs were under way; those that may have been in a call there are suspects."""
        alone = len(under_way) == 1 and under_way[0] in self._seqs
        for death in deaths:
            for seq in under_way:
                nodes = _nodes(death, seq, placement)
                if nodes and alone:
                    self._count(seq, death.name, nodes)
                    return
                if nodes:
                    self._seqs.add(seq)

    def _count(self, seq: int, name: str, nodes: list[NodeId]) -> None:
        counted = self._counted.setdefault(seq, [])
        counted.append((name, nodes))
        if len(counted) < POISON_DEATHS:
            return
        blamed = set.intersection(*(set(each) for _, each in counted)) or set(nodes)
        common = [each for each in self._order if each in blamed]
        cause = f"peers were lost while it was alone in {' or '.join(common)}: {', '.join(each for each, _ in counted)}"
        self.condemned[seq] = Failure(seq, common[0], "killed", cause, name)
        self._seqs.discard(seq)


def _nodes(death: Death, seq: int, placement: Placement) -> list[NodeId]:
    """Where a seq may have been in a call on a peer that died."""
    return [
        seat.node
        for seat in placement.seats(death.peer)
        if seat.first(seq) == seq and seq >= death.reached.get(seat.node, 0)
    ]
