"""The vocabulary of the run engine: frames go in and out, instructions come out. No asyncio, clock or randomness.

Nobody changes them; those made for every item are not frozen all the same, because that makes them four times as dear.
"""

from dataclasses import dataclass
from typing import Final, Literal

from mesh.ids import NodeId
from mesh.run.placement import Seat


class Flag:
    """Flags of a PART (docs/wire.md, 4); plain integers, because enum's arithmetic was half of the engine's time."""

    NONE: Final = 0
    END: Final = 1
    FINAL: Final = 2
    FAILED: Final = 4
    DROPPED: Final = 8
    CHECKPOINT: Final = 16  # stateful nodes report their state after this seq
    OF_SEQ: Final = FINAL | CHECKPOINT  # on every frame of a seq, or on none


@dataclass(slots=True)
class Frame:
    """One part on one edge, or, with ``payload is None``, only its end."""

    edge: int
    seq: int
    part: int
    flags: int
    payload: bytes | None


Op = Literal["process", "next", "finish", "snapshot", "restore"]


@dataclass(slots=True)
class Call:
    """Do ``op`` on an instance and report what came of it, with the same seat. One at a time per seat."""

    seat: Seat
    op: Op
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Recreate:
    """An instance is lost: make it anew and report ``recreated``, or ``failed`` where that fails."""

    seat: Seat


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Give up the call under way on an instance, which is lost with it: report ``failed`` with kind ``cancelled``."""

    seat: Seat


@dataclass(slots=True)
class Emit:
    """Send the frame to the peer at the other end of its edge."""

    frame: Frame


@dataclass(slots=True)
class GiveCredit:
    """Tell the sender on the edge of ``seq`` that ``bytes`` (with overhead) of its strand were consumed."""

    edge: int
    seq: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ReportError:
    """Tell the driver of an item error; the engine has already marked what is downstream.

    ``kind`` is that of a NodeError; or ``overflow``: the parts of one seq are more than a join takes; or ``lost``: the
    node was lost with an earlier seq and cannot be brought back, which ends the run whatever ``on_error`` says.
    """

    node: NodeId
    seq: int
    kind: str
    cause: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tell the driver the node's state after ``seq``, or, with ``state is None``, why there is none (``fault``)."""

    node: NodeId
    seq: int
    state: bytes | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Tell the driver the state with which a node goes on elsewhere, or, with ``state is None``, why there is none."""

    node: NodeId
    state: bytes | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Retire:
    """An instance has done all that was its to do: close it."""

    seat: Seat


@dataclass(frozen=True, slots=True)
class Through:
    """Tell the driver that nothing from before the last cut is on its way here any more."""


@dataclass(frozen=True, slots=True)
class CancelSeq:
    """Tell every peer of the run, this one too, that nobody wants the seq any more."""

    seq: int


@dataclass(frozen=True, slots=True)
class FailRun:
    """The run cannot go on, for a reason that lies outside the engine."""

    reason: str


Instruction = (
    Call | Recreate | Interrupt | Emit | GiveCredit | ReportError | Checkpoint | HandOver | Retire | Through | FailRun
)
