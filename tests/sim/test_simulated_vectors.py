"""Every trace of tests/vectors/simulated.json, step by step."""

import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, str(Path(__file__).parent / "make_simulated_vectors.py"), "--check"]


def test_engines_do_as_they_did_in_simulated_runs() -> None:
    played = subprocess.run(COMMAND, capture_output=True, text=True, timeout=120)
    assert played.returncode == 0, played.stdout + played.stderr
