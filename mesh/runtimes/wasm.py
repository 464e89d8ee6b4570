"""WebAssembly nodes: instances of core modules that export the world of ``node.wit``, each in a thread of its own.

The engine runs guests without the interpreter's lock, so a looping guest blocks nobody, and an interrupt ends it.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final
from weakref import WeakSet

from mesh import values
from mesh.errors import NodeCrashed, NodeError, NodeSourceError, NodeTimeout, ValueFault
from mesh.limits import DESCRIBE_TIMEOUT_S, JOIN_LEVELS, MAX_CAUSE_CHARS, MAX_NODE_TYPES, SETUP_TIMEOUT_S
from mesh.manifest.graph import GraphNode
from mesh.nodes.spec import ALIASES, NodeSpec
from mesh.nodes.steps import Steps
from mesh.runtimes.base import Answer, Instance, Runtime
from mesh.runtimes.canonical import World
from mesh.runtimes.guest import Code, Guest, refusal
from mesh.runtimes.shortcut import OVERRUN, Jobs, Shortcut

MODULES: Final = Path(__file__).parent.parent / "_assets" / "nodes"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Module:
    """A compiled module and the node types that it describes."""

    code: Code
    types: tuple[NodeSpec, ...]


class WasmRuntime(Runtime):
    """Runs the node types of some modules. A module that is refused is logged, and its types are not there."""

    name = "wasm"

    def __init__(self, modules: Iterable[Path] | None = None, *, allow: Collection[str] | None = None) -> None:
        """``modules``: the installed ones by default. ``allow``, where given, names the only types that are run."""
        self._allow = None if allow is None else {ALIASES.get(name, name) for name in allow}
        self._modules: list[Module] = []
        self._codes: dict[str, Code] = {}
        self._instances: WeakSet[WasmInstance] = WeakSet()
        for path in sorted(MODULES.glob("*.wasm")) if modules is None else modules:
            try:
                self.add(load(path.read_bytes()))
            except NodeError as error:
                _log.warning("the module %s is refused: %s", path, error)

    def load(self, source: str) -> None:
        """Adds the module in a file; NodeSourceError where it cannot be used."""
        try:
            self.add(load(Path(source).read_bytes()))
        except OSError as error:
            raise NodeSourceError(source, f"it cannot be read: {error.strerror}") from None
        except NodeError as error:
            raise NodeSourceError(source, str(error)) from None

    def add(self, module: Module) -> None:
        """Makes the module's types known; raises NodeError where one is known already."""
        for spec in module.types:
            if spec.node_type in self._codes:
                raise refusal(f"it describes {spec.node_type}, as another module does")
        self._modules.append(module)
        self._codes |= {spec.node_type: module.code for spec in module.types}

    def types(self) -> Sequence[NodeSpec]:
        """The types of all modules that are allowed."""
        return [spec for module in self._modules for spec in module.types if self._allows(spec.node_type)]

    def _allows(self, node_type: str) -> bool:
        return self._allow is None or node_type in self._allow

    def warm(self) -> None:
        """There is nothing to begin: a module starts at once."""

    async def create(self, node: GraphNode) -> Instance:
        """An instance of its own for the node; NodeError where the module does not know or does not want it."""
        code = self._codes.get(node.node_type)
        if code is None or not self._allows(node.node_type):
            raise NodeError(f"there is no WebAssembly node type {node.node_type!r} here")
        instance = WasmInstance(code, node)
        self._instances.add(instance)
        try:
            await instance.start()
        except BaseException:
            await instance.close()
            raise
        return instance

    async def close(self) -> None:
        """Ends every instance, also those that compute."""
        await asyncio.gather(*(instance.close() for instance in self._instances))


def load(data: bytes) -> Module:
    """Compiles a module and asks what it holds; NodeError where it is not what node.wit and the limits ask for."""
    code = Code(data)
    guest = Guest(code)
    # what the module says of itself is as untrusted as everything else that it answers
    timer = threading.Timer(DESCRIBE_TIMEOUT_S, guest.interrupt, [NodeTimeout("describe takes too long")])
    timer.start()
    try:
        guest.start()
        entries = json.loads(World(guest).describe())
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_NODE_TYPES:
            raise refusal(f"describe answers no list of 1 to {MAX_NODE_TYPES} node types")
        types = tuple(NodeSpec.from_json(entry) for entry in entries)
    except (ValueError, RecursionError, ValueFault) as error:
        raise refusal(f"describe answers nonsense: {error}"[:MAX_CAUSE_CHARS]) from None
    finally:
        timer.cancel()
        guest.close()
    if len({spec.node_type for spec in types}) < len(types):
        raise refusal("it describes a node type twice")
    return Module(code, types)


