"""What a driver tells of its run."""

from dataclasses import dataclass
from typing import Literal

from mesh.ids import NodeId
from mesh.run.events import CancelSeq, Emit, GiveCredit


@dataclass(frozen=True, slots=True)
class Failure:
    """An item error, as the driver learnt of it; ``peer`` is the name of where the node ran.

    ``kind`` is that of a ReportError; or ``killed``: peers died of the item.
    """

    seq: int
    node: NodeId
    kind: str
    cause: str
    peer: str


@dataclass(slots=True)
class Result:
    """One part of the single sink, or the map of several; call ``taken`` once the application has it."""

    seq: int
    part: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SeqFailed:
    """With ``continue``: an item failed. Where several nodes failed on one seq, each is told."""

    error: Failure


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over: done, or ended by an item error (with ``stop``; with ``continue`` by kind ``lost`` only), or by
    ``fail`` with its ``reason``.
    """

    status: Literal["done", "failed"]
    error: Failure | None = None
    reason: str = ""


@dataclass(slots=True)
class Counts:
    """For the receipt; the extra seq of finish counts in ``results_out`` only.

    ``dropped``: by an edge; ``cancelled``: by the application. ``replayed``: items that went out again;
    ``duplicates_dropped``: results that came again.
    """

    items_in: int = 0
    results_out: int = 0
    done: int = 0
    filtered: int = 0
    failed: int = 0
    dropped: int = 0
    cancelled: int = 0
    replayed: int = 0
    duplicates_dropped: int = 0


type DriverInstruction = Emit | GiveCredit | CancelSeq | Result | SeqFailed | Finished
