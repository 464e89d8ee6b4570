"""Traces of the run engine as JSON (tests/vectors/run.json): how graphs, events and instructions are written there.

A trace is a graph, the engine's options, and steps: an event with the instructions that follow, or with the code that
it raises. Payloads are hex. A node lists what differs from the defaults; an edge is ``[from, to, port]``, and then
``"list"`` and ``"drop"`` where they apply.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mesh.errors import ProtocolError
from mesh.ids import PeerId
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.run.driver import Driver
from mesh.run.events import (
    Call,
    CancelSeq,
    Checkpoint,
    Emit,
    FailRun,
    Frame,
    GiveCredit,
    HandOver,
    Instruction,
    Interrupt,
    Recreate,
    ReportError,
    Retire,
    Through,
)
from mesh.run.fragment import Fragment
from mesh.run.outcome import DriverInstruction, Failure, Finished, Result, SeqFailed
from mesh.run.placement import Placement, Seat
from mesh.run.retention import Resumption
from mesh.run.suspects import Death

type Json = Any


def read_graph(written: Json) -> Graph:
    nodes = tuple(
        GraphNode(**{"node_type": "T", "params": b"", **node, "optional": tuple(node.get("optional", ()))})
        for node in written["nodes"]
    )
    edges = tuple(
        Edge(source, target, port, "list" in rest, "drop_oldest" if "drop" in rest else "block")
        for source, target, port, *rest in written["edges"]
    )
    return Graph(nodes, edges, tuple(node.id for node in nodes))


def read_placement(graph: Graph, trace: Json) -> Placement:
    step = {"from_seq": 0, "nodes": _written_nodes(read_places(graph, trace))}
    return Placement.from_plan(graph, PeerId("driver"), {"steps": [step]})


def read_places(graph: Graph, trace: Json) -> dict[str, list[str]]:
    places = {node.id: ["here" if node.id in trace.get("local", ()) else "there"] for node in graph.nodes}
    return places | trace.get("places", {})


def _written_nodes(places: dict[str, list[str]]) -> Json:
    return {node: {"on": [{"peer": peer, "runtime": "python"} for peer in peers]} for node, peers in places.items()}


def seat_name(seat: Seat) -> str:
    return seat.node + (f"@{seat.since}" if seat.since else "") + (f"#{seat.index}" if seat.share > 1 else "")


def read_frame(written: Json) -> Frame:
    edge, seq, part, flags, payload = written
    return Frame(edge, seq, part, flags, None if payload is None else bytes.fromhex(payload))


def write_frame(frame: Frame) -> Json:
    return [frame.edge, frame.seq, frame.part, frame.flags, _hex(frame.payload)]


def _hex(payload: bytes | None) -> str | None:
    return None if payload is None else payload.hex()


@dataclass
class Hold:
    """What ``hold`` answers."""

    since: int


def write(instruction: Instruction | DriverInstruction | Resumption | Hold) -> Json:
    match instruction:
        case Hold(since):
            return ["hold", since]
        case Resumption(first_seq, states):
            return ["resumption", first_seq, {node: _hex(state) for node, state in states.items()}]
        case Call(seat, op, payload):
            return ["call", seat_name(seat), op, _hex(payload)]
        case Recreate(seat):
            return ["recreate", seat_name(seat)]
        case Interrupt(seat):
            return ["interrupt", seat_name(seat)]
        case CancelSeq(seq):
            return ["cancelSeq", seq]
        case Emit(frame):
            return ["emit", write_frame(frame)]
        case GiveCredit(edge, seq, amount):
            return ["credit", edge, seq, amount]
        case ReportError(node, seq, kind, cause):
            return ["error", node, seq, kind, cause]
        case Checkpoint(node, seq, state, fault):
            return ["checkpoint", node, seq, _hex(state), fault]
        case HandOver(node, state, fault):
            return ["handOver", node, _hex(state), fault]
        case Retire(seat):
            return ["retire", seat_name(seat)]
        case Through():
            return ["through"]
        case FailRun(reason):
            return ["fail", reason]
        case Result(seq, part, payload):
            return ["result", seq, part, _hex(payload)]
        case SeqFailed(error):
            return ["seqFailed", *_failure(error)]
        case Finished(status, error, reason):
            return ["finished", status, error and _failure(error), reason]


def _failure(error: Failure) -> list[Json]:
    return [error.seq, error.node, error.kind, error.cause, error.peer]


class Machine:
    """A fresh engine as the trace wants it."""

    def __init__(self, trace: Json) -> None:
        self._graph = graph = read_graph(trace["graph"])
        credit = trace["credit_bytes"]
        self.placement = read_placement(graph, trace)
        self._places = read_places(graph, trace)
        self.fragment: Fragment | None = None
        self.driver: Driver | None = None
        if "local" in trace:
            states = {node: bytes.fromhex(state) for node, state in trace.get("states", {}).items()}
            first, here = trace.get("first_seq", 0), PeerId("here")
            self.fragment = Fragment(graph, self.placement, here, first_seq=first, states=states, credit_bytes=credit)
        else:
            self.driver = Driver(graph, self.placement, on_error=trace["on_error"], credit_bytes=credit)

    def apply(self, event: Json) -> Json:
        """What comes of an event: ``{"gives": instructions}`` or ``{"raises": code}``, and whether a driver admits."""
        name, *rest = event
        try:
            told = self._fragment(name, *rest) if self.fragment is not None else self._drive(name, *rest)
            outcome: Json = {"gives": [write(each) for each in told]}
        except ProtocolError as error:
            outcome = {"raises": error.code}
        if self.driver is not None:
            outcome["can_admit"] = self.driver.can_admit()
        return outcome

    def _fragment(self, name: str, *rest: Json) -> Sequence[Instruction]:
        assert self.fragment is not None
        match name, rest:
            case "frame", (written,):
                return self.fragment.frame(read_frame(written))
            case "credit", (edge, seq, amount):
                return self.fragment.credit(edge, seq, amount)
            case "cancel", (seq,):
                return self.fragment.cancel(seq)
            case "cut", (since, places):
                self._cut(since, places)
                return self.fragment.cut(since)
        seat = next(seat for seat in self.placement.seats() if seat_name(seat) == rest[0])
        match name, rest[1:]:
            case "answered", (parts, more):
                return self.fragment.answered(seat, [bytes.fromhex(part) for part in parts], more)
            case (("snapshotted" | "arrived"), (state,)):
                event = self.fragment.snapshotted if name == "snapshotted" else self.fragment.arrived
                return event(seat, bytes.fromhex(state))
            case _, arguments:
                outcome: Sequence[Instruction] = getattr(self.fragment, name)(seat, *arguments)
                return outcome

    def _cut(self, since: int, places: dict[str, list[str]]) -> None:
        self._places |= places
        self.placement.cut(since, self.placement.proposed(_written_nodes(self._places)))

    def _drive(self, name: str, *rest: Json) -> Sequence[DriverInstruction | Resumption | Hold]:
        assert self.driver is not None
        match name, rest:
            case "interrupt", deaths:
                return [self.driver.interrupt([Death(*death) for death in deaths])]
            case "resume", places:
                if places:  # those of a new epoch
                    self._places = dict(places[0])
                    self.placement = read_placement(self._graph, {"places": self._places})
                return self.driver.resume(self.placement)
            case "hold", ():
                since = self.driver.hold()
                return [] if since is None else [Hold(since)]
            case "cut", (since, places):
                self._cut(since, places)
                return []
            case "checkpoint", (node, seq, state, fault):
                return self.driver.checkpoint(node, seq, None if state is None else bytes.fromhex(state), fault)
            case "frame", (written,):
                return self.driver.frame(read_frame(written))
            case "admit", (payload,):
                return self.driver.admit(bytes.fromhex(payload))
            case _:
                outcome: Sequence[DriverInstruction] = getattr(self.driver, name)(*rest)
                return outcome

    def counts(self) -> Json:
        """What the engine has counted in the end."""
        if self.driver is not None:
            return asdict(self.driver.counts)
        assert self.fragment is not None
        dropped = {str(edge): count for edge, count in self.fragment.dropped().items()}
        return {"queued": self.fragment.queued(), "dropped": dropped}
