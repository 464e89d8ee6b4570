"""The fixtures that test files of several folders share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Room


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Its signaling server can be killed and restarted."""
    made = Room("--state", tmp_path / "state")
    try:
        yield made
    finally:
        made.close()
