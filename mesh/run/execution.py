"""One instance of a node: which call comes next, and what becomes of its answer.

::

    READY ─call─▶ RUNNING ─answered─▶ READY               one call at a time, and only with room on every out edge
                  RUNNING ─more─▶ HOLDING ─call─▶ RUNNING     a generator, between two steps
    READY ─save─▶ SAVING ─answered─▶ READY                a snapshot, between two inputs; at a checkpoint it is reported
                  RUNNING ─lost─▶ LOST ─recreated─▶ READY     a new instance; for a stateful node by way of:
          LOST ─restore─▶ RESTORING ─replay─▶ REPLAYING ─recreated─▶ READY    (outputs are discarded)
    LOST, … ─broken─▶ BROKEN                              beyond repair: whatever needs a call fails
    READY, RUNNING, BROKEN ─end─▶ ENDED                   the extra seq is out; what still comes in is only consumed
    READY, BROKEN ─leave─▶ LEFT                           a later step begins, and all before it is out; likewise
    AWAITING ─restore─▶ RESTORING                         the new place of a stateful node gets the state of the old one
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final

from mesh.errors import ProtocolError
from mesh.limits import MAX_CAUSE_CHARS, MAX_CHECKPOINT_BYTES, RUN_WINDOW_SEQS
from mesh.manifest.graph import GraphNode
from mesh.run.events import Call, Checkpoint, Flag, Frame, HandOver, Instruction, Interrupt, Op, Recreate, ReportError
from mesh.run.inbox import Inbox, Input
from mesh.run.journal import Journal
from mesh.run.outbox import Outbox
from mesh.run.placement import Seat


class State(Enum):
    """What an instance is doing."""

    READY = auto()
    RUNNING = auto()
    HOLDING = auto()
    SAVING = auto()
    LOST = auto()
    RESTORING = auto()
    REPLAYING = auto()
    BROKEN = auto()
    ENDED = auto()
    LEFT = auto()
    AWAITING = auto()


TRANSITIONS: Final = {
    (State.READY, "call"): State.RUNNING,
    (State.READY, "save"): State.SAVING,
    (State.READY, "end"): State.ENDED,
    (State.RUNNING, "answered"): State.READY,
    (State.RUNNING, "more"): State.HOLDING,
    (State.RUNNING, "lost"): State.LOST,
    (State.RUNNING, "end"): State.ENDED,
    (State.HOLDING, "call"): State.RUNNING,
    (State.HOLDING, "abandon"): State.READY,
    (State.SAVING, "answered"): State.READY,
    (State.LOST, "recreated"): State.READY,
    (State.LOST, "restore"): State.RESTORING,
    (State.LOST, "replay"): State.REPLAYING,
    (State.RESTORING, "replay"): State.REPLAYING,
    (State.RESTORING, "recreated"): State.READY,
    (State.REPLAYING, "replay"): State.REPLAYING,
    (State.REPLAYING, "recreated"): State.READY,
    (State.SAVING, "broken"): State.BROKEN,
    (State.LOST, "broken"): State.BROKEN,
    (State.RESTORING, "broken"): State.BROKEN,
    (State.REPLAYING, "broken"): State.BROKEN,
    (State.BROKEN, "end"): State.ENDED,
    (State.READY, "leave"): State.LEFT,
    (State.BROKEN, "leave"): State.LEFT,
    (State.AWAITING, "restore"): State.RESTORING,
}

GONE: Final = frozenset(("timeout", "trapped", "crashed", "cancelled"))  # kinds of failure that end the instance
_CALLING: Final = (State.RUNNING, State.SAVING, State.RESTORING, State.REPLAYING)
_FREE: Final = (State.READY, State.HOLDING, State.BROKEN, State.ENDED, State.LEFT)  # no call is under way


class NodeExecution:
    """Takes inputs from ``inbox`` and puts frames into every one of ``outboxes``; the fragment carries them on.

    An input stays at the head of the inbox until it was consumed, and the seq that goes out is the seq that comes in.
    So an input of a seq that was ended here already (it failed) needs nothing but to be consumed.
    """

    def __init__(
        self,
        node: GraphNode,
        seat: Seat,
        inbox: Inbox,
        outboxes: Mapping[int, Outbox],
        *,
        first_seq: int,
        state: bytes | None,
        awaits_state: bool = False,
    ) -> None:
        self.node, self.seat, self.inbox, self.outboxes = node, seat, inbox, outboxes
        self.state = State.AWAITING if awaits_state else State.READY
        self._journal = Journal(state) if node.stateful and node.snapshots else None
        self._due: int | None = None  # the checkpoint that is still to be reported
        self._replayed = 0  # inputs of the journal that were given again
        self._op: Op = "process"  # what the call, or the row of calls, under way began with
        self._processed = False  # of the input at the head, only finish is left
        self._seq, self._part = first_seq, 0  # the lowest that was not ended here; of the next frame out
        self._broken = ""  # why no call can be made any more
        self._cancelled: set[int] = set()  # seqs that were not ended here

    @property
    def progress(self) -> tuple[int, bool]:
        """The lowest seq that was not ended here, and whether a call is under way."""
        return self._seq, self.state in _CALLING

    def _to(self, event: str) -> None:
        self.state = TRANSITIONS[self.state, event]

    # What comes next

    def advance(self) -> list[Instruction]:
        """Consumes inputs up to one that needs a call, and asks for that call, while there is room downstream."""
        instructions: list[Instruction] = []
        while self.state in _FREE:
            if self.state is State.READY and self._wants_snapshot():
                self._to("save")
                instructions.append(Call(self.seat, "snapshot"))
                break
            given = self.inbox.head()
            if self.state is State.BROKEN and self._due is not None:
                instructions += self._checkpoint(None, self._broken)
            elif self.state in (State.READY, State.BROKEN) and self._leaves():
                instructions += self._leave(None, self._broken)
            elif given is None or not all(box.has_room(given.seq) for box in self.outboxes.values()):
                break
            elif self.state is State.HOLDING and given.seq in self._cancelled:
                self._to("abandon")
            elif self.state is State.HOLDING:
                instructions.append(self._call("next"))
            else:
                instructions += self._begin(given)
        return instructions

    def _begin(self, given: Input) -> list[Instruction]:
        """Asks for the call that an input needs; where it needs none, passes its end on."""
        op = self._needs(given)
        if given.seq >= self._seq:
            self._seq = given.seq
            if given.seq in self._cancelled:
                return self._fail(given, "cancelled", "")
            if given.fault:
                return self._fail(given, "overflow", given.fault)
            if op and self.state is State.BROKEN:
                return self._fail(given, "lost", self._broken)
            if op:
                return [self._call(op, given.payload if op == "process" else None)]
            self._end(given)
        self.inbox.done()
        return []

    def _needs(self, given: Input) -> Op | None:
        if given.flags & (Flag.FAILED | Flag.DROPPED):
            return None
        if given.payload is not None and not self._processed:
            return "process"
        return "finish" if self._wants_finish(given) else None

    def _call(self, op: Op, payload: bytes | None = None) -> Call:
        self._to("call")
        self._op = self._op if op == "next" else op
        return Call(self.seat, op, payload)

    def _wants_snapshot(self) -> bool:
        return self._journal is not None and (self._due is not None or self._journal.is_full or self._leaves())

    def _wants_finish(self, given: Input) -> bool:
        return self.node.finishes and _is_last(given)

    # What goes out

    def _put(self, flags: int, payload: bytes | None) -> None:
        for box in self.outboxes.values():
            box.put(Frame(box.edge, self._seq, self._part, flags, payload))
        self._part += 1
        if flags & Flag.END:
            self._cancelled.discard(self._seq)
            if flags & Flag.CHECKPOINT and self._journal is not None:
                self._due = self._seq
            self._seq, self._part = self._seq + 1, 0
            if flags & Flag.FINAL:
                self._to("end")

    def _end(self, given: Input) -> None:
        """Ends the seq downstream if this input ends it; that it failed counts for more than that it was dropped."""
        if given.flags & Flag.END:
            bad = given.flags & Flag.FAILED or given.flags & Flag.DROPPED
            self._put(Flag.END | given.flags & Flag.OF_SEQ | bad, None)

    # What came of a call

    def answered(self, parts: Sequence[bytes], more: bool) -> list[Instruction]:
        """The call made ``parts``; ``more``: there may be further ones."""
        if self.state is State.REPLAYING:
            return self._replay(more=more)
        given = self._given()
        wrong = "nobody wants it" if given.seq in self._cancelled else self._misfit(len(parts), more)
        if wrong:
            return self._call_failed(given, "answer", wrong)
        self._to("more" if more else "answered")
        closes = not more and bool(given.flags & Flag.END) and (self._op == "finish" or not self._wants_finish(given))
        lasting = given.flags & Flag.OF_SEQ
        for number, payload in enumerate(parts, 1):
            self._put(lasting | (Flag.END if closes and number == len(parts) else Flag.NONE), payload)
        if closes and not parts:
            self._end(given)
        if not more:
            self._consumed(given, closes=closes)
        return []

    def _consumed(self, given: Input, *, closes: bool) -> None:
        if self._op == "process":
            self._remember(given)
        self._processed = self._op == "process" and not closes and self._wants_finish(given)
        if not self._processed:
            self.inbox.done()

    def _given(self) -> Input:
        """The input of the call under way."""
        given = self.inbox.head()
        if given is None or self.state is not State.RUNNING:
            raise RuntimeError(f"node {self.node.id!r} is {self.state.name}: no call for an input is under way")
        return given

    def _misfit(self, parts: int, more: bool) -> str:
        """How an answer breaks the arity of the node; empty if it does not."""
        arity = self.node.arity
        if arity == "many":
            return ""
        if parts > 1 or more:
            return f"it made a second part, and its arity is {arity!r}"
        if parts == 0 and arity == "one" and self._op == "process":
            return "it made no part, and its arity is 'one' (a filter declares 'maybe')"
        return ""

    def _remember(self, given: Input) -> None:
        if self._journal is not None and given.payload is not None:
            self._journal.processed(given.payload)

    def failed(self, kind: str, cause: str) -> list[Instruction]:
        """The call, or the making of the instance, failed."""
        gone = kind in GONE
        if self.state is State.RUNNING:
            return self._call_failed(self._given(), kind, cause)
        if self.state is State.REPLAYING and not gone:
            return self._replay(more=False)  # it raised the first time too
        if self.state is State.SAVING and not gone and self._journal is not None:
            self._to("answered")
            self._journal.spoiled(f"its snapshot failed: {cause}")
            return self._report_state(None, self._journal.fault)
        what = {State.SAVING: "was lost making a snapshot", State.LOST: "could not be made anew"}
        return self._break(f"it {what.get(self.state, 'could not be brought back to its state')}: {cause}")

    def _call_failed(self, given: Input, kind: str, cause: str) -> list[Instruction]:
        if kind not in GONE and self._op == "process":
            self._remember(given)  # the instance lives on, and may have taken in some of it
        return self._fail(given, kind, cause)

    def _fail(self, given: Input, kind: str, cause: str) -> list[Instruction]:
        """The seq ends here, with an item error unless it was cancelled; what was made of it already stays."""
        cancelled = given.seq in self._cancelled
        self._put(Flag.END | Flag.FAILED | given.flags & Flag.OF_SEQ, None)
        self._processed = False
        self.inbox.done()
        error = ReportError(self.node.id, given.seq, kind, cause[:MAX_CAUSE_CHARS])
        instructions: list[Instruction] = [] if cancelled else [error]
        if self.state is State.RUNNING:
            self._to("lost" if kind in GONE else "answered")
        if self.state is State.LOST:
            instructions += self._recover(f"seq {given.seq}: {cause}")
        return instructions

    def cancel(self, seq: int) -> list[Instruction]:
        """Nobody wants a seq any more: what waits of it is let go, and a call for it is given up.

        Unless the node's state would be lost with the call: then its answer is not used.
        """
        if seq < self._seq:
            return []
        if len(self._cancelled) >= RUN_WINDOW_SEQS:
            raise ProtocolError("bad-message", f"{RUN_WINDOW_SEQS} seqs were cancelled already that did not end")
        self._cancelled.add(seq)
        head = self.inbox.head()
        under_way = self.state is State.RUNNING and head is not None and head.seq == seq
        self.inbox.cancel(seq, but_head=under_way)
        lasting = self.node.stateful and (self._journal is None or bool(self._journal.fault))
        return [Interrupt(self.seat)] if under_way and not lasting else []

    # A lost instance

    def _recover(self, cause: str) -> list[Instruction]:
        if self.node.stateful and self._journal is None:
            return self._break(f"its state was lost, and it makes no snapshots to go on from ({cause})")
        if self._journal is not None and self._journal.fault:
            return self._break(f"its state was lost, and {self._journal.fault} ({cause})")
        return [Recreate(self.seat)]

    def _break(self, reason: str) -> list[Instruction]:
        """No call can be made any more: the next input that needs one fails as ``lost``, and that ends the run."""
        self._to("broken")
        self._broken = reason
        return []

    def recreated(self) -> list[Instruction]:
        """There is a new instance."""
        if self._journal is None:
            self._to("recreated")
            return []
        self._replayed = 0
        if self._journal.snapshot is None:
            return self._replay(more=False)
        self._to("restore")
        return [Call(self.seat, "restore", self._journal.snapshot)]

    def restored(self) -> list[Instruction]:
        """It is back at the last snapshot."""
        return self._replay(more=False)

    def _replay(self, *, more: bool) -> list[Instruction]:
        """Gives the inputs since the snapshot again, one by one, to the end of each; what they make went out before."""
        if more and self.node.arity == "many":
            return [Call(self.seat, "next")]
        inputs = self._journal.inputs if self._journal is not None else ()
        if self._replayed == len(inputs):
            self._to("recreated")
            return []
        self._to("replay")
        self._replayed += 1
        return [Call(self.seat, "process", inputs[self._replayed - 1])]

    def snapshotted(self, snapshot: bytes) -> list[Instruction]:
        """The snapshot was made."""
        self._to("answered")
        if self._journal is None:
            return []
        self._journal.saved(snapshot)
        if len(snapshot) > MAX_CHECKPOINT_BYTES:
            fault = f"its state has {len(snapshot)} bytes, more than {MAX_CHECKPOINT_BYTES}"
            return self._report_state(None, fault)
        return self._report_state(snapshot, "")

    def _report_state(self, state: bytes | None, fault: str) -> list[Instruction]:
        """At a checkpoint, and when the node goes on elsewhere."""
        reported = self._checkpoint(state, fault)
        return [*reported, *self._leave(state, fault)] if self._leaves() else reported

    def _checkpoint(self, state: bytes | None, fault: str) -> list[Instruction]:
        if self._due is None:
            return []
        seq, self._due = self._due, None
        return [Checkpoint(self.node.id, seq, state, fault[:MAX_CAUSE_CHARS])]

    # A planned move

    def _leaves(self) -> bool:
        """Whether all that is served here is out, because a later step of the plan begins."""
        return self.seat.until is not None and self.seat.first(self._seq) is None

    def _leave(self, state: bytes | None, fault: str) -> list[Instruction]:
        self._to("leave")
        return [HandOver(self.node.id, state, fault[:MAX_CAUSE_CHARS])] if self.node.stateful else []

    @property
    def is_over(self) -> bool:
        """Whether nothing of what was served here is still on its way, in or out."""
        ports, boxes = self.inbox.ports.values(), self.outboxes.values()
        return self.state is State.LEFT and all(port.is_over for port in ports) and all(box.is_drained for box in boxes)

    def is_through(self, cut: int) -> bool:
        """Whether nothing of the seqs below ``cut`` is on its way here.

        One that stays may have ended them all, and still have parts of a seq that failed to consume.
        """
        return self.is_over if self.seat.until is not None else self.inbox.is_past(cut)

    def forget(self) -> None:
        """Drops what the placement has forgotten."""
        for port in self.inbox.ports.values():
            port.forget()
        for box in self.outboxes.values():
            box.forget()

    def arrived(self, state: bytes) -> list[Instruction]:
        """The state of the place that the node had before."""
        self._journal = Journal(state)
        self._to("restore")
        return [Call(self.seat, "restore", state)]


def _is_last(given: Input) -> bool:
    """Whether nothing comes after this input."""
    return given.flags & (Flag.END | Flag.FINAL) == Flag.END | Flag.FINAL
