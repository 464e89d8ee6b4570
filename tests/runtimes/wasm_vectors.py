"""Makes ``tests/vectors/wasm.json``, which both hosts assert: ``python tests/runtimes/wasm_vectors.py``.

``refused`` are hand-written modules (hex) with the error of loading them, ``called`` ones with calls and outcomes,
``basics`` calls to the built-in module, ``puppet`` a module for fuzzing. A call is ``[op, payload, parts]``, where all
parts are fetched, or ``[op, payload, {"kind", "text"?}]`` for an error.
"""

import json
from pathlib import Path
from typing import Any

from modules import LOOP, MEMORY, NONE, SPEC, answer, error, module

from mesh.values import encode

PATH = Path(__file__).parent.parent / "vectors" / "wasm.json"
TRAP = "(unreachable)"
PROCESS = "(param i32 i32) (result i32)"
UNIT = b"\xc0"


def trapped(text: str = "") -> dict[str, str]:
    return {"kind": "trapped"} | ({"text": text} if text else {})


def refused(text: str) -> dict[str, str]:
    return {"kind": "answer", "text": text}


def loading(name: str, wasm: bytes, failure: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "wasm": wasm.hex(), "load": failure}


def calling(name: str, wasm: bytes, *calls: list[Any], arity: str = "one") -> dict[str, Any]:
    return {"name": name, "wasm": wasm.hex(), "arity": arity, "calls": calls}


def process(payload: bytes, outcome: Any) -> list[Any]:
    return ["process", payload.hex(), outcome]


def refused_modules() -> list[dict[str, Any]]:
    text = json.dumps([SPEC]).encode()
    return [
        loading("imports", module(extra='(import "env" "log" (func))'), refused("env.log")),
        loading("no maximum", module(memory='(memory (export "memory") 20)'), refused("no maximum")),
        loading("a maximum of 4 GiB", module(memory='(memory (export "memory") 20 65536)'), refused("is above")),
        loading("no memory", module(memory=MEMORY.replace('memory"', 'other"')), refused("a memory")),
        loading("no process", module(process=""), refused("function process")),
        loading("no wasm", b"junk", refused("WebAssembly")),
        loading("cut short", module()[:-20], refused("WebAssembly")),
        loading("no node types", module(text=b"[]"), refused("no list")),
        loading("no JSON", module(text=b"[{]"), refused("nonsense")),
        loading("deep JSON", module(text=b"[" * 3000), refused("nonsense")),
        loading("no text", module(text=b"\xff\xfe"), trapped("UTF-8")),
        loading("one type twice", module(text=text[:-1] + b"," + text[1:]), refused("twice")),
        loading("a long name", module(text=text.replace(b"Echo", b"E" * 1000)), refused("node_type")),
        loading("an unknown field", module(text=text.replace(b'"doc"', b'"docs"')), refused("docs")),
        loading("an unknown kind", module(text=text.replace(b'"any"', b'"all"')), refused("nonsense")),
        loading(
            "a description of 10 MB",
            module(describe="(result i32) (i32.store (i32.const 4) (i32.const 10000000)) (i32.const 0)"),
            trapped("10000000 bytes"),
        ),
        loading("a description outside", module(describe="(result i32) (i32.const -8)"), trapped("outside")),
        loading("a trap in describe", module(describe=f"(result i32) {TRAP}"), trapped()),
        loading("a trap in _initialize", module(_initialize=TRAP), trapped()),
        loading("a trap at the start", module(extra=f"(func $go {TRAP}) (start $go)"), trapped()),
    ]


def hostile_answers() -> list[dict[str, Any]]:
    bodies = [
        ("a part outside the memory", answer(-16, 64), trapped("outside of the memory")),
        ("a part of 2 GiB", answer(0, 0x7FFFFFFF), trapped("more than")),
        ("a part over the end", answer(20 * 65536 - 1, 2), trapped("outside of the memory")),
        ("a strange result", answer(0, 0, tag=7), trapped("tag 7")),
        ("a strange option", answer(0, 0, some=9), trapped("tag 9")),
        ("an odd address", "(i32.const 66)", trapped("not aligned")),
        ("an address outside", "(i32.const -4)", trapped("outside of the memory")),
        ("an error outside", error(-16, 64), trapped("outside of the memory")),
        ("an error of 10 MB", error(0, 10_000_000), trapped("more than")),
        ("an error that is no text", error(96, 1), trapped("UTF-8")),
        ("an error", error(1027, 9), {"kind": "raised", "text": "node_type"}),
        ("an error without text", error(0, 0), {"kind": "raised", "text": "without a word"}),
        ("no value", answer(1024, 100), {"kind": "answer", "text": "no value"}),
        ("its own result", answer(64, 16), {"kind": "answer", "text": "no value"}),
        ("an empty part", answer(0, 0), {"kind": "answer", "text": "no value"}),
        ("no part", NONE, {"kind": "answer", "text": "its arity is one"}),
        ("a trap", TRAP, trapped()),
        ("endless recursion", "(call $deep) (i32.const 0)", trapped()),
    ]
    deep = "(func $deep (call $deep))"
    return [
        calling(name, module(extra=deep, process=f"{PROCESS} {body}"), process(UNIT, end)) for name, body, end in bodies
    ]


