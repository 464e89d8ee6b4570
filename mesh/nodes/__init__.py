"""Nodes in Python: how to write one (``Node``, ``@node``, ``SKIP``), the built-in ones, and the registry of both.

Imports in Pyodide: nothing here needs more than the standard library and msgpack.
"""

from mesh.nodes.base import SKIP, Node, node
from mesh.nodes.describe import bind, spec_of
from mesh.nodes.registry import Registry
from mesh.nodes.spec import NodeSpec, Param

__all__ = ["SKIP", "Node", "NodeSpec", "Param", "Registry", "bind", "node", "spec_of"]
