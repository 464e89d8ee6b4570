"""RemoteMedia Mesh: pipelines across browsers and Python servers, over WebRTC.

The public names load on first use, so that ``mesh.nodes``, ``mesh.values`` and ``mesh.manifest`` import in Pyodide,
where there is no aiortc and no wasmtime.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh.peer import Peer as Peer

__version__ = "0.1.0"
__all__ = ["Peer", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Peer":
        from mesh.peer import Peer

        return Peer
    raise AttributeError(f"module 'mesh' has no attribute {name!r}")
