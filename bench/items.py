"""Items to another process and back: our link and runs beside the bare channel, and beside what else one would take.

    python bench/items.py --rounds 5

Everything is on loopback, each end in a process of its own; one round measures all systems, one after the other, in
processes that are new. The table has the medians of the rounds. The ratios are to the bare channel of the same engine
in the same round, and again the medians are shown. Other systems are installed into a virtual environment of their own
(build/bench-venv); what cannot be is left out, and the output says so.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Final

from echoes import OURS, Echo
from others import OTHERS
from venv_of_others import VENV, install

SYSTEMS: Final[dict[str, Callable[[], Echo]]] = {**OURS, **OTHERS}
SMALL, ITEM, LARGE = 64, 1024, 1024 * 1024
IN_FLIGHT: Final = 32  # items of ITEM bytes
LARGE_IN_FLIGHT: Final = 4
PATIENCE_S: Final = 120.0
QUICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Round:
    """One system in one round."""

    first_ms: float  # from connecting, or joining, to the first item back
    p50_ms: float  # of SMALL items, one at a time
    p95_ms: float
    items_per_s: float
    mb_per_s: float  # of items; each goes there and comes back, and counts once
    cpu_ms_per_mb: float  # of LARGE items, all processes together


async def measure(echo: Echo, seconds: float) -> Round:
    await echo.prepare()
    began = time.perf_counter()
    await echo.connect()
    await echo.echo(bytes(SMALL))
    first_ms = (time.perf_counter() - began) * 1e3
    await rate(echo, ITEM, IN_FLIGHT, seconds / 4)  # to warm up
    times = await round_trips(echo, seconds)
    items = await rate(echo, ITEM, IN_FLIGHT, seconds)
    await rate(echo, LARGE, LARGE_IN_FLIGHT, seconds / 4)
    cpu, began = cpu_s(), time.perf_counter()
    large = await rate(echo, LARGE, LARGE_IN_FLIGHT, seconds)
    mb = large * (time.perf_counter() - began) * LARGE / 1e6
    cpu = cpu_s() - cpu
    await echo.close()
    p95 = times[int(len(times) * 0.95)]
    return Round(first_ms, statistics.median(times), p95, items, large * LARGE / 1e6, cpu * 1e3 / mb)


async def round_trips(echo: Echo, seconds: float) -> list[float]:
    """Milliseconds of each, sorted."""
    times = []
    item = os.urandom(SMALL)
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await echo.echo(item)
        times.append((time.perf_counter() - began) * 1e3)
    return sorted(times)


async def rate(echo: Echo, size: int, in_flight: int, seconds: float) -> float:
    """Items a second."""
    item = os.urandom(size)
    count = 0

    async def one_after_the_other() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await echo.echo(item)
            count += 1

    began = time.perf_counter()
    end = began + seconds
    await asyncio.gather(*(one_after_the_other() for _ in range(in_flight)))
    return count / (time.perf_counter() - began)


def cpu_s() -> float:
    """CPU time that this process and all its descendants have taken."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = path.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(path.parent.name)
        parents[pid], ticks[pid] = int(stat[1]), int(stat[11]) + int(stat[12])
    me = os.getpid()

    def is_mine(pid: int) -> bool:
        return pid == me or (pid in parents and is_mine(parents[pid]))

    return sum(ticks[pid] for pid in ticks if is_mine(pid)) / os.sysconf("SC_CLK_TCK")


def measure_apart(system: str, seconds: float, python: str) -> Round | str:
    """In a new process, whose own children are the other end; text says what went wrong."""
    command = [python, __file__, "--only", system, "--seconds", str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return f"it did not finish within {PATIENCE_S:.0f} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return Round(**json.loads(done.stdout.splitlines()[-1]))


def medians(rounds: list[tuple[float, ...]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def bare(system: str) -> str:
    """The system that this one is compared with: the channel of its engine, where it has one."""
    return f"{system.split()[0]} channel"


COLUMNS: Final = ("first ms", "p50 ms", "p95 ms", "items/s", "MB/s", "CPU ms/MB")


def print_table(done: dict[str, list[Round]]) -> None:
    print(f"\n{'medians':20}" + "".join(f"{name:>11}" for name in COLUMNS))
    for system, rounds in done.items():
        numbers = medians([astuple(each) for each in rounds])
        print(f"{system:20}" + "".join(f"{number:>11.{2 if number < 100 else 0}f}" for number in numbers))
    print(f"\n{'to the bare channel':20}" + "".join(f"{name.split()[0]:>11}" for name in COLUMNS))
    for system, rounds in done.items():
        if bare(system) in done and bare(system) != system:
            pairs = zip(rounds, done[bare(system)], strict=True)
            ratios = [tuple(a / b for a, b in zip(astuple(x), astuple(y), strict=True)) for x, y in pairs]
            print(f"{system:20}" + "".join(f"{number:>11.2f}" for number in medians(ratios)))


def compare(systems: list[str], rounds: int, seconds: float) -> None:
    done: defaultdict[str, list[Round]] = defaultdict(list)
    pythons: dict[str, str] = {}
    for system in systems:
        needs = SYSTEMS[system]().needs
        fault = install(needs)
        if fault:
            print(f"{system} is left out: {fault}", flush=True)
        else:
            pythons[system] = str(VENV / "bin" / "python") if needs else sys.executable
    for number in range(rounds):
        for system, python in tuple(pythons.items()):
            figures = measure_apart(system, seconds, python)
            if isinstance(figures, Round):
                done[system].append(figures)
            else:
                print(f"{system}, round {number + 1}: {figures}", flush=True)
                done.pop(system, None)
                del pythons[system]  # ratios are of whole rounds
    print(f"{rounds} rounds; load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print_table(done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="one round of short measurements")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="SYSTEM")
    parser.add_argument("--only", choices=SYSTEMS, help="measure one system, here, and print its figures as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(asdict(asyncio.run(measure(SYSTEMS[options.only](), options.seconds)))))
    elif options.quick:
        compare(options.systems, 1, QUICK_S)
    else:
        compare(options.systems, options.rounds, options.seconds)


if __name__ == "__main__":
    main()
