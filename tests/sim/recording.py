"""Writes down what simulated peers ask of their engines, as traces for every implementation of them.

Traces of fragments and drivers are as tests/run/run_traces.py reads them, with the ``places`` of all nodes for every
epoch. Those of sessions are as in tests/vectors/session.json, but for ``frame``: a single ``next_frame``.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import Any, Final
from unittest.mock import patch

from run_traces import Hold, seat_name, write, write_frame

from mesh.ids import PeerId
from mesh.manifest.graph import Graph, GraphNode
from mesh.protocol.codec import Lane
from mesh.protocol.session import Delivered, Event, Session
from mesh.run.driver import Driver
from mesh.run.fragment import Fragment
from mesh.run.placement import Placement

type Json = Any
type Written = Callable[..., list[Json]]  # the arguments of a call, as a trace has them

LONGEST_SESSION: Final = 250  # steps; what follows is more of the same

ENGINE: Final[dict[str, Written]] = {
    "frame": lambda frame: [write_frame(frame)],
    "credit": lambda edge, seq, amount: [edge, seq, amount],
    "cancel": lambda seq: [seq],
}
FRAGMENT: Final[dict[str, Written]] = ENGINE | {
    "arrived": lambda seat, state: [seat_name(seat), state.hex()],
    "answered": lambda seat, parts, more: [seat_name(seat), [part.hex() for part in parts], more],
    "snapshotted": lambda seat, snapshot: [seat_name(seat), snapshot.hex()],
    "restored": lambda seat: [seat_name(seat)],
    "recreated": lambda seat: [seat_name(seat)],
    "failed": lambda seat, kind, cause: [seat_name(seat), kind, cause],
}
DRIVER: Final[dict[str, Written]] = ENGINE | {
    "admit": lambda payload: [payload.hex()],
    "finish_input": lambda: [],
    "taken": lambda: [],
    "error": lambda node, seq, kind, cause, peer: [node, seq, kind, cause, peer],
    "checkpoint": lambda node, seq, state, fault="": [node, seq, None if state is None else state.hex(), fault],
    "hold": lambda: [],
    "go_on": lambda: [],
    "fail": lambda reason: [reason],
}

SESSION: Final[dict[str, Callable[..., Json]]] = {  # what a call told comes before its arguments
    "send": lambda _, lane, message: {"send": lane.name.lower(), "message": message.hex()},
    "receive": lambda told, lane, frame, now: {
        "receive": lane.name.lower(),
        "hex": frame.hex(),
        "now": now,
        "events": [_event(each) for each in told],
    },
    "tick": lambda silent, now: {"tick": now, "silent": silent},
    "resume": lambda _, now: {"resume": now},
    "probe": lambda _, now: {"probe": now},
    "next_frame": lambda frame, lane: {"frame": lane.name.lower(), "hex": None if frame is None else frame.hex()},
}


class Recorder:
    """While it is ``installed``, engines that peers make are recorded: ``runs`` has fragments and drivers."""

    def __init__(self, about: str) -> None:
        self.runs: list[Json] = []
        self.sessions: list[Json] = []
        self._about = about

    @contextmanager
    def installed(self) -> Iterator[None]:
        engines = {
            "mesh.peer.host.Fragment": self._fragment,
            "mesh.peer.driving.run.Driver": self._driver,
            "mesh.transport.session_link.Session": self._session,
        }
        with ExitStack() as stack:
            for name, stand_in in engines.items():
                stack.enter_context(patch(name, stand_in))
            yield

    def _fragment(self, graph: Graph, placement: Placement, me: PeerId, **options: Any) -> Fragment:
        engine = Fragment(graph, placement, me, **options)
        if me != placement.driver:  # where there is nothing
            states = {node: state.hex() for node, state in options["states"].items()}
            header = {"local": [], "first_seq": options["first_seq"], "states": states}
            recorded = _Recorded(engine, graph, placement, {me: "here", placement.driver: "driver"}, FRAGMENT, header)
            recorded.wrap("cut", lambda since: [since, *recorded.cut()[2:]])
            self._add(recorded, "a fragment")
        return engine

    def _driver(self, graph: Graph, placement: Placement, **options: Any) -> Driver:
        engine = Driver(graph, placement, **options)
        names = {placement.driver: "driver"}
        recorded = _Recorded(engine, graph, placement, names, DRIVER, {"on_error": options["on_error"]})
        recorded.wrap("interrupt", lambda deaths=(): [[each.peer, each.name, dict(each.reached)] for each in deaths])
        recorded.wrap("resume", lambda placement: [recorded.move_to(placement)])
        self._add(recorded, "a driver")
        return engine

    def _add(self, recorded: "_Recorded", what: str) -> None:
        recorded.trace["about"] = f"{self._about}: {what}, the {len(self.runs) + 1}. engine"
        self.runs.append(recorded.trace)

    def _session(self, now: float) -> Session:
        session = Session(now)
        self.sessions.append({"name": f"{self._about}, session {len(self.sessions) + 1}", "now": now, "steps": []})
        for name, written in SESSION.items():
            setattr(session, name, _session_call(getattr(session, name), written, self.sessions[-1]["steps"]))
        return session


def replayed(trace: Json) -> list[Json]:
    """The steps of a session's trace, as the session of now makes them."""
    session, steps = Session(trace["now"]), list[Json]()
    calls = {name: _session_call(getattr(session, name), written, steps) for name, written in SESSION.items()}
    for step in trace["steps"]:
        match step:
            case {"send": lane, "message": message}:
                calls["send"](Lane[lane.upper()], bytes.fromhex(message))
            case {"receive": lane, "hex": frame, "now": now}:
                calls["receive"](Lane[lane.upper()], bytes.fromhex(frame), now)
            case {"frame": lane}:
                calls["next_frame"](Lane[lane.upper()])
            case {"tick": now} | {"resume": now} | {"probe": now}:
                calls[next(iter(step))](now)
    return steps


