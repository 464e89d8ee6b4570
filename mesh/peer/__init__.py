"""The public face of a peer."""

from mesh.peer.announce import Machine
from mesh.peer.peer import Peer, Planned
from mesh.peer.run import Run, RunResult

__all__ = ["Machine", "Peer", "Planned", "Run", "RunResult"]
