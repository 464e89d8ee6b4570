"""A run whose input stays open ends when it must, not when the next line comes."""

import json
import subprocess
import sys
from pathlib import Path

from processes import ROOT


def test_an_item_error_ends_a_run_that_waits_for_its_next_item(tmp_path: Path) -> None:
    path = tmp_path / "fail.json"
    node = {"id": "f", "node_type": "Fail", "params": {"value": 2, "message": "two"}}
    path.write_text(json.dumps({"version": "v1", "nodes": [node], "connections": []}))
    command = [sys.executable, "-m", "mesh", "run", str(path), "--items", "-"]
    run = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert run.stdin is not None
    assert run.stdout is not None
    assert run.stderr is not None
    with run.stdin, run.stdout, run.stderr:
        run.stdin.write("1\n2\n")
        run.stdin.flush()
        assert run.wait(timeout=30) == 1
        assert run.stdout.read() == "1\n"
        assert "two" in run.stderr.read()
