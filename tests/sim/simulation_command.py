"""The simulation as a command; ``run.py`` prepares the ground for it."""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median

from faults import FAULTS
from node_kinds import KINDS
from scenario import draw, read_faults, read_manifest
from simulated_mesh import Outcome, SimulatedMesh


def main() -> int:
    """Plays seeds until one fails, or all are through; answers the exit code."""
    options = _options()
    outcomes = Tally()
    for seed in _seeds(options):
        outcome = _play(options, seed)
        outcomes.add(outcome)
        if options.trace or outcome.violation:
            print("\n".join(outcome.trace))
        if outcome.violation:
            print(f"seed {seed}: {outcome.violation}\n  again: python tests/sim/run.py --seeds {seed}:1 --trace")
            if not options.keep_going:
                break
    outcomes.print()
    return bool(outcomes.failures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plays whole meshes under a virtual clock, with faults, from seeds.")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--seeds", metavar="FROM:COUNT", help="these seeds")
    length.add_argument("--minutes", type=float, help="seeds from the clock on, for so long")
    parser.add_argument("--graph", type=Path, metavar="MANIFEST.json", help="this pipeline, of imagined node types")
    parser.add_argument("--faults", type=Path, metavar="FAULTS.json", help="this schedule of faults")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--keep-going", action="store_true", help="play on after a failing seed")
    return parser.parse_args()


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    if options.seeds is not None:
        first, _, number = options.seeds.partition(":")
        yield from range(int(first), int(first) + int(number or 1))
        return
    until = time.monotonic() + 60 * options.minutes
    for seed in count(int(time.time()) * 1000):
        if time.monotonic() > until:
            return
        yield seed


def _play(options: argparse.Namespace, seed: int) -> Outcome:
    scenario = draw(seed)
    if options.graph is not None:
        scenario = replace(scenario, runs=(replace(scenario.runs[0], manifest=read_manifest(options.graph)),))
    if options.faults is not None:
        scenario = replace(scenario, faults=read_faults(options.faults))
    return SimulatedMesh(scenario, trace_length=1_000_000 if options.trace else 40).play()


class Tally:
    """What all seeds came to."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._hits: Counter[tuple[str, str]] = Counter()
        self._events: list[int] = []
        self._endings: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._began = time.process_time()

    def add(self, outcome: Outcome) -> None:
        self._hits += outcome.hits
        self._events.append(outcome.events)
        self._sums += outcome.sums
        self._endings.update(outcome.endings or ["broken"])
        if outcome.violation:
            self.failures.append(f"seed {outcome.scenario.seed}: {outcome.violation}")

    def print(self) -> None:
        width = max(map(len, FAULTS))
        print(f"\n{'hits':{width}} " + " ".join(f"{kind:>9.9}" for kind in KINDS))
        for fault in FAULTS:
            print(f"{fault:{width}} " + " ".join(f"{self._hits[fault, kind]:>9}" for kind in KINDS))
        used = time.process_time() - self._began
        print(
            f"\n{len(self._events)} seeds, {sum(self._events)} events (median {median(self._events):.0f} a seed), "
            f"{used:.0f} s of processor time"
        )
        print("of them: " + ", ".join(f"{count} {word}" for word, count in self._sums.items()))
        print("endings: " + ", ".join(f"{count} {ending}" for ending, count in self._endings.most_common()))
        print(f"{len(self.failures)} failures" + "".join(f"\n  {each}" for each in self.failures))
