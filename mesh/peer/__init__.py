"""The public face of a peer."""

from mesh.peer.announce import Machine
from mesh.peer.driving.items import RunResult
from mesh.peer.driving.run import Run
from mesh.peer.peer import Peer, Planned

__all__ = ["Machine", "Peer", "Planned", "Run", "RunResult"]
