"""Traces of the run engine as JSON (tests/vectors/run.json): how graphs, events and instructions are written there.

A trace is a graph, the engine's options, and steps: an event with the instructions that follow, or with the code that
it raises. Payloads are hex. A node lists what differs from the defaults; an edge is ``[from, to, port]``, and then
``"list"`` and ``"drop"`` where they apply.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mesh.errors import ProtocolError
from mesh.manifest.graph import Edge, Graph, GraphNode
from mesh.run.driver import Driver, DriverInstruction, Failure, Finished, Result, SeqFailed
from mesh.run.events import Call, Checkpoint, Emit, FailRun, Frame, GiveCredit, Instruction, Recreate, ReportError
from mesh.run.fragment import Fragment
from mesh.run.retention import Resumption

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


def read_frame(written: Json) -> Frame:
    edge, seq, part, flags, payload = written
    return Frame(edge, seq, part, flags, None if payload is None else bytes.fromhex(payload))


def write_frame(frame: Frame) -> Json:
    return [frame.edge, frame.seq, frame.part, frame.flags, _hex(frame.payload)]


def _hex(payload: bytes | None) -> str | None:
    return None if payload is None else payload.hex()


def write(instruction: Instruction | DriverInstruction | Resumption) -> Json:
    match instruction:
        case Resumption(first_seq, states):
            return ["resumption", first_seq, {node: _hex(state) for node, state in states.items()}]
        case Call(node, op, payload):
            return ["call", node, op, _hex(payload)]
        case Recreate(node):
            return ["recreate", node]
        case Emit(frame):
            return ["emit", write_frame(frame)]
        case GiveCredit(edge, amount):
            return ["credit", edge, amount]
        case ReportError(node, seq, kind, cause):
            return ["error", node, seq, kind, cause]
        case Checkpoint(node, seq, state, fault):
            return ["checkpoint", node, seq, _hex(state), fault]
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


def engine(trace: Json) -> Fragment | Driver:
    """A fresh engine as the trace wants it."""
    graph, credit = read_graph(trace["graph"]), trace["credit_bytes"]
    if "local" in trace:
        states = {node: bytes.fromhex(state) for node, state in trace.get("states", {}).items()}
        first = trace.get("first_seq", 0)
        return Fragment(graph, trace["local"], first_seq=first, states=states, credit_bytes=credit)
    return Driver(graph, on_error=trace["on_error"], credit_bytes=credit)


def apply(machine: Fragment | Driver, event: Json) -> Json:
    """What an event brings: ``{"gives": instructions}`` or ``{"raises": code}``; of a driver also whether it admits."""
    try:
        outcome: Json = {"gives": [write(each) for each in _call(machine, *event)]}
    except ProtocolError as error:
        outcome = {"raises": error.code}
    if isinstance(machine, Driver):
        outcome["can_admit"] = machine.can_admit()
    return outcome


def _call(machine: Fragment | Driver, name: str, *rest: Json) -> Sequence[Instruction | DriverInstruction | Resumption]:
    match name, rest:
        case "interrupt", ():
            assert isinstance(machine, Driver)
            return [machine.interrupt()]
        case "checkpoint", (node, seq, state, fault):
            assert isinstance(machine, Driver)
            return machine.checkpoint(node, seq, None if state is None else bytes.fromhex(state), fault)
        case "frame", (written,):
            return machine.frame(read_frame(written))
        case "answered", (node, parts, more):
            assert isinstance(machine, Fragment)
            return machine.answered(node, [bytes.fromhex(part) for part in parts], more)
        case "snapshotted", (node, state):
            assert isinstance(machine, Fragment)
            return machine.snapshotted(node, bytes.fromhex(state))
        case "admit", (payload,):
            assert isinstance(machine, Driver)
            return machine.admit(bytes.fromhex(payload))
        case _:
            outcome: Sequence[Instruction | DriverInstruction] = getattr(machine, name)(*rest)
            return outcome


def counts(machine: Fragment | Driver) -> Json:
    """What the engine has counted in the end."""
    if isinstance(machine, Driver):
        return asdict(machine.counts)
    return {"queued": machine.queued(), "dropped": {str(edge): count for edge, count in machine.dropped().items()}}
