"""Finding a good placement: several starts, then moves of one or two nodes while they help. Deterministic."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from mesh.partitioner.latency import DRIVER_END, Choice, Problem, Seat, latency_ms

SEARCH_SEATS: Final = 12  # places tried for each node, the cheapest by themselves and the driver's
SEARCH_STARTS: Final = 12  # peers tried as the home of everything
SEARCH_STEPS: Final = 100_000  # simulated nodes in one search

type Worth = tuple[float, int, int]  # lower is better: ms with the preferences missed, wires between peers, nodes away


def worth(problem: Problem, choice: Choice) -> Worth:
    """What a placement is judged by: its latency, and among equals the fewest hops, nearest to the driver."""
    missed = sum(seat.missed_ms for seat in choice)
    hops = sum(problem.place(choice, wire.source) != problem.place(choice, wire.target) for wire in problem.wires)
    away = sum(seat.peer != problem.driver for seat in choice)
    return round(latency_ms(problem, choice) + missed, 6), hops, away


def search(problem: Problem) -> tuple[Seat, ...]:
    """The best placement found. Every node has at least one seat."""
    seats = [_shortlist(problem, node) for node in range(len(problem.nodes))]
    budget = max(1, SEARCH_STEPS // max(1, len(problem.nodes)))
    ranked = sorted((worth(problem, start), index, start) for index, start in enumerate(_starts(problem, seats)))
    best, choice = ranked[0][0], ranked[0][2]
    for _, _, start in ranked[:3]:
        found, improved, budget = _improve(problem, seats, start, budget)
        if found < best:
            best, choice = found, improved
    return tuple(choice)


def _shortlist(problem: Problem, node: int) -> list[Seat]:
    """The seats worth trying, the driver's and the cheapest first."""
    ranked = sorted(
        problem.seats[node],
        key=lambda seat: (seat.peer != problem.driver, seat.own_ms),
    )
    return ranked[:SEARCH_SEATS]


def _starts(problem: Problem, seats: Sequence[Sequence[Seat]]) -> Iterator[list[Seat]]:
    """Earliest finish for each node in turn; then, for each peer, as much as fits there and the rest likewise."""
    yield _greedy(problem, seats, None)
    fits = Counter(peer for each in seats for peer in {seat.peer for seat in each})
    for peer in sorted(fits, key=lambda peer: (peer != problem.driver, -fits[peer], peer))[:SEARCH_STARTS]:
        yield _greedy(problem, seats, peer)


def _greedy(problem: Problem, seats: Sequence[Sequence[Seat]], favoured: int | None) -> list[Seat]:
    """Each node in topological order where it ends first, as HEFT does; at ``favoured`` whenever it fits there."""
    choice: list[Seat] = []
    ends: list[float] = []

    def end(node: int, seat: Seat) -> tuple[float, bool]:
        arrivals = [seat.startup_ms]
        for wire in problem.incoming[node]:
            moved = sum(problem.hop(problem.place(choice, wire.source), seat.peer, wire.bytes))
            arrivals.append(moved + (0.0 if wire.source == DRIVER_END else ends[wire.source]))
        return max(arrivals) + seat.busy_ms + seat.missed_ms, seat.peer != problem.driver

    for node, options in enumerate(seats):
        home = [seat for seat in options if seat.peer == favoured]
        seat = min(home or options, key=lambda seat: end(node, seat))
        ends.append(end(node, seat)[0])
        choice.append(seat)
    return choice


def _improve(
    problem: Problem, seats: Sequence[Sequence[Seat]], start: list[Seat], budget: int
) -> tuple[Worth, list[Seat], int]:
    """Takes every move that is better, until none is; answers also what is left of the budget."""
    choice, best = list(start), worth(problem, start)
    moves = list(_moves(problem, seats))
    since = 0  # moves tried without success: a whole round of them is the end
    while since < len(moves) and budget > 0:
        for move in moves:
            if since == len(moves) or budget <= 0:
                break
            before = [(node, choice[node]) for node, _ in move]
            since, budget = since + 1, budget - 1
            for node, seat in move:
                choice[node] = seat
            found = worth(problem, choice)
            if found < best:
                best, since = found, 0
                continue
            for node, seat in before:
                choice[node] = seat
    return best, choice, budget


def _moves(problem: Problem, seats: Sequence[Sequence[Seat]]) -> Iterator[list[tuple[int, Seat]]]:
    """One node to another seat; then two neighbours together to one peer, where moving either alone would not pay."""
    for node, options in enumerate(seats):
        for seat in options:
            yield [(node, seat)]
    for wire in problem.wires:
        if DRIVER_END in (wire.source, wire.target):
            continue
        for seat in seats[wire.source]:
            for other in seats[wire.target]:
                if other.peer == seat.peer:
                    yield [(wire.source, seat), (wire.target, other)]
