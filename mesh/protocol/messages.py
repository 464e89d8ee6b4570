"""The messages of a run (docs/wire.md, 4): on the wire an array, its type first, so here a named tuple.

``encode`` and ``decode`` are inverse; decoding takes untrusted bytes and raises ProtocolError("bad-message").
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

import msgpack

from mesh.errors import ProtocolError
from mesh.ids import NodeId, PeerId, RunId
from mesh.limits import MAX_CAUSE_CHARS, MAX_CONNECTIONS, MAX_ID_CHARS, MAX_NODES, MAX_SEALED_BYTES, MAX_SIGNALING_BYTES
from mesh.protocol.codec import REGISTRY, Lane, unpack

type Times = tuple[int, dict[NodeId, dict[str, float]], dict[str, int]]  # since an epoch: by node; bytes by link


class Start(NamedTuple):
    """Run a fragment: ``body`` is ``{graph, plan, names, on_error, from_seq, states}``.

    A higher epoch of a run takes the place of the one before.
    """

    driver: PeerId
    run: RunId
    epoch: int
    body: Mapping[str, Any]


class Ready(NamedTuple):
    """The worker's nodes are set up, and its links to its neighbours stand."""

    driver: PeerId
    run: RunId
    epoch: int


class Refused(NamedTuple):
    """The worker does not run the fragment."""

    driver: PeerId
    run: RunId
    epoch: int
    text: str


class Credit(NamedTuple):
    """The receiver of ``seq`` on ``edge`` consumed ``amount`` bytes of its strand, overhead included."""

    driver: PeerId
    run: RunId
    epoch: int
    edge: int
    seq: int
    amount: int


class Error(NamedTuple):
    """An item error: ``body`` is ``{seq, node, kind, cause}``."""

    driver: PeerId
    run: RunId
    epoch: int
    body: Mapping[str, Any]


class Stop(NamedTuple):
    """Free everything of the run."""

    driver: PeerId
    run: RunId
    epoch: int
    text: str


class Stats(NamedTuple):
    """Asks for StatsReply."""

    driver: PeerId
    run: RunId


class StatsReply(NamedTuple):
    """What a fragment measured: ``body`` is ``{nodes, order, links}``."""

    driver: PeerId
    run: RunId
    body: Mapping[str, Any]


class Failed(NamedTuple):
    """The run cannot go on."""

    driver: PeerId
    run: RunId
    epoch: int
    text: str


class Checkpoint(NamedTuple):
    """The state of a node after a seq: ``body`` is ``{node, seq, state, fault}``, with a fault where state is None."""

    driver: PeerId
    run: RunId
    epoch: int
    body: Mapping[str, Any]


class Unreachable(NamedTuple):
    """The sender has no link any more to ``peer``, with whom it exchanges results."""

    driver: PeerId
    run: RunId
    epoch: int
    peer: PeerId


class Silence(NamedTuple):
    """The sender hears nothing of ``peer``, with whom it exchanges results; or, not ``silent``, hears it again."""

    driver: PeerId
    run: RunId
    epoch: int
    peer: PeerId
    silent: bool


class Prepare(NamedTuple):
    """Make ready what a step to come puts on the worker: ``body`` is ``{move, nodes, names}``."""

    driver: PeerId
    run: RunId
    epoch: int
    body: Mapping[str, Any]


class Cut(NamedTuple):
    """The step that was prepared begins, or is called off: ``body`` is ``{move, from_seq}``, None for the latter."""

    driver: PeerId
    run: RunId
    epoch: int
    body: Mapping[str, Any]


class Step(NamedTuple):
    """How far the worker is with a step: ``body`` is ``{move, stage, fault}``; a fault says why it is not."""

    driver: PeerId
    run: RunId
    epoch: int
    body: Mapping[str, Any]


class State(NamedTuple):
    """The state with which a node goes on elsewhere: ``body`` is ``{node, state, fault}``, as in Checkpoint."""

    driver: PeerId
    run: RunId
    epoch: int
    body: Mapping[str, Any]


class Leaving(NamedTuple):
    """The worker wants its nodes to be moved away, and says why."""

    driver: PeerId
    run: RunId
    epoch: int
    text: str


class Progress(NamedTuple):
    """How far nodes are: ``body`` is ``{node: [calls ended, lowest seq not ended, whether a call is under way]}``."""

    driver: PeerId
    run: RunId
    epoch: int
    body: Mapping[str, Any]


class Cancel(NamedTuple):
    """Nobody wants a seq any more."""

    driver: PeerId
    run: RunId
    epoch: int
    seq: int


class Relay(NamedTuple):
    """What ``sender`` says to ``to``, sealed (mesh.protocol.sealing), through a peer that both have a link to."""

    sender: PeerId
    to: PeerId
    sealed: bytes


class Plan(NamedTuple):
    """Asks a peer that can plan for Planned; ``request``: JSON."""

    id: int
    request: bytes


class Planned(NamedTuple):
    """The plan, or why there is none, as JSON."""

    id: int
    answer: bytes


