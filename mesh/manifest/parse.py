"""From the text of a manifest to a Pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mesh.errors import Fault, ManifestError, ValueFault
from mesh.ids import NodeId
from mesh.limits import DEFAULT_TIMEOUT_S, MAX_FAULTS, MAX_MANIFEST_BYTES
from mesh.manifest.model import Capabilities, Connection, Cpu, Gpu, Pipeline, PipelineNode, Placement
from mesh.manifest.schema import check
from mesh.values import encode, from_forms, from_json

_LEVELS_ABOVE_PARAMS: Final = 4  # the manifest, its nodes, the node, its params


def load(path: str | Path) -> Pipeline:
    """Reads a manifest file; raises ManifestError where nothing can be read, faults of its form are in the Pipeline."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError([Fault(str(path), error.strerror or str(error))]) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError([Fault(str(path), f"line {line}: the text is no UTF-8")]) from None
    return parse(text, name=str(path))


def parse(text: str, *, name: str) -> Pipeline:
    """Reads a manifest, JSON where it begins with ``{`` or ``[``, else YAML. ``name`` is what faults call it.

    Raises ManifestError where nothing can be read; faults of its form are in the Pipeline, for ``validate``.
    """
    try:
        tree = read_tree(text)
        encode(tree, extra_levels=_LEVELS_ABOVE_PARAMS)
    except ValueFault as error:
        raise ManifestError([Fault(error.place or name, error.message)]) from None
    if not isinstance(tree, dict):
        raise ManifestError([Fault(name, 'a manifest is a map: {"version": "v1", "nodes": […], "connections": […]}')])
    faults = tuple(check(tree))[:MAX_FAULTS]
    metadata = _map(tree.get("metadata"))
    return Pipeline(
        name=str(metadata.get("name", name)),
        metadata=metadata,
        nodes=tuple(_node(_map(node), sound=not faults) for node in _list(tree.get("nodes"))),
        connections=tuple(_connection(_map(each)) for each in _list(tree.get("connections"))),
        source=text,
        faults=faults,
    )


def read_tree(text: str) -> Any:
    """The values that a manifest's text writes, whatever they are; raises ValueFault."""
    if len(text.encode(errors="surrogatepass")) > MAX_MANIFEST_BYTES:
        raise ValueFault(f"a manifest has at most {MAX_MANIFEST_BYTES} bytes")
    if text.lstrip()[:1] in ("{", "["):
        return from_json(text)
    from mesh.manifest.yaml_tree import read  # PyYAML is not in Pyodide, where nobody reads YAML

    return from_forms(read(text))


def _node(fields: Mapping[str, Any], *, sound: bool) -> PipelineNode:
    """A node as far as it can be read; what it asks of peers only from a ``sound`` manifest."""
    node = PipelineNode(
        id=NodeId(_text(fields.get("id"))),
        node_type=_text(fields.get("node_type", fields.get("type"))),
        params=_map(fields.get("params")),
    )
    if not sound:
        return node
    return PipelineNode(
        node.id,
        node.node_type,
        node.params,
        capabilities=_capabilities(fields.get("capabilities", {})),
        prefers=_capabilities(fields.get("prefers", {})),
        placement=Placement(**_known(fields.get("placement", {}))),
        timeout_s=float(fields.get("timeout_s", DEFAULT_TIMEOUT_S)),
    )


def _capabilities(fields: Mapping[str, Any]) -> Capabilities:
    gpu, cpu = fields.get("gpu"), fields.get("cpu")
    return Capabilities(
        gpu=None if gpu is None else Gpu() if gpu is True else Gpu(**_known(gpu)),
        cpu=None if cpu is None else Cpu(**_known(cpu)),
        memory_gb=fields.get("memory_gb"),
        labels=fields.get("labels", {}),
    )


def _connection(fields: Mapping[str, Any]) -> Connection:
    return Connection(
        source=NodeId(_text(fields.get("from"))),
        target=NodeId(_text(fields.get("to"))),
        port=_text(fields.get("port")) or None,
        overflow="drop_oldest" if fields.get("overflow") == "drop_oldest" else "block",
    )


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not name.startswith("x-")}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
