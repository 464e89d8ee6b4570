"""A run on imagined peers: a driver and several fragments, every delivery and every call in an order of the seed.

A move changes places while the run goes on. A crash takes one fragment away: the others go on in the old epoch until
all of them are set up anew, and what they sent until then arrives whenever it may: it must be fenced off.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from imagined_nodes import Outcome, finish, process

from mesh.ids import NodeId, PeerId
from mesh.limits import POISON_DEATHS
from mesh.manifest.graph import Graph, GraphNode
from mesh.run.driver import Driver
from mesh.run.events import (
    Call,
    CancelSeq,
    Checkpoint,
    Emit,
    GiveCredit,
    HandOver,
    Interrupt,
    Recreate,
    ReportError,
    Retire,
    Through,
)
from mesh.run.fragment import Fragment
from mesh.run.outcome import Failure, Finished, Result, SeqFailed
from mesh.run.placement import Placement, Seat
from mesh.run.retention import Resumption
from mesh.run.suspects import Death
from mesh.values import decode, encode

HOME = PeerId("driver")


class Instance:
    """An imagined node, alive: hands out the parts of an outcome a few at a time."""

    def __init__(self, node: GraphNode, random: Random) -> None:
        self.state = 0
        self._node = node
        self._random = random
        self._parts: list[bytes] = []
        self._error = ""

    def start(self, outcome: Outcome) -> tuple[list[bytes], bool] | str:
        self.state = outcome.state
        self._parts, self._error = list(outcome.parts), outcome.error
        return self.step()

    def step(self) -> tuple[list[bytes], bool] | str:
        """Parts and whether there may be more, or the kind of the error."""
        if self._error and not self._parts:
            return self._error
        count = self._random.randint(0, 3) if self._node.arity == "many" else self._random.randint(1, 2)
        given, self._parts = self._parts[:count], self._parts[count:]
        more = bool(self._parts or self._error) or (self._node.arity == "many" and self._random.random() < 0.3)
        return given, more


@dataclass(frozen=True)
class Cut:
    """Tells a peer of a new step, and comes back when it knows."""

    since: int
    places: dict[str, object]


@dataclass
class Move:
    """The one under way: who does not know of it yet, and who is not through."""

    since: int
    missing: set[PeerId]
    before: set[PeerId]


class Simulation:
    """``run`` to the end; then ``results``, ``failures`` and ``finished`` say what came of it."""

    def __init__(
        self,
        graph: Graph,
        items: Sequence[bytes],
        random: Random,
        *,
        stop: bool,
        credit_bytes: int,
        crashes: Sequence[int] = (),
        moves: Sequence[int] = (),
        cancels: float = 0.0,
        poison: tuple[int, NodeId] | None = None,
    ) -> None:
        """``cancels``: how likely it is after each step that a seq is given up. ``crashes``, ``moves``: after how many
        steps each of them comes, counted from the one before. Crashes are told as deaths, but for so many as would
        condemn an item that has nothing to do with them. ``poison``: a seq, and a node whose peer dies of it.
        """
        self._random = random
        self._graph, self._credit_bytes = graph, credit_bytes
        self._crashes, self._moves = deque(crashes), deque(moves)
        self._unrelated = 0  # crashes that have come
        self._cancels = cancels
        self.cancelled: set[int] = set()
        self._poison = poison
        self.moved = 0
        self._nodes = {node.id: node for node in graph.nodes}
        self._items = deque(items)
        self.epoch = self._fragments_epoch = 1
        self._calls: list[Call | Recreate] = []
        self._set_up(Resumption(0, {}))
        on_error = "stop" if stop else "continue"
        self.driver = Driver(graph, self.placement, on_error=on_error, credit_bytes=credit_bytes)
        self.sink_edges = {number for number, edge in enumerate(graph.edges) if edge.target is None}
        self._lanes: dict[tuple[str, PeerId, PeerId], deque[object]] = {}
        self._resumption: Resumption | None = None
        self._gone: set[PeerId] = set()  # who crashed in this epoch
        self._first_source = next(number for number, edge in enumerate(graph.edges) if edge.source is None)
        self._sent: list[int] = []
        self._result_out: Result | None = None
        self.results: list[tuple[int, int, bytes]] = []
        self.failures: list[tuple[int, str]] = []
        self.finished: Finished | None = None

    def _set_up(self, resumption: Resumption) -> None:
        """Fresh fragments of all nodes, on peers drawn anew; of some nodes several instances."""
        self._peers = [PeerId(f"p{number}") for number in range(self._random.randint(1, 4))]
        self._places = {name: {"on": self._seats(node)} for name, node in self._nodes.items()}
        self.placement = self._placement()
        self.placements = {HOME: self.placement}
        self.fragments: dict[PeerId, Fragment] = {}
        self._instances: dict[Seat, Instance] = {}
        self._move: Move | None = None
        for peer in self._peers:
            self._begin(peer, resumption)

    def _placement(self) -> Placement:
        return Placement.from_plan(self._graph, HOME, {"steps": [{"from_seq": 0, "nodes": self._places}]})

    def _begin(self, peer: PeerId, resumption: Resumption) -> None:
        """Every peer has a placement of its own."""
        placement = self.placements[peer] = self._placement()
        first, states = resumption.first_seq, resumption.states
        self.fragments[peer] = Fragment(
            self._graph, placement, peer, first_seq=first, states=states, credit_bytes=self._credit_bytes
        )
        self._make(placement, peer)
        for seat in placement.seats(peer):
            if seat.node in states:
                self._instances[seat].state = decode(states[seat.node])

    def _make(self, placement: Placement, peer: PeerId) -> None:
        for seat in placement.seats(peer):
            if seat not in self._instances:
                self._instances[seat] = Instance(self._nodes[seat.node], self._random)

    def _seats(self, node: GraphNode) -> list[dict[str, str]]:
        count = 1 if node.stateful else self._random.choice((1, 1, 2, 3))
        return [{"peer": self._random.choice(self._peers), "runtime": "python"} for _ in range(count)]

    @property
    def replayed(self) -> int:
        """Items that were sent again."""
        return len(self._sent) - len(set(self._sent))

    def run(self) -> None:
        """Until nothing can happen any more."""
        while (actions := self._actions()) and not (self.finished and self.finished.status == "failed"):
            kind, which = self._random.choice(actions)
            match kind:
                case "feed":
                    self._feed()
                case "take":
                    self._take()
                case "call":
                    self._perform(self._calls.pop(which))
                case "deliver":
                    self._deliver(which)
                case "resume":
                    self._resume()
            self._perhaps_cancel()
            self._perhaps_move()
            self._perhaps_crash()
        assert self.finished is not None, f"deadlock: {[fragment.states() for fragment in self.fragments.values()]}"

    def _actions(self) -> list[tuple[str, object]]:
        lanes = [("deliver", lane) for lane, messages in self._lanes.items() if messages]
        calls = [("call", number) for number in range(len(self._calls))]
        feeds = [("feed", None)] if self._items is not None and (not self._items or self.driver.can_admit()) else []
        takes = [("take", None)] if self._result_out else []
        resumes = [("resume", None)] if self._resumption else []
        return [*lanes, *calls, *feeds, *takes, *resumes]

    def _perhaps_cancel(self) -> None:
        admitted = range(self.driver.turn, self.driver.counts.items_in)
        if not self._cancels or not admitted or self.finished or self._resumption:
            return
        if self._random.random() < self._cancels:
            seq = self._random.choice(admitted)
            self.cancelled.add(seq)
            self._do(self.driver.cancel(seq))

    def _interrupt(self, seat: Seat) -> None:
        self._calls = [call for call in self._calls if call.seat is not seat]
        self._do(self.fragments[seat.peer].failed(seat, "cancelled", ""), seat.peer)

    def _perhaps_crash(self) -> None:
        if not self._crashes or self.finished:
            return
        self._crashes[0] -= 1
        if self._crashes[0] > 0:
            return
        self._crashes.popleft()
        self._unrelated += 1
        self._crash(self._random.choice(self._peers), died=self._unrelated < POISON_DEATHS)

    def _crash(self, peer: PeerId, *, died: bool = True) -> None:
        if self.driver.fault:
            self._do(self.driver.fail(self.driver.fault))
            return
        self.epoch += 1
        self._gone.add(peer)
        self._calls = [call for call in self._calls if call.seat.peer not in self._gone]
        reached: dict[NodeId, int] = {}
        for seat, (seq, _) in self.fragments[peer].progress().items():
            known = self._random.choice((0, seq))  # what it told of itself may be old
            reached[seat.node] = min(known, reached.get(seat.node, known))
        self._resumption = self.driver.interrupt([Death(peer, peer, reached)] if died else ())

    def _perhaps_move(self) -> None:
        """Some nodes go elsewhere, perhaps to peers that had no part in the run."""
        if not self._moves or self._move or self._resumption or self.finished:
            return
        self._moves[0] -= 1
        if self._moves[0] > 0:
            return
        self._moves.popleft()
        since = self.driver.hold()
        if since is None:
            return
        self._peers.append(PeerId(f"newcomer{len(self._moves)}"))
        self._begin(self._peers[-1], Resumption(self._random.randint(0, since), {}))
        places = {name: self._perhaps_moved(node) for name, node in self._nodes.items()}
        step = self.placement.proposed(places)
        self.placement.cut(since, step)
        self._places, self._move = places, Move(since, set(self._peers), set(self._peers))
        for peer in self._peers:
            self._post("control", HOME, peer, Cut(since, places))

    def _perhaps_moved(self, node: GraphNode) -> dict[str, object]:
        stays = (node.stateful and not node.snapshots) or self._random.random() < 0.4
        return self._places[node.id] if stays else {"on": self._seats(node)}

    def _cut(self, peer: PeerId, cut: Cut) -> None:
        placement = self.placements[peer]
        placement.cut(cut.since, placement.proposed(cut.places))
        self._make(placement, peer)
        self._do(self.fragments[peer].cut(cut.since), peer)
        self._post("control", peer, HOME, cut)

    def _agreed(self, peer: PeerId) -> None:
        assert self._move is not None
        self._move.missing.discard(peer)
        if not self._move.missing:
            self._do(self.driver.go_on())

    def _handed_over(self, told: HandOver) -> None:
        assert self._move is not None
        if told.state is None:
            self._crash(self._random.choice(self._peers), died=False)
        else:
            self._post("control", HOME, self.placement.seat(told.node, self._move.since).peer, told)

    def _perhaps_end_move(self) -> None:
        """When the old places are through, and all of theirs is out, who has no part any more goes."""
        move = self._move
        if move is None or move.missing or move.before or self.driver.turn < move.since:
            return
        self._move = None
        self.moved += 1
        staying = {seat.peer for seats in self.placement.seats_of_last_step().values() for seat in seats}
        for peer in set(self._peers) - staying:
            assert not any(call.seat.peer == peer for call in self._calls)
            del self.fragments[peer], self.placements[peer]
            self._peers.remove(peer)

    def _resume(self) -> None:
        assert self._resumption is not None
        self._calls.clear()
        self._fragments_epoch = self.epoch
        self._set_up(self._resumption)
        self._gone, self._resumption = set(), None
        self._do(self.driver.resume(self.placement))

    def _feed(self) -> None:
        if self._items:
            self._do(self.driver.admit(self._items.popleft()))
        else:
            self._items = None
            self._do(self.driver.finish_input())

    def _take(self) -> None:
        assert self._result_out is not None
        self.results.append((self._result_out.seq, self._result_out.part, self._result_out.payload))
        self._result_out = None
        self._do(self.driver.taken())
        self._perhaps_end_move()

    def _perform(self, call: Call | Recreate) -> None:
        seat = call.seat
        fragment, node = self.fragments[seat.peer], self._nodes[seat.node]
        if isinstance(call, Recreate):
            self._instances[seat] = Instance(node, self._random)
            self._do(fragment.recreated(seat), seat.peer)
            return
        if call.op in ("process", "finish") and (fragment.progress()[seat][0], seat.node) == self._poison:
            if not self._resumption:
                self._crash(seat.peer)
            return
        instance = self._instances[seat]
        match call.op:
            case "snapshot":
                self._do(fragment.snapshotted(seat, encode(instance.state)), seat.peer)
                return
            case "restore":
                instance.state = decode(call.payload)
                self._do(fragment.restored(seat), seat.peer)
                return
            case "process":
                answer = instance.start(process(node, instance.state, call.payload, self._fragments_epoch))
            case "finish":
                answer = instance.start(finish(node, instance.state))
            case "next":
                answer = instance.step()
        if isinstance(answer, str):
            self._do(fragment.failed(seat, answer, "wrong"), seat.peer)
        else:
            self._do(fragment.answered(seat, *answer), seat.peer)

    def _do(self, instructions: Sequence[object], here: PeerId = HOME) -> None:
        """Carries out what the engine at that place wants; messages go into lanes that keep their order."""
        for each in instructions:
            match each:
                case Call() | Recreate():
                    self._calls.append(each)
                case Interrupt(seat):
                    self._interrupt(seat)
                case CancelSeq():
                    for peer in self._peers:
                        self._post("control", HOME, peer, each)
                case Emit(frame):
                    if frame.edge == self._first_source and frame.payload is not None:
                        self._sent.append(frame.seq)
                    self._post("data", here, self.placements[here].target(frame.edge, frame.seq).peer, frame)
                case GiveCredit(edge, seq):
                    self._post("control", here, self.placements[here].source(edge, seq).peer, each)
                case Retire(seat):
                    del self._instances[seat]
                case ReportError() | Checkpoint() | HandOver() | Through():
                    self._post("control", here, HOME, each)
                case Result():
                    assert self._result_out is None
                    self._result_out = each
                case SeqFailed(Failure(seq, node)):
                    self.failures.append((seq, node))
                case Finished(_, error):
                    self.finished = each
                    self.failures += [] if error is None else [(error.seq, error.node)]

    def _post(self, lane: str, source: PeerId, target: PeerId, message: object) -> None:
        epoch = self.epoch if source == HOME else self._fragments_epoch
        assert source != HOME or self._resumption is None, "the driver sent something to a run that it interrupted"
        self._lanes.setdefault((lane, source, target), deque()).append((epoch, message))

    def _deliver(self, lane: tuple[str, PeerId, PeerId]) -> None:
        _, source, target = lane
        epoch, message = self._lanes[lane].popleft()
        if epoch != (self.epoch if target == HOME else self._fragments_epoch) or (target in self._gone):
            return
        if target not in self.placements:  # it has no part any more
            assert isinstance(message, GiveCredit | CancelSeq)
            return
        place = self.driver if target == HOME else self.fragments[target]
        match message:
            case Cut():
                self._agreed(source) if target == HOME else self._cut(target, message)
            case Through():
                assert self._move is not None
                self._move.before.discard(source)
            case HandOver() if target == HOME:
                self._handed_over(message)
            case HandOver(node, state):
                self._do(self.fragments[target].arrived(self.placements[target].seat(node, 1 << 60), state), target)
            case GiveCredit(edge, seq) if not self.placements[target].remembers(edge, seq):
                pass
            case CancelSeq(seq):
                self._do(self.fragments[target].cancel(seq), target)
            case ReportError(node, seq, kind, cause):
                self._do(self.driver.error(node, seq, kind, cause, source))
            case Checkpoint(node, seq, state, fault):
                self._do(self.driver.checkpoint(node, seq, state, fault))
            case GiveCredit(edge, seq, amount):
                self._do(place.credit(edge, seq, amount), target)
            case frame:
                self._do(place.frame(frame), target)
        self._perhaps_end_move()