class Part(NamedTuple):
    """A part of a seq on an edge, or only its end. ``payload``: an encoded value; ``flags``: mesh.run.events.Flag."""

    driver: PeerId
    run: RunId
    epoch: int
    edge: int
    seq: int
    part: int
    flags: int
    payload: bytes | None


RunMessage = (
    Start
    | Ready
    | Refused
    | Credit
    | Error
    | Stop
    | Stats
    | StatsReply
    | Failed
    | Checkpoint
    | Unreachable
    | Silence
    | Progress
    | Prepare
    | Cut
    | Step
    | State
    | Leaving
    | Cancel
    | Part
)
Message = RunMessage | Relay | Plan | Planned

STAGES: Final = ("prepared", "cut", "through")  # of a worker, with a step
_MAX_EPOCH: Final = 2**32 - 1
_MAX_COUNT: Final = 2**53 - 1  # what a number of JavaScript counts to
_MAX_EDGE: Final = MAX_CONNECTIONS + 2 * MAX_NODES
_ALL_FLAGS: Final[int] = sum(REGISTRY["part_flags"].values())
_END: Final[int] = REGISTRY["part_flags"]["END"]
_TYPES: Final[dict[str, int]] = REGISTRY["messages"]
_PART: Final[int] = _TYPES["PART"]


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    return cast(bytes, msgpack.packb((_CODES[type(message)], *message)))


def decode(lane: Lane, data: bytes) -> Message:
    """The message that arrived on ``lane``."""
    fields = unpack(data, "bad-message")
    if type(fields) is not list or not fields or type(fields[0]) is not int:
        raise ProtocolError("bad-message", "a message is an array that begins with its type")
    kind = fields[0]
    if kind == _PART and lane is Lane.DATA:
        return _read_part(fields)
    known = _CLASSES.get(kind) if lane is Lane.CONTROL else None
    if known is None:
        raise ProtocolError("bad-message", f"type {kind} is no message of the {lane.name.lower()} lane")
    if len(fields) != len(known._fields) + 1:
        raise ProtocolError("bad-message", f"{known.__name__} has {len(known._fields)} fields")
    for name, value in zip(known._fields, fields[1:], strict=True):
        if not _CHECKS[name](value):
            raise ProtocolError("bad-message", f"{known.__name__}: {name} is wrong")
    return known._make(fields[1:])


def _read_part(fields: list[Any]) -> Part:
    """The one message that comes a thousand times a second, so checked by hand."""
    if len(fields) != len(Part._fields) + 1:
        raise ProtocolError("bad-message", f"Part has {len(Part._fields)} fields")
    _, driver, run, epoch, edge, seq, part, flags, payload = fields
    if not (
        _is_id(driver)
        and _is_id(run)
        and type(epoch) is type(edge) is type(seq) is type(part) is type(flags) is int
        and 0 <= epoch <= _MAX_EPOCH
        and 0 <= edge <= _MAX_EDGE
        and 0 <= seq <= _MAX_COUNT
        and 0 <= part <= _MAX_COUNT
        and 0 <= flags <= _ALL_FLAGS
        and (type(payload) is bytes or (payload is None and flags & _END))
    ):
        raise ProtocolError("bad-message", "a field of Part is wrong")
    return Part(driver, run, epoch, edge, seq, part, flags, payload)


def read_error(body: Mapping[str, Any]) -> tuple[NodeId, int, str, str]:
    """Node, seq, kind and cause of an ERROR; raises ProtocolError("bad-message")."""
    node, seq, kind, cause = (body.get(name) for name in ("node", "seq", "kind", "cause"))
    if not (_is_id(node) and type(seq) is int and _is_id(kind) and type(cause) is str):
        raise ProtocolError("bad-message", "an error needs seq, node, kind and cause")
    return NodeId(str(node)), seq, str(kind), cause[:MAX_CAUSE_CHARS]


def read_checkpoint(body: Mapping[str, Any]) -> tuple[NodeId, int, bytes | None, str]:
    """Node, seq, state and fault of a CHECKPOINT; raises ProtocolError("bad-message")."""
    node, seq, state, fault = (body.get(name) for name in ("node", "seq", "state", "fault"))
    if not (_is_id(node) and type(seq) is int and (state is None or type(state) is bytes) and type(fault) is str):
        raise ProtocolError("bad-message", "a checkpoint needs node, seq, state and fault")
    return NodeId(str(node)), seq, state, fault[:MAX_CAUSE_CHARS]


def read_state(body: Mapping[str, Any]) -> tuple[NodeId, bytes | None, str]:
    """Node, state and fault of a STATE; raises ProtocolError("bad-message")."""
    node, state, fault = (body.get(name) for name in ("node", "state", "fault"))
    if not (_is_id(node) and (state is None or type(state) is bytes) and type(fault) is str):
        raise ProtocolError("bad-message", "a state needs node, state and fault")
    return NodeId(str(node)), state, fault[:MAX_CAUSE_CHARS]


