"""The sending end of an edge (docs/wire.md, 4): credit, and edges that drop."""

from collections.abc import Sequence

import pytest
from places import HERE, line, placed

from mesh.errors import ProtocolError
from mesh.limits import PART_OVERHEAD_BYTES, RUN_WINDOW_SEQS
from mesh.run.events import Flag, Frame
from mesh.run.outbox import Outbox, cost

END, FINAL, FAILED, DROPPED = Flag.END, Flag.FINAL, Flag.FAILED, Flag.DROPPED


def outbox(*, drops: bool, credit_bytes: int, places: Sequence[str] = (HERE,)) -> Outbox:
    """The source edge of a line; ``places`` are those of its target."""
    return Outbox(placed(line(), {"a": places}), 0, drops=drops, credit_bytes=credit_bytes)


def part(seq: int, number: int = 0, flags: int = END, size: int = 36) -> Frame:
    """A part that costs 100 bytes, if not told otherwise."""
    return Frame(0, seq, number, flags, bytes(size))


def end(seq: int, number: int = 0, flags: int = END) -> Frame:
    return Frame(0, seq, number, flags, None)


def sent(box: Outbox) -> list[tuple[int, int, int, bool]]:
    return [(frame.seq, frame.part, frame.flags, frame.payload is not None) for frame in box.take()]


def test_a_frame_costs_its_payload_and_its_overhead() -> None:
    assert cost(part(0, size=36)) == PART_OVERHEAD_BYTES + 36
    assert cost(end(0)) == PART_OVERHEAD_BYTES


def test_frames_go_while_there_is_credit_and_wait_in_order_after_that() -> None:
    box = outbox(drops=False, credit_bytes=250)
    for seq in range(4):
        box.put(part(seq))
    assert [seq for seq, *_ in sent(box)] == [0, 1]
    assert not box.has_room(4)
    box.give(0, 50)
    assert [seq for seq, *_ in sent(box)] == [2]
    box.give(0, 250)
    assert [seq for seq, *_ in sent(box)] == [3]
    assert box.has_room(4)


def test_a_part_larger_than_all_credit_goes_alone() -> None:
    box = outbox(drops=False, credit_bytes=150)
    box.put(part(0))
    box.put(part(1, size=1000))
    box.put(part(2))
    assert [seq for seq, *_ in sent(box)] == [0]
    box.give(0, 100)
    assert [seq for seq, *_ in sent(box)] == [1]
    box.give(0, 1064)
    assert [seq for seq, *_ in sent(box)] == [2]


@pytest.mark.parametrize("amount", [-1, 101])
def test_credit_that_is_not_outstanding_is_refused(amount: int) -> None:
    box = outbox(drops=False, credit_bytes=100)
    box.put(part(0))
    with pytest.raises(ProtocolError, match="bad-message"):
        box.give(0, amount)
    assert box.outstanding == 100


def test_a_part_pushes_out_the_older_seq_that_waits_whole() -> None:
    box = outbox(drops=True, credit_bytes=100)
    for seq in range(4):
        assert box.has_room(seq)
        box.put(part(seq))
    assert box.dropped == 2
    box.give(0, 100)
    assert sent(box) == [(0, 0, END, True), (1, 0, END | DROPPED, False)]
    box.give(0, 64)
    box.give(0, 64)
    assert sent(box) == [(2, 0, END | DROPPED, False), (3, 0, END, True)]


def test_a_seq_that_was_begun_is_not_dropped() -> None:
    box = outbox(drops=True, credit_bytes=100)
    box.put(part(0, 0, 0))
    box.put(part(0, 1, 0))
    assert not box.has_room(0)  # its producer waits: what belongs to a seq that was begun must arrive
    box.give(0, 100)
    box.put(part(0, 2))
    box.put(part(1))
    box.put(part(2))
    assert box.dropped == 1
    box.give(0, 100)
    box.give(0, 100)
    assert sent(box) == [(0, 0, 0, True), (0, 1, 0, True), (0, 2, END, True), (1, 0, END | DROPPED, False)]


def test_a_dropped_seq_that_failed_stays_failed() -> None:
    box = outbox(drops=True, credit_bytes=100)
    box.put(part(0))
    box.put(part(1, 0, 0))
    box.put(end(1, 1, END | FAILED))
    box.put(part(2))
    box.give(0, 100)
    assert sent(box) == [(0, 0, END, True), (1, 0, END | FAILED, False)]


def test_ends_push_nothing_out_and_the_final_seq_neither() -> None:
    box = outbox(drops=True, credit_bytes=100)
    box.put(part(0))
    box.put(part(1))
    box.put(end(2))
    box.put(part(3, 0, END | FINAL))
    assert box.dropped == 0
    assert not box.has_room(3)


def test_what_waits_on_an_edge_that_drops_is_bounded() -> None:
    box = outbox(drops=True, credit_bytes=100)
    seq = 0
    while box.has_room(seq):
        box.put(part(seq))
        seq += 1
    assert box.outstanding <= 100 + RUN_WINDOW_SEQS * 100


def test_a_slow_replica_holds_up_only_what_is_for_it() -> None:
    box = outbox(drops=False, credit_bytes=150, places=["slow", "quick"])
    for seq in range(3):
        assert box.has_room(seq)
        box.put(part(seq))
    assert [seq for seq, *_ in sent(box)] == [0, 1]
    assert not box.has_room(4)
    assert box.has_room(3)
    box.give(1, 100)
    box.put(part(3))
    assert [seq for seq, *_ in sent(box)] == [3]
    box.give(4, 100)  # any seq of the strand names it
    assert [seq for seq, *_ in sent(box)] == [2]


def test_an_edge_that_drops_drops_for_each_replica_apart() -> None:
    box = outbox(drops=True, credit_bytes=100, places=["slow", "quick"])
    for seq in range(6):
        box.put(part(seq))
        if seq % 2:
            box.give(seq, 100)
    assert box.dropped == 1
    assert [seq for seq, *_ in sent(box)] == [0, 1, 3, 5]