class _Recorded:
    """One engine of a run. Its placement changes beside it, so a cut is noticed before what comes next."""

    def __init__(
        self,
        engine: Fragment | Driver,
        graph: Graph,
        placement: Placement,
        names: Mapping[PeerId, str],
        events: Mapping[str, Written],
        header: Mapping[str, Json],
    ) -> None:
        self._engine, self._placement, self._names = engine, placement, names
        self._last = self._places()
        credit_bytes = engine._credit_bytes
        self.trace: dict[str, Json] = {
            "about": "",
            "graph": _write_graph(graph),
            "credit_bytes": credit_bytes,
            "places": self._last,
            **header,
            "steps": [],
        }
        for name, written in events.items():
            self.wrap(name, written)

    def wrap(self, name: str, written: Written) -> None:
        """From now on calls of that method are recorded."""
        method = getattr(self._engine, name)

        def call(*args: Any, **options: Any) -> Any:
            if name not in ("cut", "resume") and self._places() != self._last:
                self._step(self.cut(), [])
            event = [name, *written(*args, **options)]
            told = method(*args, **options)
            self._step(event, _told(name, told))
            return told

        setattr(self._engine, name, call)

    def _step(self, event: list[Json], gives: list[Json]) -> None:
        admits = {"can_admit": self._engine.can_admit()} if isinstance(self._engine, Driver) else {}
        self.trace["steps"].append({"event": event, "gives": gives, **admits})

    def cut(self) -> list[Json]:
        """The event of the placement's newest step."""
        last = self._placement.seats_of_last_step()
        self._last = self._places()
        return ["cut", max(seats[0].since for seats in last.values()), self._last]

    def move_to(self, placement: Placement) -> Json:
        """The places of a new epoch."""
        self._placement = placement
        self._last = self._places()
        return self._last

    def _places(self) -> dict[str, list[str]]:
        last = self._placement.seats_of_last_step()
        return {node: [self._names.get(seat.peer, seat.peer) for seat in seats] for node, seats in last.items()}


def _told(name: str, told: Any) -> list[Json]:
    if name == "hold":
        return [] if told is None else [write(Hold(told))]
    return [write(each) for each in (told if isinstance(told, list) else [told])]


def _write_graph(graph: Graph) -> Json:
    assert graph.order == tuple(node.id for node in graph.nodes)
    edges = [
        [edge.source, edge.target, edge.port] + ["list"] * edge.is_list + ["drop"] * (edge.overflow != "block")
        for edge in graph.edges
    ]
    return {"nodes": [_write_node(node) for node in graph.nodes], "edges": edges}


def _write_node(node: GraphNode) -> Json:
    """What differs from the defaults; engines know nothing of types and parameters."""
    plain = GraphNode(node.id, "T", b"")
    written = {"id": node.id}
    for each in fields(node):
        value = getattr(node, each.name)
        if each.name not in ("node_type", "params") and value != getattr(plain, each.name):
            written[each.name] = list(value) if isinstance(value, tuple) else value
    return written


def _event(event: Event) -> Json:
    if isinstance(event, Delivered):
        return {"lane": event.lane.name.lower(), "message": event.message.hex()}
    return {"code": event.code, "text": event.text}


def _session_call(method: Callable[..., Any], written: Callable[..., Json], steps: list[Json]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        told = method(*args)
        if len(steps) < LONGEST_SESSION:
            steps.append(written(told, *args))
        return told

    return call
