"""The fixtures that test files of several folders share."""

from collections.abc import Iterator

import pytest
from processes import Room


@pytest.fixture
def room() -> Iterator[Room]:
    made = Room()
    try:
        yield made
    finally:
        made.close()
