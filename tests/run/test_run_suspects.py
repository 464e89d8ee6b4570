"""The poison rule: an item that kills its peers is found, alone, and given up."""

from collections.abc import Sequence

from mesh.ids import NodeId, PeerId
from mesh.limits import POISON_DEATHS
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.run.driver import Driver, OnError
from mesh.run.events import Emit, Flag, Frame
from mesh.run.outcome import DriverInstruction, Failure, Finished, SeqFailed
from mesh.run.placement import Placement
from mesh.run.suspects import Death

A, B = NodeId("a"), NodeId("b")
GRAPH = Graph(
    (GraphNode(A, "T", b""), GraphNode(B, "T", b"")),
    (Edge(A, B, A), Edge(None, A, ""), Edge(B, None, B)),
    (A, B),
)
SOURCE, SINK = 1, 2


class Room:
    """A driver of ``a`` on one peer and ``b`` on another, which are replaced by fresh ones at each death."""

    def __init__(self, items: int, *, on_error: OnError = "continue") -> None:
        self._peers = 0
        self.sent: list[tuple[int, int]] = []  # seqs and flags of this epoch
        self.failures: list[Failure] = []
        self.finished: Finished | None = None
        self.driver = Driver(GRAPH, self._place(), on_error=on_error)
        for number in range(items):
            self.take(self.driver.admit(bytes([number])))

    def _place(self) -> Placement:
        self._peers += 1
        self.a, self.b = PeerId(f"a{self._peers}"), PeerId(f"b{self._peers}")
        seats = {node: {"on": [{"peer": peer, "runtime": "python"}]} for node, peer in ((A, self.a), (B, self.b))}
        return Placement.from_plan(GRAPH, PeerId("d"), {"steps": [{"from_seq": 0, "nodes": seats}]})

    def take(self, instructions: Sequence[DriverInstruction]) -> None:
        for each in instructions:
            match each:
                case Emit(frame):
                    self.sent.append((frame.seq, frame.flags))
                case SeqFailed(error):
                    self.failures.append(error)
                case Finished():
                    self.finished = each

    def ends(self, *seqs: int, flags: int = Flag.END) -> None:
        for seq in seqs:
            self.take(self.driver.frame(Frame(SINK, seq, 0, flags, None)))

    def dies(self, *peers: PeerId, reached: dict[NodeId, int] | None = None) -> None:
        self.driver.interrupt([Death(peer, f"name of {peer}", reached or {}) for peer in peers])
        self.sent.clear()
        self.take(self.driver.resume(self._place()))

    @property
    def seqs(self) -> list[int]:
        return [seq for seq, _ in self.sent]


def test_suspects_go_out_one_by_one_and_nothing_before_they_are_through() -> None:
    room = Room(4)
    room.ends(0)
    room.dies(room.a)
    assert room.seqs == [1]
    room.take(room.driver.admit(b"more"))
    room.ends(1)
    assert room.seqs == [1, 2]
    room.ends(2, 3)
    assert room.seqs == [1, 2, 3, 4]
    room.take(room.driver.finish_input())
    assert room.seqs == [1, 2, 3, 4, 5]


def test_what_is_known_to_have_ended_there_is_no_suspect_and_goes_out_at_once() -> None:
    room = Room(5)
    room.dies(room.a, reached={A: 3})
    assert room.seqs == [0, 1, 2]
    room.ends(0, 1)
    assert room.seqs == [0, 1, 2]
    room.ends(2)
    assert room.seqs == [0, 1, 2, 3]


def test_a_loss_without_a_death_and_the_death_of_a_peer_without_a_node_make_no_suspects() -> None:
    room = Room(3)
    room.dies()
    assert room.seqs == [0, 1, 2]
    room.dies(PeerId("somebody"))
    assert room.seqs == [0, 1, 2]


def test_three_deaths_while_alone_condemn_an_item_and_nothing_else() -> None:
    room = Room(3)
    room.dies(room.b)
    room.ends(0)
    names = []
    for _ in range(POISON_DEATHS):
        assert room.sent[-1] == (1, Flag.END)
        names.append(f"name of {room.b}")
        room.dies(room.b)
    assert room.sent == [(1, Flag.END | Flag.FAILED)]
    room.ends(1, flags=Flag.END | Flag.FAILED)
    (failure,) = room.failures
    assert (failure.seq, failure.node, failure.kind, failure.peer) == (1, B, "killed", names[-1])
    assert failure.cause.endswith(f": {', '.join(names)}")
    assert room.seqs == [1, 2]
    room.ends(2)
    room.take(room.driver.finish_input())
    room.ends(3, flags=Flag.END | Flag.FINAL)
    assert room.finished == Finished("done")
    assert (room.driver.counts.done + room.driver.counts.filtered, room.driver.counts.failed) == (2, 1)


def test_what_was_condemned_stays_so_over_further_losses() -> None:
    room = Room(2)
    for _ in range(1 + POISON_DEATHS):
        room.dies(room.a)
    room.dies()
    assert room.sent[0] == (0, Flag.END | Flag.FAILED)
    room.ends(0, flags=Flag.END | Flag.FAILED)
    room.dies(room.a)
    assert [failure.seq for failure in room.failures] == [0]


def test_a_death_among_others_does_not_count() -> None:
    room = Room(3)
    for _ in range(2 * POISON_DEATHS):
        room.dies(room.a, reached={A: 1})  # item 0 is no suspect, and under way each time
        assert room.seqs == [0]
    assert not room.failures


def test_with_stop_a_condemned_item_ends_the_run() -> None:
    room = Room(2, on_error="stop")
    for _ in range(1 + POISON_DEATHS):
        room.dies(room.a)
    room.ends(0, flags=Flag.END | Flag.FAILED)
    assert room.finished is not None
    assert room.finished.error is not None
    assert (room.finished.status, room.finished.error.kind) == ("failed", "killed")


def test_the_finish_of_a_node_may_kill_too() -> None:
    room = Room(1)
    room.ends(0)
    room.take(room.driver.finish_input())
    for _ in range(1 + POISON_DEATHS):
        room.dies(room.a)
    assert room.sent == [(1, Flag.END | Flag.FINAL | Flag.FAILED)]
    room.ends(1, flags=Flag.END | Flag.FINAL | Flag.FAILED)
    assert [failure.seq for failure in room.failures] == [1]
    assert room.finished == Finished("done")
