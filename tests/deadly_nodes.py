"""A node that kills the worker that it runs on: poison."""

import os
import signal
from pathlib import Path
from typing import Final

from mesh.nodes import node

DEADLY: Final = 1030


@node
def kills(value: int) -> int:
    """Doubles any other number."""
    if value == DEADLY:
        pid = os.getppid()
        while b"\0--join\0" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            pid = _parent(pid)
        os.kill(pid, signal.SIGKILL)
    return 2 * value


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
