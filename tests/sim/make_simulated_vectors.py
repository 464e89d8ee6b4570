"""Writes tests/vectors/simulated.json: what engines were asked in simulated runs, and what they answered.

.venv/bin/python tests/sim/make_simulated_vectors.py     # --check: plays the file instead, on the engines as they are
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ground import prepare

type Json = Any

PATH: Final = Path(__file__).parent.parent / "vectors" / "simulated.json"
SEEDS: Final = (19, 36, 49, 78, 119)  # with losses, moves, replicas, checkpoints and edges that drop
ITEMS: Final = 12  # of four bytes, to keep the file small
UNTIL_S: Final = 1.5  # in which the faults begin


def main() -> int:
    if "--check" in sys.argv:
        return _check(json.loads(PATH.read_text()))
    PATH.write_text(_dumps(_recorded()))
    return 0


def _recorded() -> Json:
    from recording import Recorder
    from scenario import draw
    from simulated_mesh import SimulatedMesh
    from small_limits import SMALL

    runs: list[Json] = []
    sessions: list[Json] = []
    for seed in SEEDS:
        scenario = draw(seed)
        pipelines = [replace(each, items=tuple(item[:4] for item in each.items[:ITEMS])) for each in scenario.runs]
        faults = [replace(each, at=each.at % UNTIL_S) for each in scenario.faults]
        recorder = Recorder(f"seed {seed}")
        with recorder.installed():
            short = replace(scenario, runs=tuple(pipelines), faults=tuple(faults))
            outcome = SimulatedMesh(short, trace_length=0).play()
        if outcome.violation:
            raise SystemExit(f"seed {seed}: {outcome.violation}")
        runs += [{**trace, "counts": list(_replies(trace))[-1]} for trace in recorder.runs if trace["steps"]]
        sessions += [each for each in recorder.sessions if any("resume" in step for step in each["steps"])]
    return {"limits": SMALL, "runs": runs, "sessions": sessions}


def _replies(trace: Json) -> Iterator[Json]:
    """What an engine makes of the events of a trace, and what it has counted then."""
    from run_traces import Machine

    machine = Machine(trace)
    for step in trace["steps"]:
        yield {"event": step["event"], **machine.apply(step["event"])}
    yield machine.counts()


def _check(vectors: Json) -> int:
    """How many traces the engines do not follow."""
    from recording import replayed

    wrong = [trace["about"] for trace in vectors["runs"] if [*trace["steps"], trace["counts"]] != list(_replies(trace))]
    wrong += [each["name"] for each in vectors["sessions"] if replayed(each) != each["steps"]]
    for about in wrong:
        print(f"not as in the trace: {about}")
    return len(wrong)


def _dumps(vectors: Json) -> str:
    """A line for each step."""
    compact = json.JSONEncoder(separators=(",", ":")).encode
    lines = []
    for traces in (vectors["runs"], vectors["sessions"]):
        written = []
        for trace in traces:
            header = {name: value for name, value in trace.items() if name != "steps"}
            steps = ",\n".join(map(compact, trace["steps"]))
            written.append(f'{compact(header)[:-1]},"steps":[\n{steps}]}}')
        lines.append("[\n" + ",\n".join(written) + "]")
    return f'{{"limits":{compact(vectors["limits"])},\n"runs":{lines[0]},\n"sessions":{lines[1]}}}\n'


if __name__ == "__main__":
    prepare()
    sys.exit(main())
