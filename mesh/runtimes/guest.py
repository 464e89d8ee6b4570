"""Core WebAssembly modules under wasmtime; the only module that names it.

Calls go through ``wasmtime_func_call_unchecked``, since ``Func.__call__`` takes ten times as long. It is private to
wasmtime's package, whose version is pinned for it; the types of the exports are checked when a module is compiled.

An engine made before ``faulthandler.enable()`` would turn a guest's trap into the death of this process.
"""

import ctypes
import faulthandler
from contextlib import suppress
from functools import cache
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

from mesh.errors import NodeCrashed, NodeError
from mesh.limits import MAX_CAUSE_CHARS, MAX_MODULE_BYTES, MAX_WASM_MEMORY_BYTES, MAX_WASM_TABLE_ELEMENTS
from mesh.runtimes.canonical import FUNCTIONS, OPTIONAL_FUNCTIONS, Core, broken

_MAGIC: Final = b"\0asm"
_PAGE_BYTES: Final = 65_536


class Code:
    """A compiled module that imports nothing, has a memory maximum, and exports what the world asks for."""

    def __init__(self, data: bytes) -> None:
        """Compiles ``data``; NodeError says what is wrong with it."""
        if len(data) > MAX_MODULE_BYTES:
            raise refusal(f"it has {len(data)} bytes, more than {MAX_MODULE_BYTES}")
        if not data.startswith(_MAGIC):  # wasmtime would take the text format too
            raise refusal("it is no WebAssembly")
        try:
            self.module = wasmtime.Module(engine(), data)
        except wasmtime.WasmtimeError as error:
            raise refusal(f"it is no valid WebAssembly: {error}"[:MAX_CAUSE_CHARS]) from None
        self._check_imports()
        types = {entry.name: entry.type for entry in self.module.exports}
        for name in FUNCTIONS | OPTIONAL_FUNCTIONS:
            _check_function(name, types.get(name))
        _check_memory(types.get("memory"))

    def _check_imports(self) -> None:
        names = [f"{entry.module}.{entry.name}" for entry in self.module.imports]
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise refusal(f"it imports {shown}; a module of nodes imports nothing"[:MAX_CAUSE_CHARS])


def _check_function(name: str, kind: object) -> None:
    if kind is None and name in OPTIONAL_FUNCTIONS:
        return
    if not isinstance(kind, wasmtime.FuncType):
        raise refusal(f"it does not export the function {name}")
    arguments, results = (FUNCTIONS | OPTIONAL_FUNCTIONS)[name]
    if [*map(str, kind.params)] != ["i32"] * arguments or [*map(str, kind.results)] != ["i32"] * results:
        raise refusal(f"its function {name} does not take {arguments} i32 and answer {results}")


def _check_memory(kind: object) -> None:
    if not isinstance(kind, wasmtime.MemoryType):
        raise refusal("it does not export a memory")
    if kind.limits.max is None:
        raise refusal("its memory has no maximum; link it with --max-memory")
    if kind.limits.max * _PAGE_BYTES > MAX_WASM_MEMORY_BYTES:
        raise refusal(f"the maximum of its memory is above {MAX_WASM_MEMORY_BYTES} bytes")


def refusal(why: str) -> NodeError:
    """The error of a module that is not taken."""
    return NodeError(why, kind="answer")


def _function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of wasmtime's C library, with types that ctypes converts faster than those of the bindings."""
    function = ffi.dll[name]
    function.restype, function.argtypes = result, arguments
    return function


_POINTER: Final = ctypes.c_void_p
_CELLS: Final = 4  # of 16 bytes each: the arguments of a call, then its result
_EPOCH: Final = ctypes.CFUNCTYPE(
    ctypes.c_size_t, _POINTER, _POINTER, ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_uint8)
)
_CONTINUE: Final = 0  # WASMTIME_UPDATE_DEADLINE_CONTINUE
_call_unchecked: Final = _function(
    "wasmtime_func_call_unchecked", _POINTER, _POINTER, _POINTER, _POINTER, ctypes.c_size_t, _POINTER
)
_memory_data: Final = _function("wasmtime_memory_data", _POINTER, _POINTER, _POINTER)
_memory_size: Final = _function("wasmtime_memory_data_size", ctypes.c_size_t, _POINTER, _POINTER)
_on_epoch: Final = _function("wasmtime_store_epoch_deadline_callback", None, _POINTER, _EPOCH, _POINTER, _POINTER)
_new_error: Final = _function("wasmtime_error_new", ctypes.c_size_t, ctypes.c_char_p)


