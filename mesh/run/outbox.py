"""The sending end of an edge: what waits for credit, and what an edge that drops gives up."""

from collections import deque

from mesh.errors import ProtocolError
from mesh.limits import PART_OVERHEAD_BYTES, RUN_WINDOW_SEQS
from mesh.run.events import Flag, Frame


def cost(frame: Frame) -> int:
    """What a frame counts against the credit of its edge, in bytes."""
    return PART_OVERHEAD_BYTES + (0 if frame.payload is None else len(frame.payload))


class Outbox:
    """``put`` frames, then ``take`` those that may go; ``give`` it the credit that comes back.

    A producer must not make anything while ``has_room`` is false; so what waits is at most one answer of a node, and on
    an edge that drops (``drops``) at most RUN_WINDOW_SEQS ends more. ``dropped`` counts the seqs that it gave up.
    """

    def __init__(self, edge: int, *, drops: bool, credit_bytes: int) -> None:
        self.edge = edge
        self.dropped = 0
        self._drops = drops
        self._credit_bytes = credit_bytes
        self._outstanding = 0
        self._waiting: deque[Frame] = deque()
        self._going: list[Frame] = []
        self._begun = -1  # the last seq of which anything was let go

    @property
    def has_room(self) -> bool:
        """Whether the next frame may be made now."""
        if not self._waiting:
            return self._outstanding < self._credit_bytes or self._drops
        ended = self._waiting[-1].flags & (Flag.END | Flag.FINAL) == Flag.END
        return self._drops and ended and len(self._waiting) < RUN_WINDOW_SEQS

    @property
    def outstanding(self) -> int:
        """Bytes taken over for which no credit came back."""
        return self._outstanding + sum(map(cost, self._waiting))

    def put(self, frame: Frame) -> None:
        """Takes a frame over; on an edge that drops, a part pushes out the older seqs that still wait whole."""
        if self._drops and frame.payload is not None and not frame.flags & Flag.FINAL:
            self._drop_older(frame.seq)
        self._waiting.append(frame)
        self._release()

    def take(self) -> list[Frame]:
        """The frames that may be sent now, in order; they are the caller's from here on."""
        going, self._going = self._going, []
        return going

    def give(self, amount: int) -> None:
        """Credit came back. Raises ProtocolError for more than is outstanding."""
        if not 0 <= amount <= self._outstanding:
            raise ProtocolError(
                "bad-message", f"credit of {amount} bytes for edge {self.edge}, {self._outstanding} are out"
            )
        self._outstanding -= amount
        self._release()

    def _release(self) -> None:
        while self._waiting:
            frame = self._waiting[0]
            if self._outstanding and self._outstanding + cost(frame) > self._credit_bytes:
                return
            self._outstanding += cost(frame)
            self._begun = frame.seq
            self._going.append(self._waiting.popleft())

    def _drop_older(self, seq: int) -> None:
        """Of every older seq that waits whole and has a part, only its end stays: dropped, or failed if it was."""
        droppable = {each.seq for each in self._waiting if each.payload is not None} - {seq, self._begun}
        if not droppable:
            return
        kept: deque[Frame] = deque()
        for frame in self._waiting:
            if frame.seq not in droppable:
                kept.append(frame)
            elif frame.flags & Flag.END:
                flags = Flag.END | frame.flags & Flag.CHECKPOINT | (frame.flags & Flag.FAILED or Flag.DROPPED)
                kept.append(Frame(self.edge, frame.seq, 0, flags, None))
        self.dropped += len(droppable)
        self._waiting = kept
