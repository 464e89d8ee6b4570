"""Who runs which node, and why: pure functions from a graph and a room to a plan."""

from mesh.partitioner.reasons import explain
from mesh.partitioner.service import answer_plan

__all__ = ["answer_plan", "explain"]
