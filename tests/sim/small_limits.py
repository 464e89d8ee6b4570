"""Limits so small that every run of a few seconds meets them."""

from typing import Final

import mesh.limits

SMALL: Final = {
    "MAX_FRAME_BYTES": 2048,
    "LANE_HIGH_WATER_BYTES": 8192,
    "SESSION_WINDOW_BYTES": 2048,
    "ACK_EVERY_BYTES": 512,
    "EDGE_CREDIT_BYTES": 600,
    "CREDIT_EVERY_BYTES": 150,
    "RUN_WINDOW_SEQS": 12,
    "SNAPSHOT_EVERY": 3,
    "CHECKPOINT_EVERY": 4,
}


def shrink_limits() -> None:
    """Must come before any other module of the program is imported, since modules copy the limits that they use."""
    for name, value in SMALL.items():
        assert hasattr(mesh.limits, name), name
        setattr(mesh.limits, name, value)
