"""Whole meshes under faults keep every promise; takes about 90 s of processor time."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, str(Path(__file__).parent / "run.py")]


@pytest.mark.slow
def test_no_seed_breaks_a_promise(capsys: pytest.CaptureFixture[str]) -> None:
    played = subprocess.run([*COMMAND, "--seeds", "0:300"], capture_output=True, text=True, timeout=900)
    with capsys.disabled():
        print("\n" + "\n".join(played.stdout.splitlines()[-4:]))
    assert played.returncode == 0, played.stdout + played.stderr


def test_a_seed_is_the_same_every_time() -> None:
    first, second = (
        subprocess.run([*COMMAND, "--seeds", "7:2", "--trace"], capture_output=True, text=True, timeout=120)
        for _ in range(2)
    )
    traces = [[line for line in each.stdout.splitlines() if "processor time" not in line] for each in (first, second)]
    assert traces[0] == traces[1]
    assert len(traces[0]) > 100
