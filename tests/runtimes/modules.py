"""Hand-written node modules: an honest one in WAT, and how to make it hostile, one function at a time."""

import json

import wasmtime

SPEC = {
    "node_type": "Echo",
    "doc": "The value unchanged.",
    "params": {},
    "accepts": "any",
    "returns": "any",
    "arity": "one",
    "join": False,
    "stateful": False,
    "deterministic": True,
    "finishes": False,
}
NONE = "(i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 0)) (i32.const 64)"
FUNCTIONS = {
    "cabi_realloc": "(param i32 i32 i32 i32) (result i32) (i32.const 65536)",  # one buffer: the first page is ours
    "describe": "(result i32) (i32.const 32)",
    "init": f"(param i32 i32 i32 i32) (result i32) {NONE}",
    "process": """(param i32 i32) (result i32)
        (i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 1))
        (i32.store (i32.const 72) (local.get 0)) (i32.store (i32.const 76) (local.get 1)) (i32.const 64)""",
    "next": f"(result i32) {NONE}",
    "finish": f"(result i32) {NONE}",
    "snapshot": """(result i32)
        (i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 96))
        (i32.store (i32.const 72) (i32.const 1)) (i32.const 64)""",
    "restore": f"(param i32 i32) (result i32) {NONE}",
}
MEMORY = '(memory (export "memory") 20 64)'


def module(*, text: bytes | None = None, memory: str = MEMORY, extra: str = "", **functions: str) -> bytes:
    """A module of one node type that says ``text`` of itself; ``functions`` replace those of the honest one."""
    text = json.dumps([SPEC]).encode() if text is None else text
    bodies = FUNCTIONS | functions
    exports = "\n".join(f'(func (export "{name}") {body})' for name, body in bodies.items() if body)
    escaped = "".join(f"\\{byte:02x}" for byte in text)
    head = "".join(f"\\{byte:02x}" for byte in (1024).to_bytes(4, "little") + len(text).to_bytes(4, "little"))
    data = f'(data (i32.const 32) "{head}") (data (i32.const 96) "\\c0") (data (i32.const 1024) "{escaped}")'
    return bytes(wasmtime.wat2wasm(f"(module {extra} {memory} {exports} {data})"))


def answer(address: int, size: int, *, tag: int = 0, some: int = 1) -> str:
    """The body of a function that answers a part at ``address``."""
    return f"""(i32.store (i32.const 64) (i32.const {tag})) (i32.store (i32.const 68) (i32.const {some}))
        (i32.store (i32.const 72) (i32.const {address})) (i32.store (i32.const 76) (i32.const {size})) (i32.const 64)"""


def error(address: int, size: int) -> str:
    """The body of a function that answers an error whose text is at ``address``."""
    return f"""(i32.store (i32.const 64) (i32.const 1)) (i32.store (i32.const 68) (i32.const {address}))
        (i32.store (i32.const 72) (i32.const {size})) (i32.const 64)"""


LOOP = "(loop $again (br $again)) (unreachable)"
TRAP = "(unreachable)"
