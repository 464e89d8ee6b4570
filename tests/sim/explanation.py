"""What a run has given, explained: is there, for every seq, one epoch in which just that comes out?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product

from reference_run import Expected, Reference

from mesh.manifest.graph import Graph


@dataclass(frozen=True)
class Observed:
    """All that the application got: results as (seq, part, payload), failures as (seq, node)."""

    results: list[tuple[int, int, bytes]]
    failures: list[tuple[int, str]]


class Explanation:
    """Evaluates the graph seq by seq, in every epoch that there was; ``fault`` says what nothing explains.

    ``countings`` then has, for each complete seq, all that the receipt may count it as.

    ``began``: the first seq of each epoch. An epoch goes on from the states of one before it, so there may be several
    histories; they are followed all at once. Where everything is deterministic all epochs are the same, and only one is
    looked at. Where edges drop, every choice of edges that drop a seq is looked at; nothing there has a state.
    """

    def __init__(self, graph: Graph, items: Sequence[bytes], *, began: Sequence[int]) -> None:
        differs = any(not node.deterministic for node in graph.nodes)
        self._items = items
        self._began = began if differs else (0,)
        self._histories: list[dict[object, Reference]] = [{} for _ in self._began]
        first = Reference(graph)
        self._histories[0][first.future] = first
        dropping = [edge for edge in graph.edges if edge.overflow != "block"]
        self._drops = list(chain(*(combinations(dropping, count) for count in range(len(dropping) + 1))))
        self.countings: list[set[str]] = []

    def fault(self, observed: Observed, *, complete: int) -> str:
        """The seqs below ``complete`` gave all that they give; the next one may have begun, and those above not."""
        results: dict[int, list[tuple[int, bytes]]] = {}
        for seq, part, payload in observed.results:
            results.setdefault(seq, []).append((part, payload))
        for seq in range(complete + (complete in results)):
            nodes = {node for each, node in observed.failures if each == seq}
            fault = self._step(seq, results.get(seq, []), nodes, begun=seq == complete)
            if fault:
                return fault
        beyond = [seq for seq in results if seq > complete]
        return f"results of seq {beyond[0]} came before all of seq {complete}" if beyond else ""

    def _step(self, seq: int, results: list[tuple[int, bytes]], nodes: set[str], *, begun: bool) -> str:
        explained, possible = set[str](), []
        for tried in self._evaluate(seq):
            expected = [(part, payload) for _, part, payload in tried.expected.results]
            failed = {node for _, node in tried.expected.failures}
            possible.append(f"{len(expected)} parts, failures of {sorted(failed)}")
            same = (expected[: len(results)] if begun else expected) == results and nodes <= failed
            if same and (begun or bool(nodes) == bool(failed)):
                explained.add(_counting(tried.expected))
        if not begun and seq < len(self._items):
            self.countings.append(explained)
        given = f"{len(results)} parts, failures of {sorted(nodes)}"
        return "" if explained else f"seq {seq} gave {given}; what it might give: {'; '.join(possible)}"

    def _evaluate(self, seq: int) -> list[Reference]:
        """The seq, in each epoch and after each history; these become the histories of the next one."""
        final = seq == len(self._items)
        tried = []
        for number, began in enumerate(self._began):
            if began == seq:
                for earlier in self._histories[:number]:
                    self._histories[number] |= earlier
            for before, drops in product(self._histories[number].values(), self._drops):
                history = before.on(number + 1)
                history.seq(seq, None if final else self._items[seq], final=final, drops=drops)
                tried.append(history)
        self._histories = [
            {each.future: each for each in tried if each.epoch == number + 1} for number in range(len(self._began))
        ]
        return tried


def _counting(expected: Expected) -> str:
    """As what the receipt counts the one seq that is expected; empty: it is that of finish, which is not counted."""
    return next((each for each in ("done", "filtered", "failed", "dropped") if getattr(expected, each)), "")
