"""The signaling server as a peer sees it: the registry of its room, relays, plans (docs/wire.md, 6)."""

from mesh.transport.signaling.client import SignalingClient
from mesh.transport.signaling.registry import SOCKET_CLOSED

__all__ = ["SOCKET_CLOSED", "SignalingClient"]