def other_calls() -> list[dict[str, Any]]:
    # what init copies, the node type and the params, has at most four bytes
    realloc = (
        "(param i32 i32 i32 i32) (result i32) (if (i32.gt_u (local.get 3) (i32.const 4)) (then {})) (i32.const 65536)"
    )
    hello = encode("hello")
    return [
        calling("an echo", module(), process(hello, [hello.hex()]), ["finish", None, []], ["snapshot", None, "c0"]),
        *(
            calling(f"an input at {address}", module(cabi_realloc=realloc.format(f"(return (i32.const {address}))")),
                    process(hello, trapped("outside of the memory")))
            for address in (-1, 0x7FFFFFFF, 20 * 65536)
        ),
        calling("a trap while copying", module(cabi_realloc=realloc.format(TRAP)), process(hello, trapped())),
        calling("a trap after the answer", module(cabi_post_process=f"(param i32) {TRAP}"), process(hello, trapped())),
        calling("a trap in next", module(next=f"(result i32) {TRAP}"), process(hello, trapped()), arity="many"),
        calling("a trap in finish", module(finish=f"(result i32) {TRAP}"), ["finish", None, trapped()]),
        calling("a trap in snapshot", module(snapshot=f"(result i32) {TRAP}"), ["snapshot", None, trapped()]),
        calling("a trap in restore", module(restore=f"{PROCESS} {TRAP}"), ["restore", "c0", trapped()]),
        calling(
            "memory to its maximum",
            module(process=f"""{PROCESS}
                (loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0))))
                (i32.store8 (i32.const 96) (memory.size)) {answer(96, 1)}"""),
            process(UNIT, ["40"]),
        ),
    ]  # fmt: skip


def looping() -> list[dict[str, Any]]:
    return [{"name": "a loop", "wasm": module(process=f"{PROCESS} {LOOP}").hex()}]


def puppet() -> str:
    """A module that answers whatever its input says: a u32, the answer's address, then 16 bytes that lie at 64."""
    body = "(memory.copy (i32.const 64) (i32.add (local.get 0) (i32.const 4)) (i32.const 16)) (i32.load (local.get 0))"
    return module(process=f"{PROCESS} {body}").hex()


def basics() -> list[dict[str, Any]]:
    def node(node_type: str, params: dict[str, Any], *calls: list[Any], arity: str = "one") -> dict[str, Any]:
        return {"node_type": node_type, "params": encode(params).hex(), "arity": arity, "calls": calls}

    def gives(value: Any, *parts: Any) -> list[Any]:
        return process(encode(value), [encode(part).hex() for part in parts])

    def fails(value: Any) -> list[Any]:
        return process(encode(value), {"kind": "raised"})

    return [
        node(
            "PassThrough", {}, *(gives(value, value) for value in (None, 2, 2.0, "ä", b"\x00", [[]], {"a": {"b": -1}}))
        ),
        node("MultiplyNode", {"factor": 2}, gives(5, 10), gives(-3, -6), gives(2.5, 5.0), fails("a"), fails(2**63)),
        node("MultiplyNode", {"factor": 0.5}, gives(5, 2.5), gives(2**63, float(2**62))),
        node("AddNode", {"addend": 10}, gives(10, 20), gives(0.5, 10.5), fails(None), gives(2**64 - 11, 2**64 - 1)),
        node("Range", {}, gives(0), gives(3, 0, 1, 2), gives(-5), gives(200, *range(200)), fails("a"), arity="many"),
    ]


def vectors() -> dict[str, Any]:
    return {
        "refused": refused_modules(),
        "called": hostile_answers() + other_calls(),
        "looping": looping(),
        "puppet": puppet(),
        "basics": basics(),
    }


def text() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
