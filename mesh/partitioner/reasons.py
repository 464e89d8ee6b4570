"""Why each node is where it is: each peer considered, and what it would cost or lacks. As data and as text."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from mesh.errors import NoPlanError
from mesh.ids import NodeId
from mesh.partitioner.costs import APART_MS
from mesh.partitioner.latency import Choice, Problem, Seat, latency_ms
from mesh.partitioner.peers import Peer

WHAT_IF_STEPS: Final = 100_000  # simulated nodes in one explanation; seats beyond have their own terms only
CANDIDATES: Final = 64  # listed for one node
ROWS: Final = 4096  # listed in all, in a large graph

type Why = dict[NodeId, list[dict[str, Any]]]


def candidates(
    problem: Problem,
    choice: Choice,
    peers: Sequence[Peer],
    missing: Mapping[NodeId, Sequence[Sequence[str]]],
    pins: Mapping[str, str],
) -> Why:
    """``why`` of a plan: for each node the chosen seat, the next best by what the whole would take, the refusals."""
    what_if = _WhatIf(problem, choice)
    rows = max(2, min(CANDIDATES, ROWS // max(1, len(problem.nodes))))
    why: Why = {}
    for node, name in enumerate(problem.nodes):
        fitting = _fitting(what_if, node, peers, pins.get(name), rows)
        why[name] = [*fitting, *islice(_refused(peers, missing[name]), rows - len(fitting))]
    return why


class _WhatIf:
    """The whole item's time with one node elsewhere, as long as the budget lasts."""

    def __init__(self, problem: Problem, choice: Choice) -> None:
        self.problem, self.choice = problem, choice
        self.now_ms = round(latency_ms(problem, choice), 3)
        self._left = WHAT_IF_STEPS

    def ms(self, node: int, seat: Seat) -> float | None:
        if seat is self.choice[node]:
            return self.now_ms
        if self._left <= 0:
            return None
        self._left -= len(self.problem.nodes)
        return round(latency_ms(self.problem, self._moved(node, seat)), 3)

    def terms(self, node: int, seat: Seat) -> dict[str, float]:
        """What the node itself costs on a seat (ms): queue, transfer in and out, compute, startup."""
        moved = self._moved(node, seat)
        wires = (*self.problem.incoming[node], *self.problem.outgoing[node])
        terms = {
            "queue": seat.queue_ms,
            "transfer": sum(sum(self.problem.transfer(moved, wire)) for wire in wires),
            "compute": seat.compute_ms,
            "startup": seat.startup_ms,
        }
        return {name: round(ms, 3) for name, ms in terms.items()}

    def _moved(self, node: int, seat: Seat) -> list[Seat]:
        return [*self.choice[:node], seat, *self.choice[node + 1 :]]


def _fitting(what_if: _WhatIf, node: int, peers: Sequence[Peer], pin: str | None, limit: int) -> list[dict[str, Any]]:
    chosen = what_if.choice[node]
    nearest = sorted(what_if.problem.seats[node], key=lambda seat: (seat is not chosen, seat.own_ms))[:limit]
    timed = [(seat, what_if.ms(node, seat)) for seat in nearest]
    timed.sort(key=lambda entry: (entry[0] is not chosen, entry[1] is None, entry[1] or 0.0))
    rows = []
    for seat, ms in timed:
        peer = peers[seat.peer]
        reason = _why_chosen(what_if, peers, timed, pin) if seat is chosen else _why_not(what_if, chosen, seat, ms)
        if ms is not None and ms >= APART_MS:
            ms, reason = None, "cannot reach the peers of its neighbours"
        rows.append(
            {
                "peer": peer.id,
                "name": peer.name,
                "runtime": seat.runtime,
                "chosen": seat is chosen,
                "ms": ms,
                "terms": what_if.terms(node, seat),
                "lacks": [],
                "reason": reason,
            }
        )
    return rows


def _why_chosen(
    what_if: _WhatIf, peers: Sequence[Peer], timed: Sequence[tuple[Seat, float | None]], pin: str | None
) -> str:
    if pin is not None:
        return f"pinned to {pin}"
    if len(timed) == 1:
        return "the only one that fits"
    seat, ms = timed[1]
    place = f"{peers[seat.peer].name} ({seat.runtime})"
    if ms is None or seat.missed_ms > timed[0][0].missed_ms:
        return f"fits better than {place}"
    if ms <= what_if.now_ms:
        return f"as fast as on {place}, with fewer hops or nearer to the driver"
    return f"the whole takes {_ms(ms - what_if.now_ms)} less than with {place}"


def _why_not(what_if: _WhatIf, chosen: Seat, seat: Seat, ms: float | None) -> str:
    if seat.missed_ms > chosen.missed_ms:
        return "misses what the node prefers"
    if ms is None:
        return "not compared: too many nodes"
    if ms <= what_if.now_ms:
        return "no faster, with more hops or farther from the driver"
    slower = f"the whole would take {_ms(ms - what_if.now_ms)} more"
    return f"{slower}: Pyodide is not loaded there" if seat.startup_ms > chosen.startup_ms else slower


def _refused(peers: Sequence[Peer], missing: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    for peer, lacks in zip(peers, missing, strict=True):
        if lacks:
            yield {
                "peer": peer.id,
                "name": peer.name,
                "runtime": None,
                "chosen": False,
                "ms": None,
                "terms": {},
                "lacks": list(lacks),
                "reason": "cannot",
            }


def _ms(value: float) -> str:
    return f"{value:.3g} ms" if value < 1e4 else f"{value / 1e3:.3g} s"


def explain(plan: Mapping[str, Any], node: str | None = None) -> str:
    """One line for each node: where it runs, its own time, and why. With ``node``, every candidate of that one."""
    why: Mapping[str, Sequence[Mapping[str, Any]]] = plan["why"]
    if node is not None:
        if node not in why:
            raise NoPlanError(f"the plan has no node {node!r}; it has {', '.join(map(repr, why))}")
        return _table([_candidate(each) for each in why[node]])
    rows = [_placed(name, each) for name, options in why.items() for each in options if each["chosen"]]
    return f"{_table(rows)}\none item is expected to take {plan['latency_ms']:.3g} ms"


def _placed(node: str, chosen: Mapping[str, Any]) -> tuple[str, ...]:
    terms = chosen["terms"]
    own = terms["queue"] + terms["compute"]
    return node, f"{chosen['name']} ({chosen['runtime']})", f"{own:.3g} ms", f"because {chosen['reason']}"


def _candidate(each: Mapping[str, Any]) -> tuple[str, ...]:
    mark = "*" if each["chosen"] else " "
    if each["lacks"]:
        return mark, each["name"], "cannot", "; ".join(each["lacks"])
    whole = "" if each["ms"] is None else f"{each['ms']:.3g} ms"
    terms = ", ".join(f"{name} {ms:.3g}" for name, ms in each["terms"].items() if ms)
    return (
        mark,
        f"{each['name']} ({each['runtime']})",
        whole,
        f"{each['reason']} ({terms})" if terms else each["reason"],
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
