"""What has to be so before any module of the program is imported."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
HASH_SEED = "0"  # the order of sets of text is a part of what a seed stands for


def prepare() -> None:
    """Small limits, sources from MESH_SOURCES or here, and an order of sets that is always the same."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, *sys.argv])
    sys.path[1:1] = [
        str(HERE.parent / "run"),
        str(HERE.parent / "run" / "sim"),
        os.environ.get("MESH_SOURCES", str(HERE.parent.parent)),
    ]

    from small_limits import shrink_limits

    shrink_limits()
