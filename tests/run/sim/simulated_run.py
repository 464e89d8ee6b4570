"""A run on imagined peers: a driver and several fragments, every delivery and every call in an order of the seed."""

from collections import deque
from collections.abc import Sequence
from random import Random

from imagined_nodes import Outcome, finish, process

from mesh.ids import NodeId
from mesh.manifest.graph import Graph, GraphNode
from mesh.run.driver import Driver, Failure, Finished, Result, SeqFailed
from mesh.run.events import Call, Emit, GiveCredit, Recreate, ReportError
from mesh.run.fragment import Fragment
from mesh.values import decode, encode


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


class Simulation:
    """``run`` to the end; then ``results``, ``failures`` and ``finished`` say what came of it."""

    def __init__(self, graph: Graph, items: Sequence[bytes], random: Random, *, stop: bool, credit_bytes: int) -> None:
        self._random = random
        self._nodes = {node.id: node for node in graph.nodes}
        self._items = deque(items)
        peers = random.randint(1, 4)
        self._home = {node.id: random.randrange(peers) for node in graph.nodes}
        self.fragments = [
            Fragment(graph, [name for name, home in self._home.items() if home == peer], credit_bytes=credit_bytes)
            for peer in range(peers)
        ]
        self.driver = Driver(graph, on_error="stop" if stop else "continue", credit_bytes=credit_bytes)
        self._sender = {number: edge.source for number, edge in enumerate(graph.edges)}
        self._receiver = {number: edge.target for number, edge in enumerate(graph.edges)}
        self.sink_edges = {number for number, target in self._receiver.items() if target is None}
        self._instances = {node.id: Instance(node, random) for node in graph.nodes}
        self._lanes: dict[tuple[object, ...], deque[object]] = {}
        self._calls: list[Call | Recreate] = []
        self._result_out: Result | None = None
        self.results: list[tuple[int, int, bytes]] = []
        self.failures: list[tuple[int, str]] = []
        self.finished: Finished | None = None

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
                    self._deliver(*which)
        assert self.finished is not None, f"deadlock: {[fragment.states() for fragment in self.fragments]}"

    def _actions(self) -> list[tuple[str, object]]:
        lanes = [("deliver", lane) for lane, messages in self._lanes.items() if messages]
        calls = [("call", number) for number in range(len(self._calls))]
        feeds = [("feed", None)] if self._items is not None and (not self._items or self.driver.can_admit()) else []
        takes = [("take", None)] if self._result_out else []
        return [*lanes, *calls, *feeds, *takes]

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

    def _perform(self, call: Call | Recreate) -> None:
        fragment, node = self.fragments[self._home[call.node]], self._nodes[call.node]
        if isinstance(call, Recreate):
            self._instances[call.node] = Instance(node, self._random)
            self._do(fragment.recreated(call.node), call.node)
            return
        instance = self._instances[call.node]
        match call.op:
            case "snapshot":
                self._do(fragment.snapshotted(call.node, encode(instance.state)), call.node)
                return
            case "restore":
                instance.state = decode(call.payload)
                self._do(fragment.restored(call.node), call.node)
                return
            case "process":
                answer = instance.start(process(node, instance.state, call.payload))
            case "finish":
                answer = instance.start(finish(node, instance.state))
            case "next":
                answer = instance.step()
        if isinstance(answer, str):
            self._do(fragment.failed(call.node, answer, "wrong"), call.node)
        else:
            self._do(fragment.answered(call.node, *answer), call.node)

    def _do(self, instructions: Sequence[object], at: NodeId | None = None) -> None:
        """Carries out what the engine at that place wants; messages go into lanes that keep their order."""
        here = None if at is None else self._home[at]
        for each in instructions:
            match each:
                case Call() | Recreate():
                    self._calls.append(each)
                case Emit(frame):
                    self._post(("data", here, self._place(self._receiver[frame.edge])), frame)
                case GiveCredit(edge, _):
                    self._post(("control", here, self._place(self._sender[edge])), each)
                case ReportError():
                    self._post(("control", here, None), each)
                case Result():
                    assert self._result_out is None
                    self._result_out = each
                case SeqFailed(Failure(seq, node)):
                    self.failures.append((seq, node))
                case Finished(_, error):
                    self.finished = each
                    self.failures += [] if error is None else [(error.seq, error.node)]

    def _place(self, node: NodeId | None) -> int | None:
        return None if node is None else self._home[node]

    def _post(self, lane: tuple[object, ...], message: object) -> None:
        self._lanes.setdefault(lane, deque()).append(message)

    def _deliver(self, lane: str, source: object, target: int | None) -> None:
        message = self._lanes[(lane, source, target)].popleft()
        place = self.driver if target is None else self.fragments[target]
        match message:
            case ReportError(node, seq, kind, cause):
                self._do(self.driver.error(node, seq, kind, cause, str(source)))
            case GiveCredit(edge, amount):
                self._do(place.credit(edge, amount), self._sender[edge])
            case frame:
                self._do(place.frame(frame), self._receiver[frame.edge])
