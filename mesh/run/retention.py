"""What the driver keeps so that a run can go on after a loss: the items to replay, and the states to replay them upon.

Without stateful nodes these are the items whose results are not all out. With them, some seqs are marked
(Flag.CHECKPOINT); checkpoint ``s`` is complete when every stateful node has told its state after ``s`` and all results
of ``s`` are out; every item above the last complete one is kept. Memory is bounded: RUN_WINDOW_SEQS and
RUN_WINDOW_BYTES (exceeded by at most one item) of items, and MAX_CHECKPOINT_BYTES for each checkpoint within.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from mesh.errors import ProtocolError
from mesh.ids import NodeId
from mesh.limits import (
    CHECKPOINT_EVERY,
    CHECKPOINT_EVERY_BYTES,
    MAX_CHECKPOINT_BYTES,
    RUN_WINDOW_BYTES,
    RUN_WINDOW_SEQS,
)
from mesh.manifest.graph import Graph
from mesh.run.events import Flag


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a new epoch begins: its first seq, and the state of each stateful node before it (none: as it is made)."""

    first_seq: int
    states: Mapping[NodeId, bytes]


@dataclass(slots=True)
class _Item:
    """``flags`` are those of its frames; ``sent``: it went out at least once."""

    payload: bytes
    flags: int
    sent: bool = False


@dataclass(slots=True)
class _Checkpoint:
    states: dict[NodeId, bytes] = field(default_factory=dict)
    missing: set[NodeId] = field(default_factory=set)
    size: int = 0
    fault: str = ""


class Retention:
    """``fault`` says why the run could not go on after a loss now; empty: it could, from ``resumption`` on."""

    def __init__(self, graph: Graph) -> None:
        stateful = [node for node in graph.nodes if node.stateful]
        mute = next((node.id for node in stateful if not node.snapshots), None)
        self.fault = "" if mute is None else f"node {mute!r} keeps state and makes no snapshots"
        self._nodes = frozenset(node.id for node in stateful) if mute is None else frozenset()
        self._kept: deque[_Item] = deque()
        self._first = 0  # the seq of the oldest
        self._bytes = 0
        self._seqs_since = self._bytes_since = 0  # the last mark
        self._turn = 0
        self._states: Mapping[NodeId, bytes] = {}
        self._making: dict[int, _Checkpoint] = {}  # of marked seqs, the oldest first

    @property
    def has_room(self) -> bool:
        """Whether another item may be kept."""
        return len(self._kept) < RUN_WINDOW_SEQS and self._bytes < RUN_WINDOW_BYTES

    def keep(self, payload: bytes) -> int:
        """The next item; answers the flags of its frames."""
        self._seqs_since += 1
        self._bytes_since += len(payload)
        flags = Flag.NONE
        if self._nodes and (self._seqs_since >= CHECKPOINT_EVERY or self._bytes_since >= CHECKPOINT_EVERY_BYTES):
            flags = Flag.CHECKPOINT
            self._seqs_since = self._bytes_since = 0
            self._making[self._first + len(self._kept)] = _Checkpoint(missing=set(self._nodes))
        self._kept.append(_Item(payload, flags))
        self._bytes += len(payload)
        return flags

    def passed(self, turn: int) -> None:
        """All results of the seqs below ``turn`` are out."""
        self._turn = turn
        if self._nodes:
            self._adopt()
        else:
            self._release(turn)

    def reported(self, node: NodeId, seq: int, state: bytes | None, fault: str) -> None:
        """A node's state after ``seq``, or why there is none. Raises ProtocolError for what is not awaited."""
        checkpoint = self._making.get(seq)
        if checkpoint is None or node not in checkpoint.missing:
            raise ProtocolError("bad-message", f"no checkpoint of node {node!r} after seq {seq} is awaited")
        checkpoint.missing.discard(node)
        checkpoint.size += len(state or b"")
        if state is None:
            checkpoint.fault = f"node {node!r}: {fault}"
        elif checkpoint.size > MAX_CHECKPOINT_BYTES:
            checkpoint.fault = f"the states of its nodes have more than {MAX_CHECKPOINT_BYTES} bytes"
            checkpoint.states.clear()
        else:
            checkpoint.states[node] = state
        self._adopt()

    def resumption(self) -> Resumption:
        """For a new epoch, in which the checkpoints that were not complete are made again."""
        for seq in self._making:
            self._making[seq] = _Checkpoint(missing=set(self._nodes))
        return Resumption(self._first, self._states)

    def items(self) -> list[tuple[int, int, bytes]]:
        """What is to be replayed: seq, flags, payload."""
        return [(self._first + place, item.flags, item.payload) for place, item in enumerate(self._kept)]

    def goes_out(self, seq: int) -> bool:
        """An item is sent; answers whether it was before."""
        if seq < self._first:
            return True
        item = self._kept[seq - self._first]
        before, item.sent = item.sent, True
        return before

    def _adopt(self) -> None:
        """Goes on to the newest complete checkpoint; one that could not be made stands too, with its fault."""
        while self._making:
            seq, oldest = next(iter(self._making.items()))
            if seq >= self._turn or oldest.missing:
                return
            del self._making[seq]
            self._states, self.fault = oldest.states, oldest.fault
            self._release(seq + 1)

    def _release(self, below: int) -> None:
        while self._first < below and self._kept:
            item = self._kept.popleft()
            self._first += 1
            self._bytes -= len(item.payload)