class WasmInstance(Instance):
    """One node: a guest, and the thread that runs it."""

    def __init__(self, code: Code, node: GraphNode) -> None:
        self._node = node
        self._code = code
        self._guest = Guest(code)
        self._steps = Steps()
        self._loop = asyncio.get_running_loop()
        self._gone = self._loop.create_future()
        self._jobs: Jobs = SimpleQueue()
        self._shortcut = None if node.stateful or node.arity == "many" else Shortcut(self._loop, self._jobs)
        threading.Thread(target=self._serve, name=f"wasm {node.id}", daemon=True).start()

    async def start(self) -> None:
        """Runs the module's start code and ``init``."""
        await self._call(self._start, SETUP_TIMEOUT_S)

    async def process(self, payload: bytes) -> Answer:
        shortcut = self._shortcut
        if shortcut is not None and shortcut.is_open(len(payload)) and not self._guest.interruption:
            answer = self._process_here(shortcut, payload)
            if answer is not None:
                return answer
            self._guest.close()
            self._guest = Guest(self._code)
            await self._call(self._start, SETUP_TIMEOUT_S)
        return await self._call(partial(self._process, payload), self._node.timeout_s)

    def _process_here(self, shortcut: Shortcut, payload: bytes) -> Answer | None:
        """In the thread of the event loop. None: it took too long, and the guest was given up."""
        shortcut.enter(self._guest)
        answer = None
        try:
            answer = self._process(payload)
        except NodeError as error:
            if self._guest.interruption is not OVERRUN:
                if isinstance(error, NodeCrashed):
                    self._end()
                raise
        finally:
            overrun = self._guest.interruption is OVERRUN
            shortcut.leave(overrun=overrun)
        return None if overrun else answer

    async def next(self) -> Answer:
        return await self._call(self._next, self._node.timeout_s)

    async def finish(self) -> Answer:
        return await self._call(self._finish, self._node.timeout_s)

    async def snapshot(self) -> bytes:
        return await self._call(self._snapshot, self._node.timeout_s)

    async def restore(self, state: bytes) -> None:
        await self._call(lambda: self._world.restore(state), self._node.timeout_s)

    async def close(self) -> None:
        self._end()
        await asyncio.shield(self._gone)

    async def _call[T](self, operation: Callable[[], T], timeout_s: float) -> T:
        """Has the thread do ``operation``; ends the instance where that takes too long, traps, or is cancelled."""
        if self._guest.interruption:
            raise self._guest.interruption
        future: asyncio.Future[T] = self._loop.create_future()
        late = NodeTimeout(f"it took longer than {timeout_s:g} s")
        timer = self._loop.call_later(timeout_s, self._guest.interrupt, late)
        self._jobs.put(partial(self._do, future, operation))
        try:
            answer = await future
            if self._guest.interruption:
                raise self._guest.interruption
            return answer
        except (NodeCrashed, NodeTimeout, asyncio.CancelledError):
            self._end()
            raise
        finally:
            timer.cancel()

    def _end(self) -> None:
        self._guest.interrupt(NodeCrashed("its instance is closed"))
        self._jobs.put(None)

    # what follows runs in the thread

    def _serve(self) -> None:
        next_job = self._jobs.get if self._shortcut is None else self._shortcut.next_job
        while job := next_job():
            job()
        self._guest.close()
        self._tell(_settle, self._gone, None, None)

    def _do(self, future: asyncio.Future[Any], operation: Callable[[], Any]) -> None:
        answer, error = None, None
        try:
            answer = operation()
        except Exception as raised:
            error = raised
        self._tell(_settle, future, answer, error)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _start(self) -> None:
        self._guest.start()
        self._world = World(self._guest)
        self._world.init(self._node.node_type, self._node.params)

    def _process(self, payload: bytes) -> Answer:
        if self._node.arity == "many":
            return self._begin(partial(self._world.process, payload))
        began = time.thread_time()
        part = self._checked(self._world.process(payload))
        if self._shortcut is not None:
            self._shortcut.took(time.thread_time() - began)
        if part is None and self._node.arity == "one":
            raise NodeError("it answered no part, but its arity is one", kind="answer")
        return Answer(() if part is None else (part,))

    def _finish(self) -> Answer:
        if self._node.arity == "many":
            return self._begin(self._world.finish)
        part = self._checked(self._world.finish())
        return Answer(() if part is None else (part,))

    def _begin(self, first: Callable[[], bytes | None]) -> Answer:
        """The first step of an input: ``first`` gives the first part, the world's ``next`` the others."""
        functions = iter((first,))

        async def fetch() -> bytes | None:
            return self._checked(next(functions, self._world.next)())

        return _step(self._steps.begin(fetch))

    def _next(self) -> Answer:
        return _step(self._steps.step())

    def _snapshot(self) -> bytes:
        return self._checked(self._world.snapshot())

    def _checked[P: bytes | None](self, part: P) -> P:
        """``part``, which must be a value, or none."""
        if part is not None:
            try:
                values.check(part, extra_levels=JOIN_LEVELS if self._node.join else 0)
            except ValueFault as error:
                raise NodeError(f"its answer is no value: {error}", kind="answer") from None
        return part


def _step(step: Coroutine[None, None, tuple[list[bytes], bool]]) -> Answer:
    """Drives a step to its end: a guest never waits, so one ``send`` is enough."""
    try:
        step.send(None)
    except StopIteration as end:
        parts, more = end.value
        return Answer(tuple(parts), more)
    raise AssertionError("a guest does not wait")


def _settle(future: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:
    if not future.done():
        future.set_exception(error) if error else future.set_result(answer)
