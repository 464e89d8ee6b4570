"""Whole meshes under a virtual clock, with faults: ``python tests/sim/run.py --seeds FROM:COUNT`` (docs/testing.md)."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
HASH_SEED = "0"  # the order of sets of text is a part of what a seed stands for

if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.path[1:1] = [str(HERE.parent / "run" / "sim"), os.environ.get("MESH_SOURCES", str(HERE.parent.parent))]

    from small_limits import shrink_limits

    shrink_limits()

    from simulation_command import main

    sys.exit(main())
