"""What a pipeline is: its manifest read, checked and compiled."""

from mesh.manifest.compile import compile_graph
from mesh.manifest.graph import Graph
from mesh.manifest.model import Pipeline
from mesh.manifest.parse import load, parse
from mesh.manifest.validate import validate

__all__ = ["Graph", "Pipeline", "compile_graph", "load", "parse", "validate"]
