"""What clients say to the signaling server, checked against its bounds while it is read (docs/wire.md, 6)."""

import hashlib
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec
from msgspec import Meta

from mesh.errors import MeshError, ValueFault
from mesh.limits import (
    MAX_CAUSE_CHARS,
    MAX_COSTS,
    MAX_GRANT_BYTES,
    MAX_ID_CHARS,
    MAX_LABELS,
    MAX_LINKS,
    MAX_MANIFEST_BYTES,
    MAX_NAME_CHARS,
    MAX_NODE_TYPES,
    MAX_NODES,
    MAX_SLOTS,
    MAX_TYPES_BYTES,
)
from mesh.nodes.spec import NodeSpec, RuntimeName

type Hex = str
type Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
type NodeName = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
type Short = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
type Positive = Annotated[float, Meta(ge=0, le=1e15)]
type Count = Annotated[int, Meta(ge=0, lt=2**53)]


class Refused(MeshError):
    """What the client asked is not done; it hears ``code`` (mesh/protocol/registry.json) and the text."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class Struct(msgspec.Struct, forbid_unknown_fields=True):
    """A JSON object; unknown fields are faults."""


class Gpu(Struct, omit_defaults=True):
    type: Short | None = None
    memory_gb: Positive | None = None


class Caps(Struct, omit_defaults=True):
    gpu: Gpu | None = None
    cores: Annotated[float, Meta(ge=0, le=MAX_SLOTS)] | None = None
    arch: Short | None = None
    memory_gb: Positive | None = None
    labels: Annotated[dict[Short, Short], Meta(max_length=MAX_LABELS)] = {}


class Machine(Struct, omit_defaults=True):
    """What a peer offers, besides its node types."""

    kind: Literal["browser", "server"]
    runtimes: Annotated[list[RuntimeName], Meta(max_length=3)]
    caps: Caps = msgspec.field(default_factory=Caps)
    slots: Annotated[int, Meta(ge=1, le=MAX_SLOTS)] = 1
    speed: dict[RuntimeName, Positive] = {}
    pyodide: Literal["absent", "loading", "ready"] | None = None


class Announcement(Machine):
    """All that a peer offers. ``types`` stay as they came: each distinct list is read once (``Types``)."""

    types: msgspec.Raw = msgspec.Raw(b"[]")


class Offer(Machine):
    """An announcement as it stands in a record: ``types`` is the digest of a list in the catalog."""

    types: str = ""


class LinkReport(Struct):
    """One link as the reporting peer sees it. ``sent`` and ``received`` count bytes since it stands."""

    peer: Name
    rtt_ms: Positive | None = None
    sent: Count = 0
    received: Count = 0
    bytes_per_s: Positive = 0.0
    path: Short = "unknown"
    engine: Short = ""


class NodeTimes(Struct):
    count: Count
    p50: Positive
    p95: Positive


class RunReport(Struct):
    """A run as its driver tells of it, for the dashboard."""

    id: Name
    name: Annotated[str, Meta(max_length=MAX_ID_CHARS)]
    state: Literal["planning", "connecting", "loading", "running", "done", "failed", "cancelled"]
    items_in: Count = 0
    results_out: Count = 0
    errors: Count = 0
    placement: Annotated[
        dict[NodeName, Annotated[list[Name], Meta(max_length=MAX_LINKS)]], Meta(max_length=MAX_NODES)
    ] = {}
    node_ms: Annotated[dict[NodeName, NodeTimes], Meta(max_length=MAX_NODES)] = {}
    reason: Annotated[str, Meta(max_length=MAX_CAUSE_CHARS)] | msgspec.UnsetType = msgspec.UNSET


class Join(Struct, tag_field="type", tag="join"):
    version: int
    room: Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
    owner: Annotated[Hex, Meta(pattern="^[0-9a-f]{64}$")]
    grant: Annotated[str, Meta(max_length=MAX_GRANT_BYTES)]
    name: Name
    key: Annotated[Hex, Meta(pattern="^[0-9a-f]{64}$")]
    signature: Annotated[Hex, Meta(pattern="^[0-9a-f]{128}$")]
    announce: Announcement | None


class Announce(Struct, tag_field="type", tag="announce"):
    announce: Announcement


class Heartbeat(Struct, tag_field="type", tag="heartbeat"):
    load: Annotated[float, Meta(ge=0, le=1)] = 0.0
    hidden: bool = False
    links: Annotated[list[LinkReport], Meta(max_length=MAX_LINKS)] = []


class Relay(Struct, tag_field="type", tag="relay"):
    to: Name
    data: dict[str, Any]


class Ice(Struct, tag_field="type", tag="ice"):
    pass


class Plan(Struct, tag_field="type", tag="plan"):
    """``manifest`` is text, or a JSON object that stays as it came."""

    id: Annotated[int, Meta(ge=0, lt=2**53)]
    manifest: msgspec.Raw
    pins: Annotated[dict[NodeName, Name], Meta(max_length=MAX_NODES)] = {}
    without: Annotated[list[Name], Meta(max_length=MAX_LINKS)] = []
    apart: Annotated[list[tuple[Name, Name]], Meta(max_length=MAX_LINKS)] = []
    announce: Announcement | None = None

    def text(self) -> str:
        """The manifest as the planner takes it."""
        raw = bytes(self.manifest)
        if len(raw) > MAX_MANIFEST_BYTES:
            raise Refused("too-large", f"a manifest has at most {MAX_MANIFEST_BYTES} bytes")
        if raw.startswith(b'"'):
            return msgspec.json.decode(raw, type=str)
        if not raw.startswith(b"{"):
            raise Refused("bad-message", "manifest must be text (JSON or YAML) or a JSON object")
        return raw.decode()


class Report(Struct, tag_field="type", tag="report"):
    run: RunReport


class Costs(Struct, tag_field="type", tag="costs"):
    nodes: Annotated[dict[NodeName, dict[RuntimeName, Positive]], Meta(max_length=MAX_COSTS)]


class Watch(Struct, tag_field="type", tag="watch"):
    pass


type Message = Join | Announce | Heartbeat | Relay | Ice | Plan | Report | Costs | Watch

_DECODER: Final = msgspec.json.Decoder(Message)
_TYPES: Final = msgspec.json.Decoder(Annotated[list[dict[str, Any]], Meta(max_length=MAX_NODE_TYPES)])


def read(data: str | bytes) -> Message:
    """The message in one text frame; raises Refused("bad-message") that says what is wrong and where."""
    if isinstance(data, bytes):
        raise Refused("bad-message", "signaling is JSON in text frames; this one was binary")
    try:
        message: Message = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as error:
        raise Refused("bad-message", f"the message is refused: {error}") from None
    return message


class Types:
    """One list of node types, shared by all peers that announce the same one. ``json`` is its wire form."""

    __slots__ = ("__weakref__", "digest", "json")

    def __init__(self, raw: bytes) -> None:
        if len(raw) > MAX_TYPES_BYTES:
            bad_types(f"the node types of the announcement take more than {MAX_TYPES_BYTES} bytes")
        self.digest = digest(raw)
        try:
            entries = _TYPES.decode(raw)
            names = [NodeSpec.from_json(entry, f"announce.types[{i}]").node_type for i, entry in enumerate(entries)]
        except (msgspec.MsgspecError, RecursionError) as error:
            bad_types(f"the node types of the announcement are refused: {error}")
        except ValueFault as error:
            bad_types(str(error))
        if len(set(names)) < len(names):
            bad_types("announce.types: a node type is listed twice")
        self.json = msgspec.json.encode(entries)


def digest(raw: bytes) -> str:
    """The name of a list of node types on the wire: 16 hex digits."""
    return hashlib.sha256(raw).hexdigest()[:16]


def bad_types(text: str) -> NoReturn:
    raise Refused("bad-message", text)
