"""Writes tests/vectors/run.json: the events below, and what the Python engine makes of them. Review what changes.

.venv/bin/python tests/run/make_run_vectors.py
"""

import json
from pathlib import Path
from typing import Any

from run_traces import Machine

END, FINAL, FAILED, DROPPED, CHECKPOINT = 1, 2, 4, 8, 16
LAST = END | FINAL

type Event = tuple[Any, ...]


def frame(edge: int, seq: int, part: int, flags: int, payload: str | None = None) -> Event:
    return ("frame", [edge, seq, part, flags, payload])


def answered(node: str, *parts: str, more: bool = False) -> Event:
    return ("answered", node, list(parts), more)


def fragment(
    about: str, nodes: list[Any], edges: list[Any], *events: Event, credit_bytes: int = 1 << 20, **options: Any
) -> Any:
    """All nodes are local but the one called ``far``. ``options``: ``first_seq``, ``states``, ``places``."""
    local = [node["id"] for node in nodes if node["id"] != "far"]
    trace = {"about": about, "graph": {"nodes": nodes, "edges": edges}, "local": local, "credit_bytes": credit_bytes}
    return _played({**trace, **options}, events)


def driver(
    about: str,
    sinks: list[str],
    *events: Event,
    on_error: str = "stop",
    credit_bytes: int = 1 << 20,
    lists: str = "",
    a: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """A source edge 0 into node ``a``; sink edges 1, 2 … from the sinks."""
    nodes = [{"id": name, **((a or {}) if name == "a" else {})} for name in dict.fromkeys(["a", *sinks])]
    edges = [[None, "a", ""], *([sink, None, sink, *(["list"] if sink in lists else [])] for sink in sinks)]
    trace = {
        "about": about,
        "graph": {"nodes": nodes, "edges": edges},
        "on_error": on_error,
        "credit_bytes": credit_bytes,
    }
    return _played({**trace, **options}, events)


def _played(trace: Any, events: tuple[Event, ...]) -> Any:
    machine = Machine(trace)
    trace["steps"] = [{"event": list(event), **machine.apply(event)} for event in events]
    trace["counts"] = machine.counts()
    return trace


LINE = [[None, "a", ""], ["a", None, "a"]]
STATEFUL = {"id": "a", "stateful": True, "snapshots": True}
DIAMOND = [["far", "j", "x"], ["far", "j", "y", "list"], ["j", None, "j"]]


def flow() -> list[Any]:
    return [
        fragment(
            "a part and its end go through a node, and then the final end",
            [{"id": "a"}],
            LINE,
            frame(0, 0, 0, END, "05"),
            answered("a", "0a"),
            frame(0, 1, 0, LAST),
        ),
        fragment(
            "a node is called once for each part, and the end follows when it comes",
            [{"id": "a"}],
            LINE,
            frame(0, 0, 0, 0, "01"),
            frame(0, 0, 1, 0, "02"),
            answered("a", "0b"),
            answered("a", "0c"),
            frame(0, 0, 2, END),
            frame(0, 1, 0, END),
        ),
        fragment(
            "a filter that makes no part ends the seq",
            [{"id": "a", "arity": "maybe"}],
            LINE,
            frame(0, 0, 0, END, "05"),
            answered("a"),
            frame(0, 1, 0, END, "06"),
            answered("a", "06"),
        ),
        fragment(
            "the parts of a generator are fetched while there are more",
            [{"id": "a", "arity": "many"}],
            LINE,
            frame(0, 0, 0, END, "05"),
            answered("a", more=True),
            answered("a", "01", "02", more=True),
            answered("a", "03"),
            frame(0, 1, 0, END, "06"),
            answered("a"),
        ),
        fragment(
            "one output goes to every edge; edges between two nodes here do not leave",
            [{"id": "a"}, {"id": "b"}, {"id": "far"}],
            [["a", "b", "a"], ["a", "far", "a"], [None, "a", ""], ["b", None, "b"], ["far", None, "far"]],
            frame(2, 0, 0, END, "05"),
            answered("a", "0a"),
            answered("b", "0b"),
            frame(2, 1, 0, LAST),
        ),
        fragment(
            "in the final seq the inputs are processed first, then finish is called",
            [{"id": "a", "arity": "many", "stateful": True, "finishes": True}],
            LINE,
            frame(0, 0, 0, FINAL, "07"),
            answered("a", "11"),
            frame(0, 0, 1, LAST, "08"),
            answered("a", "12"),
            answered("a", "13", more=True),
            answered("a", "14"),
        ),
        fragment(
            "finish without parts, and a final seq without inputs",
            [{"id": "a", "stateful": True, "finishes": True}, {"id": "b", "stateful": True, "finishes": True}],
            [["a", "b", "a"], [None, "a", ""], ["b", None, "b"]],
            frame(1, 0, 0, LAST),
            answered("a"),
            answered("b", "01"),
        ),
    ]


def joins() -> list[Any]:
    def join(about: str, *events: Event, **more: Any) -> Any:
        nodes = [{"id": "far"}, {"id": "j", "join": True, **more}]
        return fragment(about, nodes, DIAMOND, *events)

    return [
        join(
            "a join is called when all ports ended the seq; a port behind a generator gets a list",
            frame(1, 0, 0, 0, "01"),
            frame(0, 0, 0, END, "05"),
            frame(1, 0, 1, 0, "02"),
            frame(1, 0, 2, END),
            answered("j", "aa"),
        ),
        join(
            "a port is behind by a seq: the other's credit comes back only with its turn",
            frame(0, 0, 0, END, "05"),
            frame(0, 1, 0, END, "06"),
            frame(1, 0, 0, END, "01"),
            answered("j", "aa"),
            frame(1, 1, 0, END, "02"),
            answered("j", "bb"),
        ),
        join(
            "a port without a part: no call, and no part",
            frame(0, 0, 0, END, "05"),
            frame(1, 0, 0, END),
            frame(0, 1, 0, LAST),
            frame(1, 1, 0, LAST),
        ),
        join(
            "an optional port without a part is left out; without any part there is no call",
            frame(0, 0, 0, END, "05"),
            frame(1, 0, 0, END),
            answered("j", "aa"),
            frame(0, 1, 0, END),
            frame(1, 1, 0, END),
            optional=["x", "y"],
        ),
        join(
            "a failed port: no call, and the seq fails downstream; the next seq is joined",
            frame(0, 0, 0, END | FAILED),
            frame(1, 0, 0, 0, "01"),
            frame(1, 0, 1, END),
            frame(0, 1, 0, END, "06"),
            frame(1, 1, 0, END, "02"),
        ),
        join(
            "a dropped port, even an optional one: no call, and the seq is dropped downstream",
            frame(0, 0, 0, END, "05"),
            frame(1, 0, 0, END | DROPPED),
            frame(0, 1, 0, END | FAILED),
            frame(1, 1, 0, END | DROPPED),
            optional=["y"],
        ),
        join(
            "a second part for a port that takes one value is an item error",
            frame(0, 0, 0, FINAL, "05"),
            frame(0, 0, 1, LAST, "06"),
            frame(1, 0, 0, LAST, "01"),
        ),
    ]


def errors() -> list[Any]:
    chain = [["a", "b", "a"], [None, "a", ""], ["b", None, "b"]]
    return [
        fragment(
            "an exception fails its seq, keeps the instance, and is passed on without a call",
            [{"id": "a"}, {"id": "b"}],
            chain,
            frame(1, 0, 0, END, "05"),
            frame(1, 1, 0, END, "06"),
            ("failed", "a", "raised", "no 5"),
            answered("a", "0a"),
        ),
        fragment(
            "what a generator made before it failed stays; the rest of the seq is not processed",
            [{"id": "a", "arity": "many"}],
            LINE,
            frame(0, 0, 0, 0, "01"),
            frame(0, 0, 1, 0, "02"),
            answered("a", "0a", "0b", more=True),
            ("failed", "a", "raised", "enough"),
            frame(0, 0, 2, END),
            frame(0, 1, 0, END, "03"),
        ),
        fragment(
            "arity 'one' without a part, with two, with more to come: item errors",
            [{"id": "a"}],
            LINE,
            frame(0, 0, 0, END, "01"),
            frame(0, 1, 0, END, "02"),
            frame(0, 2, 0, END, "03"),
            answered("a"),
            answered("a", "0a", "0b"),
            answered("a", "0a", more=True),
        ),
        fragment(
            "arity 'maybe' with a second part, and a second part of finish: item errors",
            [{"id": "a", "arity": "maybe", "stateful": True, "finishes": True}],
            LINE,
            frame(0, 0, 0, END, "01"),
            answered("a", "0a", "0b"),
            frame(0, 1, 0, LAST),
            answered("a", "0a", "0b"),
        ),
        fragment(
            "a stateless node that timed out is made anew and goes on",
            [{"id": "a"}],
            LINE,
            frame(0, 0, 0, END, "01"),
            frame(0, 1, 0, END, "02"),
            ("failed", "a", "timeout", "30 s"),
            ("recreated", "a"),
            answered("a", "0b"),
        ),
        fragment(
            "a node that cannot be made anew: whatever needs it is lost, the rest goes on",
            [{"id": "a", "finishes": True}],
            LINE,
            frame(0, 0, 0, END, "01"),
            ("failed", "a", "crashed", "exit 139"),
            ("failed", "a", "crashed", "no memory"),
            frame(0, 1, 0, END),
            frame(0, 2, 0, END, "02"),
            frame(0, 3, 0, LAST),
        ),
        fragment(
            "a failure in the final seq needs no new instance",
            [{"id": "a", "stateful": True, "finishes": True}],
            LINE,
            frame(0, 0, 0, FINAL, "01"),
            ("failed", "a", "trapped", "unreachable"),
            frame(0, 0, 1, LAST, "02"),
        ),
    ]


def state() -> list[Any]:
    inputs = [
        event for seq in range(32) for event in (frame(0, seq, 0, END, f"{seq:02x}"), answered("a", f"{seq + 64:02x}"))
    ]
    return [
        fragment(
            "before its first snapshot a lost node is brought back by its inputs, those that raised too",
            [STATEFUL],
            LINE,
            frame(0, 0, 0, END, "01"),
            answered("a", "0a"),
            frame(0, 1, 0, END, "02"),
            ("failed", "a", "raised", "no 2"),
            frame(0, 2, 0, END, "03"),
            frame(0, 3, 0, END, "04"),
            ("failed", "a", "trapped", "unreachable"),
            ("recreated", "a"),
            answered("a", "0a"),
            ("failed", "a", "raised", "no 2"),
            answered("a", "0d"),
        ),
        fragment(
            "after 32 inputs a snapshot is made, and a lost node goes on from there",
            [STATEFUL],
            LINE,
            *inputs,
            frame(0, 32, 0, END, "20"),
            ("snapshotted", "a", "c0ffee"),
            answered("a", "60"),
            frame(0, 33, 0, END, "21"),
            ("failed", "a", "timeout", "30 s"),
            ("recreated", "a"),
            ("restored", "a"),
            answered("a", "60"),
            frame(0, 34, 0, END, "22"),
        ),
        fragment(
            "a generator is brought back with every part of its inputs",
            [{**STATEFUL, "arity": "many"}],
            LINE,
            frame(0, 0, 0, END, "01"),
            answered("a", "0a", more=True),
            answered("a", "0b"),
            frame(0, 1, 0, END, "02"),
            ("failed", "a", "crashed", "exit 1"),
            ("recreated", "a"),
            answered("a", "0a", more=True),
            answered("a", "0b"),
        ),
        fragment(
            "a node whose snapshot failed goes on, but cannot be brought back",
            [STATEFUL],
            LINE,
            *inputs,
            ("failed", "a", "raised", "cannot pickle"),
            frame(0, 32, 0, END, "20"),
            ("failed", "a", "trapped", "unreachable"),
            frame(0, 33, 0, END, "21"),
        ),
        fragment(
            "a stateful node that is lost while it is brought back",
            [STATEFUL],
            LINE,
            frame(0, 0, 0, END, "01"),
            answered("a", "0a"),
            frame(0, 1, 0, END, "02"),
            ("failed", "a", "trapped", "unreachable"),
            ("recreated", "a"),
            frame(0, 2, 0, END, "03"),
            ("failed", "a", "timeout", "30 s"),
        ),
        fragment(
            "a stateful node without snapshots that is lost: the next input cannot be processed",
            [{"id": "a", "stateful": True}],
            LINE,
            frame(0, 0, 0, END, "01"),
            frame(0, 1, 0, END, "02"),
            ("failed", "a", "trapped", "unreachable"),
        ),
    ]


def credit() -> list[Any]:
    line = {"id": "a", "arity": "many"}
    return [
        fragment(
            "a generator waits for credit, and goes on when it comes back",
            [line],
            LINE,
            frame(0, 0, 0, END, "05"),
            answered("a", "01", "02", more=True),
            answered("a", "03", "04", more=True),
            ("credit", 1, 0, 65),
            ("credit", 1, 0, 130),
            credit_bytes=200,
        ),
        fragment(
            "a part larger than all credit goes when nothing is out",
            [line],
            LINE,
            frame(0, 0, 0, END, "05"),
            answered("a", "01", "ab" * 200, "02"),
            ("credit", 1, 0, 65),
            ("credit", 1, 0, 264),
            credit_bytes=200,
        ),
        fragment(
            "credit is given when the call has ended; less than a quarter is kept back while more waits",
            [line],
            LINE,
            frame(0, 0, 0, END, "01"),
            frame(0, 1, 0, END, "02"),
            frame(0, 2, 0, END, "03"),
            answered("a", "0a"),
            answered("a", "0b"),
            answered("a", "0c"),
            credit_bytes=400,
        ),
        fragment(
            "an edge that drops gives up the oldest whole seq that was not begun, and counts it",
            [{"id": "a"}, {"id": "far"}],
            [["a", "far", "a", "drop"], [None, "a", ""], ["far", None, "far"]],
            frame(1, 0, 0, END, "01"),
            answered("a", "0a"),
            frame(1, 1, 0, END, "02"),
            answered("a", "0b"),
            frame(1, 2, 0, END, "03"),
            answered("a", "0c"),
            frame(1, 3, 0, END, "04"),
            answered("a", "0d"),
            frame(1, 4, 0, LAST),
            ("credit", 0, 0, 65),
            ("credit", 0, 1, 64),
            ("credit", 0, 2, 64),
            ("credit", 0, 3, 65),
            credit_bytes=65,
        ),
        fragment(
            "a seq that was dropped upstream is passed on without a call",
            [{"id": "a"}],
            LINE,
            frame(0, 0, 0, END | DROPPED),
            frame(0, 1, 0, END, "02"),
        ),
        fragment(
            "impossible frames and credit change nothing",
            [{"id": "a"}, {"id": "b"}],
            [["a", "b", "a"], [None, "a", ""], ["b", None, "b"]],
            frame(0, 0, 0, END, "01"),  # an edge inside
            frame(2, 0, 0, END, "01"),  # an edge that leads out
            frame(7, 0, 0, END, "01"),
            frame(1, 1, 0, END, "01"),  # not the next seq
            frame(1, 0, 1, END, "01"),  # not the next part
            frame(1, 0, 0, 16 | END, "01"),  # an unknown flag
            frame(1, 0, 0, 0),  # neither payload nor end
            frame(1, 0, 0, END | FAILED, "01"),
            frame(1, 0, 0, END | DROPPED | FINAL),
            ("credit", 1, 0, 10),
            ("credit", 2, 0, 1),
            frame(1, 0, 0, 0, "01"),
            frame(1, 0, 1, LAST, "02"),  # final only from here on
            frame(1, 0, 1, END, "ab" * 300),  # beyond the credit
            frame(1, 0, 1, END),
            frame(1, 1, 0, LAST),
            frame(1, 2, 0, END, "03"),  # after the final seq
            credit_bytes=300,
        ),
    ]


def driving() -> list[Any]:
    return [
        driver(
            "results of a single sink come out one by one, as the application takes them",
            ["a"],
            ("admit", "05"),
            ("admit", "06"),
            frame(1, 0, 0, 0, "0a"),
            frame(1, 0, 1, END, "0b"),
            frame(1, 1, 0, END),
            ("taken",),
            ("taken",),
            ("finish_input",),
            frame(1, 2, 0, LAST, "0c"),
            ("taken",),
        ),
        driver(
            "no items at all",
            ["a"],
            ("finish_input",),
            frame(1, 0, 0, LAST),
        ),
        driver(
            "several sinks give one map for each seq, in the order of the manifest; sinks without a part are absent",
            ["a", "b"],
            ("admit", "05"),
            ("admit", "06"),
            ("admit", "07"),
            frame(2, 0, 0, 0, "01"),
            frame(2, 0, 1, END, "02"),
            frame(1, 0, 0, END, "0a"),
            frame(1, 1, 0, END),
            frame(2, 1, 0, END, "03"),
            ("taken",),
            ("taken",),
            frame(2, 2, 0, END),
            frame(1, 2, 0, END),
            ("finish_input",),
            frame(1, 3, 0, LAST),
            frame(2, 3, 0, LAST, "04"),
            ("taken",),
            lists="b",
        ),
        driver(
            "stop: the results before the failed seq come out, then the run ends with its error",
            ["a"],
            ("admit", "05"),
            ("admit", "06"),
            ("admit", "07"),
            ("error", "a", 1, "raised", "no 6", "gpu-1"),
            frame(1, 0, 0, END, "0a"),
            frame(1, 1, 0, END | FAILED),
            ("taken",),
            ("fail", "gpu-1 was lost"),
            frame(1, 2, 0, END, "0c"),
        ),
        driver(
            "continue: a node that was lost ends the run in its turn",
            ["a"],
            ("admit", "05"),
            ("admit", "06"),
            ("admit", "07"),
            ("error", "a", 1, "trapped", "unreachable", "gpu-1"),
            ("error", "a", 2, "lost", "its state was lost", "gpu-1"),
            frame(1, 0, 0, END, "0a"),
            frame(1, 1, 0, END | FAILED),
            frame(1, 2, 0, END | FAILED),
            ("taken",),
            on_error="continue",
        ),
        driver(
            "stop: a seq that ended as failed waits for its error",
            ["a"],
            ("admit", "05"),
            frame(1, 0, 0, END | FAILED),
            ("error", "a", 0, "timeout", "30 s", "tab"),
        ),
        driver(
            "continue: failed, dropped and filtered seqs are counted, and the run is done",
            ["a", "b"],
            *[("admit", f"{number:02x}") for number in range(4)],
            ("error", "b", 0, "raised", "no 0", "tab"),
            frame(1, 0, 0, END, "0a"),
            frame(2, 0, 0, END | FAILED),
            ("error", "a", 0, "raised", "nor here", "gpu-1"),
            frame(1, 1, 0, END | DROPPED),
            frame(2, 1, 0, END),
            frame(1, 2, 0, END),
            frame(2, 2, 0, END),
            frame(1, 3, 0, END, "0d"),
            frame(2, 3, 0, END | DROPPED),
            ("finish_input",),
            ("taken",),
            frame(1, 4, 0, LAST, "01"),
            frame(2, 4, 0, FINAL, "02"),
            frame(2, 4, 1, LAST, "03"),
            on_error="continue",
        ),
        driver(
            "items wait for the credit of the source",
            ["a"],
            ("admit", "05"),
            ("admit", "06"),
            ("credit", 0, 0, 65),
            ("credit", 0, 1, 65),
            ("finish_input",),
            credit_bytes=100,
        ),
        driver(
            "impossible events change nothing",
            ["a"],
            ("admit", "05"),
            frame(0, 0, 0, END, "01"),
            frame(1, 1, 0, END, "01"),
            frame(1, 1, 0, LAST),
            ("credit", 1, 0, 1),
            ("credit", 0, 0, 66),
            ("error", "b", 0, "raised", "", "x"),
            ("error", "a", 1, "raised", "", "x"),
            ("error", "a", 0, "raised", "once", "x"),
            ("error", "a", 0, "raised", "twice", "x"),
            on_error="continue",
        ),
        driver(
            "a run that cannot go on",
            ["a"],
            ("admit", "05"),
            ("fail", "gpu-1 was lost"),
            frame(1, 0, 0, END, "01"),
            ("finish_input",),
        ),
    ]


def deaths() -> list[Any]:
    def died(name: str, **reached: int) -> Event:
        return ("interrupt", ["there", name, reached])

    again = [each for name in ("bea", "cleo", "dora") for each in (died(name), ("resume",))]
    return [
        driver(
            "what may have killed a peer goes out alone, and what is above waits",
            ["a"],
            *(("admit", f"{seq:02x}") for seq in range(4)),
            frame(1, 0, 0, END),
            died("ada", a=2),
            ("resume",),
            ("admit", "04"),
            frame(1, 1, 0, END),
            frame(1, 2, 0, END, "0a"),
            ("taken",),
            frame(1, 3, 0, END),
            ("finish_input",),
        ),
        driver(
            "a loss that is no death, and a death elsewhere, make no suspects",
            ["a"],
            ("admit", "00"),
            ("admit", "01"),
            ("interrupt", ["elsewhere", "ada", {}]),
            ("resume",),
            ("interrupt",),
            ("resume",),
        ),
        driver(
            "an item alone on its way when three peers died goes out as failed, and the others go on",
            ["a", "b"],
            ("admit", "00"),
            ("admit", "01"),
            died("ada"),
            ("resume",),
            *again,
            frame(1, 0, 0, END | FAILED),
            frame(2, 0, 0, END | FAILED),
            frame(1, 1, 0, END, "0a"),
            frame(2, 1, 0, END, "0b"),
            ("taken",),
            ("interrupt",),
            ("resume",),
            on_error="continue",
        ),
        driver(
            "the finish may kill too, and with stop that ends the run",
            ["a"],
            ("finish_input",),
            died("ada"),
            ("resume",),
            *again,
            frame(1, 0, 0, LAST | FAILED),
        ),
    ]


def losses() -> list[Any]:
    kept = {"stateful": True, "snapshots": True}
    marked = [("admit", f"{seq:02x}") for seq in range(33)]  # seq 31 has a checkpoint
    through = [
        each for seq in range(32) for each in (frame(1, seq, 0, END | (seq == 31) * CHECKPOINT, "0a"), ("taken",))
    ]
    return [
        driver(
            "after a loss what is not finished goes out again; what was given is dropped",
            ["a"],
            ("admit", "01"),
            ("admit", "02"),
            frame(1, 0, 0, 0, "0a"),
            ("taken",),
            frame(1, 0, 1, 0, "0b"),
            ("interrupt",),
            ("taken",),
            ("admit", "03"),
            ("resume",),
            frame(1, 0, 0, 0, "0a"),
            frame(1, 0, 1, 0, "0b"),
            frame(1, 0, 2, END, "0c"),
            ("taken",),
            frame(1, 1, 0, END),
            ("finish_input",),
            frame(1, 2, 0, END, "0d"),
            ("taken",),
            frame(1, 3, 0, LAST),
        ),
        driver(
            "a failure that was told is not told again, nor is its seq counted twice",
            ["a"],
            ("admit", "01"),
            ("error", "a", 0, "raised", "no", "ada"),
            frame(1, 0, 0, END | FAILED),
            ("admit", "02"),
            ("error", "a", 1, "raised", "no", "ada"),
            ("finish_input",),
            ("interrupt",),
            ("interrupt",),
            ("resume",),
            frame(1, 1, 0, END | FAILED),
            ("error", "a", 0, "raised", "no", "bea"),
            ("error", "a", 1, "raised", "no", "bea"),
            frame(1, 2, 0, LAST),
            on_error="continue",
        ),
        driver(
            "of a node that is not deterministic a seq is held back until it is whole, and then stays as it is",
            ["a"],
            ("admit", "01"),
            ("admit", "02"),
            frame(1, 0, 0, 0, "0a"),
            frame(1, 0, 1, 0, "0b"),
            frame(1, 0, 2, END),
            frame(1, 1, 0, 0, "0c"),
            ("interrupt",),
            ("taken",),
            ("resume",),
            frame(1, 0, 0, END, "1a"),
            ("taken",),
            frame(1, 1, 0, END, "1c"),
            ("taken",),
            a={"deterministic": False},
        ),
        driver(
            "with a stateful node the run goes on from its last complete checkpoint",
            ["a"],
            *marked,
            *through,
            ("interrupt",),
            ("resume",),
            *[frame(1, seq, 0, END | (seq == 31) * CHECKPOINT, "0a") for seq in range(32)],
            ("checkpoint", "a", 31, "5a", ""),
            ("interrupt",),
            ("resume",),
            ("checkpoint", "a", 31, "5a", ""),
            frame(1, 32, 0, END, "0b"),
            a=kept,
        ),
        fragment(
            "a stateful node is asked for its state after a seq with a checkpoint; the flag goes on downstream",
            [STATEFUL, {"id": "b", "arity": "maybe"}],
            [["a", "b", "a"], [None, "a", ""], ["b", None, "b"]],
            frame(1, 5, 0, CHECKPOINT, "05"),
            answered("a", "0a"),
            answered("b"),
            frame(1, 5, 1, END | CHECKPOINT),
            ("snapshotted", "a", "5a"),
            frame(1, 6, 0, END | CHECKPOINT, "06"),
            answered("a", "0b"),
            ("failed", "a", "raised", "no state"),
            frame(1, 7, 0, LAST | CHECKPOINT),
            first_seq=5,
            states={"a": "50"},
        ),
        fragment(
            "a node that began with a state goes back to it",
            [STATEFUL],
            LINE,
            frame(0, 5, 0, END | CHECKPOINT, "05"),
            ("failed", "a", "trapped", "unreachable"),
            ("recreated", "a"),
            ("restored", "a"),
            ("snapshotted", "a", "50"),
            first_seq=5,
            states={"a": "50"},
        ),
        fragment(
            "a join begins at the first seq, and marks what any of its ports marks",
            [{"id": "far"}, {"id": "j", "join": True}],
            DIAMOND,
            frame(0, 5, 0, END | CHECKPOINT, "05"),
            frame(1, 5, 0, END | CHECKPOINT, "01"),
            answered("j", "aa"),
            frame(0, 5, 0, END, "05"),
            first_seq=5,
        ),
    ]


def replicas() -> list[Any]:
    return [
        fragment(
            "the instances of a node compute at the same time; each gets its own seqs, and credit of its own",
            [{"id": "a"}],
            LINE,
            frame(0, 0, 0, END, "00"),
            frame(0, 2, 0, END, "02"),
            frame(0, 3, 0, END, "03"),
            answered("a#2", "0c"),
            answered("a#0", "0a"),
            frame(0, 1, 0, END, "01"),  # is not for here
            frame(0, 8, 0, END, "08"),  # seq 5 comes first
            ("failed", "a#0", "timeout", "30 s"),
            frame(0, 6, 0, LAST),
            ("recreated", "a#0"),
            places={"a": ["here", "there", "here"]},
        ),
        fragment(
            "a slow replica downstream holds up only what is for it",
            [{"id": "a"}, {"id": "far"}],
            [["a", "far", "a"], [None, "a", ""], ["far", None, "far"]],
            *[each for seq in range(4) for each in (frame(1, seq, 0, END, "05"), answered("a", f"0{seq}"))],
            frame(1, 4, 0, END, "05"),
            ("credit", 0, 0, 66),
            ("credit", 0, 1, 65),
            ("credit", 0, 0, 65),
            answered("a", "0b"),
            credit_bytes=100,
            places={"far": ["slow", "quick"]},
        ),
        fragment(
            "what comes from several replicas is taken in the order of the seqs, and joined",
            [{"id": "far"}, {"id": "j", "join": True}],
            DIAMOND,
            frame(0, 1, 0, END, "11"),
            frame(1, 1, 0, END, "21"),
            frame(1, 0, 0, END, "20"),
            frame(0, 2, 0, END, "12"),
            frame(0, 0, 0, END, "10"),
            answered("j", "aa"),
            answered("j", "ab"),
            places={"far": ["there", "elsewhere"]},
        ),
        fragment(
            "between instances of two nodes here, strands go where the seqs go",
            [{"id": "a"}, {"id": "b"}],
            [["a", "b", "a"], [None, "a", ""], ["b", None, "b"]],
            frame(1, 0, 0, END, "00"),
            frame(1, 1, 0, END, "01"),
            answered("a#1", "0b"),
            answered("a#0", "0a"),
            answered("b#1", "1b"),
            places={"a": ["here", "here"], "b": ["here", "here", "there"]},
        ),
        driver(
            "items wait for the credit of the replica that they are for; results come in order",
            ["a"],
            ("admit", "05"),
            ("admit", "06"),
            ("admit", "07"),
            ("admit", "08"),
            ("credit", 0, 1, 65),
            ("credit", 0, 0, 65),
            frame(1, 1, 0, END, "0b"),
            frame(1, 0, 0, END, "0a"),
            ("taken",),
            ("taken",),
            ("finish_input",),
            frame(1, 4, 0, LAST),  # after seq 2 on its strand
            frame(1, 3, 0, END, "0d"),
            frame(1, 2, 0, END, "0c"),
            ("taken",),
            ("taken",),
            frame(1, 4, 0, LAST),
            credit_bytes=100,
            places={"a": ["there", "elsewhere"]},
        ),
    ]


def moves() -> list[Any]:
    def goes(about: str, *events: Event, **options: Any) -> Any:
        return fragment(about, [options.pop("node", {"id": "a"})], LINE, *events, **options)

    return [
        goes(
            "a node without state leaves when the last seq below the cut has ended, and all of it is on its way",
            frame(0, 0, 0, END, "00"),
            frame(0, 1, 0, 0, "01"),
            answered("a", "0a"),
            ("cut", 2, {"a": ["there"]}),
            ("failed", "a", "raised", "no 1"),
            frame(0, 1, 1, END, "02"),  # is only consumed
            frame(0, 2, 0, END, "03"),  # is not for here any more
            ("credit", 1, 0, 65),
        ),
        goes(
            "what waits for credit holds a node back",
            frame(0, 0, 0, END, "00"),
            answered("a", "01", "02", more=True),
            ("cut", 1, {"a": ["there"]}),
            ("credit", 1, 0, 65),
            answered("a", "03"),
            ("credit", 1, 0, 65),
            ("credit", 1, 0, 65),
            node={"id": "a", "arity": "many"},
            credit_bytes=100,
        ),
        goes(
            "a replica that serves nothing below the cut any more leaves at once; its successor begins there",
            frame(0, 0, 0, END, "00"),
            answered("a#0", "0a"),
            ("cut", 2, {"a": ["here"]}),
            frame(0, 2, 0, END, "02"),
            answered("a@2", "0c"),
            frame(0, 3, 0, LAST),
            places={"a": ["here", "here", "there"]},
        ),
        goes(
            "a node with state hands it over after the last seq below the cut; one snapshot serves a checkpoint too",
            frame(0, 0, 0, END | CHECKPOINT, "00"),
            ("cut", 1, {"a": ["there"]}),
            answered("a", "0a"),
            ("snapshotted", "a", "5a"),
            node=STATEFUL,
        ),
        goes(
            "a state that cannot be handed over says why",
            ("cut", 0, {"a": ["there"]}),
            ("failed", "a", "raised", "no state"),
            node=STATEFUL,
        ),
        goes(
            "a node that comes here begins when its state has come, and not before",
            ("cut", 5, {"a": ["here"]}),
            frame(0, 5, 0, END, "05"),
            ("arrived", "a@5", "5a"),
            ("arrived", "a@5", "5b"),
            ("restored", "a@5"),
            ("failed", "a@5", "trapped", "unreachable"),
            ("recreated", "a@5"),
            node=STATEFUL,
            places={"a": ["there"]},
        ),
        fragment(
            "a neighbour moves: its later seqs may come first, and wait for the earlier ones",
            [{"id": "far"}, {"id": "a"}],
            [["far", "a", "far"], [None, "far", ""], ["a", None, "a"]],
            ("cut", 1, {"far": ["elsewhere"]}),
            frame(0, 1, 0, END, "11"),
            frame(0, 0, 0, END, "10"),
            answered("a", "0a"),
            answered("a", "0b"),
            ("cut", 2, {"far": ["there"]}),
            frame(0, 2, 0, END, "12"),
        ),
        fragment(
            "a neighbour moves: who stays is through when what is left of a seq that failed here is consumed",
            [{"id": "far"}, {"id": "a"}],
            [["far", "a", "far"], [None, "far", ""], ["a", None, "a"]],
            frame(0, 0, 0, 0, "10"),
            ("failed", "a", "raised", "no 0"),
            ("cut", 1, {"far": ["elsewhere"]}),
            frame(0, 1, 0, END, "11"),
            frame(0, 0, 1, END, "10"),
        ),
        driver(
            "nothing goes out until all have made the cut, not even the end",
            ["a"],
            ("admit", "05"),
            ("hold",),
            ("cut", 1, {"a": ["elsewhere"]}),
            ("finish_input",),
            frame(1, 0, 0, END, "0a"),
            ("go_on",),
            ("taken",),
            ("hold",),
            frame(1, 1, 0, LAST),
        ),
    ]


def cancels() -> list[Any]:
    """Seqs that nobody wants any more."""
    return [
        fragment(
            "a call for a seq that is given up is interrupted, and its successor goes on with a new instance",
            [{"id": "a"}, {"id": "far"}],
            [[None, "a", ""], ["a", "far", ""], ["far", None, "far"]],
            frame(0, 0, 0, END, "10"),
            frame(0, 1, 0, END, "11"),
            frame(0, 2, 0, END, "12"),
            ("cancel", 0),
            ("failed", "a", "cancelled", ""),
            ("recreated", "a"),
            ("cancel", 2),
            answered("a", "21"),
            ("cancel", 1),
        ),
        fragment(
            "a generator that is given up between two steps is asked no more",
            [{"id": "a", "arity": "many"}, {"id": "far"}],
            [[None, "a", ""], ["a", "far", ""], ["far", None, "far"]],
            frame(0, 0, 0, END, "10"),
            answered("a", "a0", more=True),
            ("cancel", 0),
            ("credit", 1, 0, 65),
            frame(0, 1, 0, END, "11"),
            ("credit", 1, 0, 64),
            credit_bytes=65,
        ),
        fragment(
            "a node whose state would be lost is let finish, and its answer is not used",
            [{"id": "a", "stateful": True}, {"id": "far"}],
            [[None, "a", ""], ["a", "far", ""], ["far", None, "far"]],
            frame(0, 0, 0, END, "10"),
            ("cancel", 0),
            answered("a", "a0"),
        ),
        fragment(
            "a join lets go what it gathered of a seq that is given up",
            [{"id": "far"}, {"id": "a", "join": True}],
            [["far", "a", "p"], [None, "a", "q"], [None, "far", ""], ["a", None, "a"]],
            frame(0, 0, 0, END, "10"),
            ("cancel", 0),
            frame(1, 0, 0, END, "11"),
            frame(1, 1, 0, END, "13"),
            frame(0, 1, 0, END, "12"),
        ),
        driver(
            "a seq that is given up brings no result and no error, and counts as cancelled",
            ["a"],
            ("admit", "05"),
            ("admit", "06"),
            ("cancel", 0),
            ("error", "a", 0, "raised", "late", "ada"),
            frame(1, 0, 0, END | FAILED),
            frame(1, 1, 0, END, "0b"),
            ("taken",),
            ("cancel", 1),
            ("finish_input",),
            frame(1, 2, 0, LAST),
        ),
        driver(
            "a seq that was given up goes out as failed in a new epoch",
            ["a"],
            ("admit", "05"),
            ("cancel", 0),
            ("interrupt",),
            ("resume",),
            frame(1, 0, 0, END | FAILED),
        ),
    ]


def main() -> None:
    path = Path(__file__).parent.parent / "vectors" / "run.json"
    traces = [
        *flow(),
        *joins(),
        *errors(),
        *state(),
        *credit(),
        *driving(),
        *losses(),
        *deaths(),
        *replicas(),
        *moves(),
        *cancels(),
    ]
    steps = ",\n".join(_compact(trace) for trace in traces)
    path.write_text(f"[\n{steps}\n]\n")


def _compact(trace: Any) -> str:
    """One step a line, so that a change can be read."""
    head = {name: value for name, value in trace.items() if name not in ("steps", "counts")}
    lines = ",\n  ".join(json.dumps(step) for step in trace["steps"])
    return f'{json.dumps(head)[:-1]},\n "steps": [\n  {lines}],\n "counts": {json.dumps(trace["counts"])}}}'


if __name__ == "__main__":
    main()
