"""The sending end of an edge: what waits for credit, and what an edge that drops gives up."""

from collections import deque
from dataclasses import dataclass, field

from mesh.errors import ProtocolError
from mesh.limits import PART_OVERHEAD_BYTES, RUN_WINDOW_SEQS
from mesh.run.events import Flag, Frame
from mesh.run.placement import Placement, Seat


def cost(frame: Frame) -> int:
    """What a frame counts against the credit of its strand, in bytes."""
    return PART_OVERHEAD_BYTES + (0 if frame.payload is None else len(frame.payload))


@dataclass(slots=True)
class _Strand:
    """To one seat. ``begun``: the last seq of which anything was let go."""

    outstanding: int = 0
    waiting: deque[Frame] = field(default_factory=deque)
    begun: int = -1


class Outbox:
    """``put`` frames, then ``take`` those that may go; ``give`` it the credit that comes back.

    A producer must not make anything of a seq while ``has_room`` is false; so what waits in a strand is at most one
    answer of a node, and on an edge that drops (``drops``) at most RUN_WINDOW_SEQS ends more. ``dropped`` counts the
    seqs that it gave up.
    """

    def __init__(self, placement: Placement, edge: int, *, drops: bool, credit_bytes: int) -> None:
        self.edge = edge
        self.dropped = 0
        self._placement = placement
        self._drops = drops
        self._credit_bytes = credit_bytes
        self._strands: dict[Seat, _Strand] = {}
        self._going: list[Frame] = []

    def has_room(self, seq: int) -> bool:
        """Whether the next frame, which is of that seq, may be made now."""
        strand = self._strands.get(self._placement.target(self.edge, seq))
        if strand is None:
            return True
        if not strand.waiting:
            return strand.outstanding < self._credit_bytes or self._drops
        ended = strand.waiting[-1].flags & (Flag.END | Flag.FINAL) == Flag.END
        return self._drops and ended and len(strand.waiting) < RUN_WINDOW_SEQS

    @property
    def is_drained(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._going and not any(strand.waiting for strand in self._strands.values())

    def forget(self) -> None:
        """Drops the strands to seats that the placement has forgotten."""
        self._strands = {seat: each for seat, each in self._strands.items() if self._placement.knows(seat)}

    @property
    def outstanding(self) -> int:
        """Bytes taken over for which no credit came back."""
        return sum(each.outstanding + sum(map(cost, each.waiting)) for each in self._strands.values())

    def put(self, frame: Frame) -> None:
        """Takes a frame over; on an edge that drops, a part pushes out the older seqs that still wait whole."""
        seat = self._placement.target(self.edge, frame.seq)
        strand = self._strands.get(seat)
        if strand is None:
            strand = self._strands[seat] = _Strand()
        if self._drops and frame.payload is not None and not frame.flags & Flag.FINAL:
            self._drop_older(strand, frame.seq)
        strand.waiting.append(frame)
        self._release(strand)

    def take(self) -> list[Frame]:
        """The frames that may be sent now, in order; they are the caller's from here on."""
        going, self._going = self._going, []
        return going

    def give(self, seq: int, amount: int) -> None:
        """Credit came back on the strand of that seq. Raises ProtocolError for more than is outstanding."""
        strand = self._strands.get(self._placement.target(self.edge, seq))
        if strand is None or not 0 <= amount <= strand.outstanding:
            out = strand.outstanding if strand is not None else 0
            raise ProtocolError("bad-message", f"credit of {amount} bytes for edge {self.edge}, {out} are out")
        strand.outstanding -= amount
        self._release(strand)

    def _release(self, strand: _Strand) -> None:
        while strand.waiting:
            frame = strand.waiting[0]
            if strand.outstanding and strand.outstanding + cost(frame) > self._credit_bytes:
                return
            strand.outstanding += cost(frame)
            strand.begun = frame.seq
            self._going.append(strand.waiting.popleft())

    def _drop_older(self, strand: _Strand, seq: int) -> None:
        """Of every older seq that waits whole and has a part, only its end stays: dropped, or failed if it was."""
        droppable = {each.seq for each in strand.waiting if each.payload is not None} - {seq, strand.begun}
        if not droppable:
            return
        kept: deque[Frame] = deque()
        for frame in strand.waiting:
            if frame.seq not in droppable:
                kept.append(frame)
            elif frame.flags & Flag.END:
                flags = Flag.END | frame.flags & Flag.CHECKPOINT | (frame.flags & Flag.FAILED or Flag.DROPPED)
                kept.append(Frame(self.edge, frame.seq, 0, flags, None))
        self.dropped += len(droppable)
        strand.waiting = kept