class Guest(Core):
    """An instance of a module in a store of its own. One thread at a time may use it; any may ``interrupt``."""

    def __init__(self, code: Code) -> None:
        self.interruption: NodeError | None = None
        self._code = code
        self._store = wasmtime.Store(engine())
        if faulthandler.is_enabled() and not _faulthandler_came_first():
            raise RuntimeError("faulthandler was enabled after the first WebAssembly engine: enable it first, or not")
        self._store.set_limits(
            memory_size=MAX_WASM_MEMORY_BYTES, table_elements=MAX_WASM_TABLE_ELEMENTS, instances=1, memories=1
        )
        self._context = self._store._context()
        self._callback = _EPOCH(self._epoch)  # kept here: the C side has its address only
        _on_epoch(self._store.ptr(), self._callback, None, None)
        self._store.set_epoch_deadline(1)
        self._cells = (ctypes.c_uint32 * (4 * _CELLS))()
        self._trap = ctypes.c_void_p()
        self._trap_address = ctypes.byref(self._trap)
        self._functions: dict[str, Any] = {}
        self._memory: Any = None
        self._origin = 0  # of its memory, in ours
        self._length = 0  # of its memory, when we last had to look

    def start(self) -> None:
        """Instantiates the module, which runs its start function."""
        try:
            instance = wasmtime.Instance(self._store, self._code.module, [])
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise self._failure(error) from None
        for name, export in instance.exports(self._store).items():
            if isinstance(export, wasmtime.Func):
                self._functions[name] = ctypes.byref(export._func)
            elif isinstance(export, wasmtime.Memory):
                self._memory = ctypes.byref(export._memory)
                self._origin = int(_memory_data(self._context, self._memory))

    def interrupt(self, reason: NodeError) -> None:
        """Ends what the guest computes, and all that it is asked later, with ``reason``."""
        self.interruption = self.interruption or reason
        engine().increment_epoch()

    def close(self) -> None:
        """Frees the store."""
        self._store.close()

    def has(self, name: str) -> bool:
        return name in self._functions

    def call(self, name: str, *arguments: int) -> int:
        cells = self._cells
        for index, argument in enumerate(arguments):
            cells[4 * index] = argument
        error = _call_unchecked(self._context, self._functions[name], cells, _CELLS, self._trap_address)
        if error:
            pointer = ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t))
            raise self._failure(wasmtime.WasmtimeError._from_ptr(pointer))
        if self._trap:
            raise self._failure(wasmtime.Trap._from_ptr(ctypes.cast(self._trap, ctypes.POINTER(ffi.wasm_trap_t))))
        return cells[0]

    def read(self, address: int, size: int) -> bytes:
        return ctypes.string_at(self._locate(address, size), size)

    def write(self, address: int, data: bytes) -> None:
        ctypes.memmove(self._locate(address, len(data)), data, len(data))

    def _locate(self, address: int, size: int) -> int:
        """Where ``size`` bytes of the guest's memory are in ours. It may grow at each call, and never moves."""
        if address + size > self._length:
            self._length = _memory_size(self._context, self._memory)
            if address + size > self._length:
                raise broken(f"{size} bytes at {address:#x} are outside of the memory's {self._length}")
        return self._origin + address

    def _epoch(self, _context: Any, _data: Any, delta: Any, kind: Any) -> int:
        """wasmtime calls it in the guest's thread when the epoch has grown; the address of an error ends the guest."""
        if self.interruption:
            return int(_new_error(b"interrupted"))
        delta[0], kind[0] = 1, _CONTINUE
        return 0

    def _failure(self, error: Exception) -> NodeError:
        return self.interruption or NodeCrashed(f"it trapped: {error}"[:MAX_CAUSE_CHARS], kind="trapped")


@cache
def engine() -> wasmtime.Engine:
    """The one engine of this process; when its epoch grows, each guest looks whether it was interrupted."""
    _faulthandler_came_first()
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.memory_may_move = False
    with suppress(wasmtime.WasmtimeError):  # without a home, compiled code is not kept for the next process
        config.cache = True
    return wasmtime.Engine(config)


@cache
def _faulthandler_came_first() -> bool:
    return faulthandler.is_enabled()