def read_step(body: Mapping[str, Any]) -> tuple[int, str, str]:
    """The number of the move, the stage and the fault of a STEP; raises ProtocolError("bad-message")."""
    move, stage, fault = (body.get(name) for name in ("move", "stage", "fault"))
    if not (_is_count(move, _MAX_COUNT) and stage in STAGES and type(fault) is str):
        raise ProtocolError("bad-message", "a step needs move, stage and fault")
    return cast(int, move), stage, fault[:MAX_CAUSE_CHARS]


def read_cut(body: Mapping[str, Any]) -> tuple[int, int | None]:
    """The number of the move, and the first seq of the new step, of a CUT; raises ProtocolError("bad-message")."""
    move, since = body.get("move"), body.get("from_seq")
    if not (_is_count(move, _MAX_COUNT) and (since is None or _is_count(since, _MAX_COUNT))):
        raise ProtocolError("bad-message", "a cut needs move and from_seq")
    return cast(int, move), since


def read_resumption(body: Mapping[str, Any]) -> tuple[int, Mapping[NodeId, bytes]]:
    """First seq, and state by node, of a START; raises ProtocolError("bad-message")."""
    first, states = body.get("from_seq"), body.get("states")
    if not (
        _is_count(first, _MAX_COUNT)
        and type(states) is dict
        and all(_is_text(node) and type(state) is bytes for node, state in states.items())
    ):
        raise ProtocolError("bad-message", "a start needs from_seq and states: {node: bytes}")
    return cast(int, first), states


def read_stats(body: Mapping[str, Any]) -> Times:
    """``since``, times by node, and bytes by link, of a STATS_REPLY; raises ProtocolError("bad-message")."""
    since, nodes, links = body.get("since"), body.get("nodes", {}), body.get("links", {})
    if not (
        type(since) is int
        and all(type(each) is dict and all(map(_is_text, each)) for each in (nodes, links))
        and all(type(times) is dict and set(times) == {"count", "p50", "p95"} for times in nodes.values())
        and all(type(number) in (int, float) for times in nodes.values() for number in times.values())
        and all(type(count) is int for count in links.values())
    ):
        raise ProtocolError("bad-message", "times need since, nodes: {id: {count, p50, p95}} and links: {a->b: bytes}")
    return since, nodes, links


def read_progress(body: Mapping[str, Any]) -> dict[NodeId, tuple[int, int, bool]]:
    """The body of a PROGRESS, checked; raises ProtocolError("bad-message")."""
    for node, told in body.items():
        if not (_is_id(node) and type(told) is list and [type(each) for each in told] == [int, int, bool]):
            raise ProtocolError("bad-message", "progress is {node: [calls ended, seq, whether a call is under way]}")
    return {NodeId(node): (ended, seq, busy) for node, (ended, seq, busy) in body.items()}


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_id(value: object) -> bool:
    return type(value) is str and len(value) <= MAX_ID_CHARS


def _is_count(value: object, limit: int) -> bool:
    return type(value) is int and 0 <= value <= limit


_CHECKS: Final[dict[str, Callable[[object], bool]]] = {
    "driver": _is_id,
    "run": _is_id,
    "peer": _is_id,
    "sender": _is_id,
    "to": _is_id,
    "id": lambda value: _is_count(value, _MAX_COUNT),
    "epoch": lambda value: _is_count(value, _MAX_EPOCH),
    "edge": lambda value: _is_count(value, _MAX_EDGE),
    "seq": lambda value: _is_count(value, _MAX_COUNT),
    "amount": lambda value: _is_count(value, _MAX_COUNT),
    "silent": lambda value: type(value) is bool,
    "text": lambda value: type(value) is str and len(value) <= MAX_CAUSE_CHARS,
    "body": lambda value: type(value) is dict,
    "sealed": lambda value: type(value) is bytes and len(value) <= MAX_SEALED_BYTES,
    "request": lambda value: type(value) is bytes and len(value) <= MAX_SIGNALING_BYTES,
    "answer": lambda value: type(value) is bytes and len(value) <= MAX_SIGNALING_BYTES,
}
_NAMES: Final[dict[str, type[Message]]] = {
    "START": Start, "READY": Ready, "REFUSED": Refused, "CREDIT": Credit, "ERROR": Error, "STOP": Stop,
    "STATS": Stats, "STATS_REPLY": StatsReply, "FAILED": Failed, "CHECKPOINT": Checkpoint,
    "UNREACHABLE": Unreachable, "PROGRESS": Progress, "RELAY": Relay, "PLAN": Plan, "PLANNED": Planned, "PART": Part,
    "PREPARE": Prepare, "CUT": Cut, "STEP": Step, "STATE": State, "LEAVING": Leaving,
    "CANCEL": Cancel, "SILENCE": Silence,
}  # fmt: skip
_CODES: Final[dict[type[Message], int]] = {kind: _TYPES[name] for name, kind in _NAMES.items()}
_CLASSES: Final[dict[int, type[Message]]] = {code: kind for kind, code in _CODES.items() if kind is not Part}
