"""Every trace of tests/vectors/run.json, step by step."""

import json
from pathlib import Path
from typing import Any

import pytest
from run_traces import Machine

TRACES = json.loads((Path(__file__).parent.parent / "vectors" / "run.json").read_text())


@pytest.mark.parametrize("trace", TRACES, ids=[trace["about"] for trace in TRACES])
def test_trace(trace: Any) -> None:
    machine = Machine(trace)
    for number, step in enumerate(trace["steps"]):
        expected = {name: value for name, value in step.items() if name != "event"}
        assert machine.apply(step["event"]) == expected, f"step {number}: {step['event']}"
    assert machine.counts() == trace["counts"]
