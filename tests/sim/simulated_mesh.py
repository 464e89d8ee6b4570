"""A whole mesh in one process: real peers, links, hub and planner, under a virtual clock, and what befalls them."""

import asyncio
import logging
import os
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from unittest.mock import patch
from zlib import crc32

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from explanation import Observed
from faults import DRIVER, FAULTS, OF_A_PEER, OF_TWO_PEERS
from imagined_runtime import ImaginedRuntime
from node_kinds import kinds_of
from promises import Violation, check_end, check_memory, check_order, check_orphan, held
from scenario import Fault, Scenario
from simulated_signaling import START, SignalingServer
from simulated_wires import Wires
from virtual_time import WORLD, Deadlock, Process, VirtualLoop

import mesh.transport.signaling.client
from mesh.errors import ItemError, MeshError, SignalingError
from mesh.ids import PeerName
from mesh.limits import DRAIN_TIMEOUT_S, PART_OVERHEAD_BYTES
from mesh.peer import Machine, Peer, Run
from mesh.protocol.grants import ENTROPY_BYTES, RIGHTS, RoomKeys
from mesh.transport.link import Lane
from mesh.values import encode
from signaling_server.client import Client

SETTLING_S = 1.0  # in which the peers find each other before the run begins
PATIENCE_S = 120.0  # after the last fault, by then a run is over
FREEING_S = 75.0  # after its end, by then it holds nothing anywhere
SINK_S = 0.5  # that a slow application takes for a result
CHECK_EVERY = 16  # events
ACCUSATIONS = ("bad-frame", "bad-record", "bad-message", "out-of-order", "not-proven", "bad-proof", "bad-seal")
REBOOT_S = 1.0  # after which a worker that ended is back
ROUNDS = 3  # of cancelling: what ends may begin something else to end well


@dataclass
class Outcome:
    """What came of a scenario. ``hits`` counts (fault, kind of node) for every node that a fault met."""

    scenario: Scenario
    events: int = 0
    digest: int = 0
    violation: str = ""
    ending: str = ""
    epochs: int = 0
    moves: int = 0
    seconds: float = 0.0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    trace: deque[str] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the mesh."""

    process: Process
    peer: Peer


class SimulatedMesh:
    """``play`` a scenario once; what faults and promises need of it is public."""

    def __init__(self, scenario: Scenario, *, trace_length: int) -> None:
        self.rnd = random.Random(scenario.seed)
        self.loop = VirtualLoop()
        self.wires = Wires(self.loop, self.rnd, self._frame)
        self.server = SignalingServer(self.loop, self.rnd, replicas=scenario.replicas)
        self.members: dict[str, Member] = {}
        self.slow_sink = self.outages = 0  # faults of that kind that are under way
        self._processes: list[Process] = []  # also those that were killed
        self._scenario = scenario
        self._outcome = Outcome(scenario, trace=deque(maxlen=trace_length))
        self._keys = RoomKeys.make("sim", self.rnd.randbytes(ENTROPY_BYTES))
        self._run: Run | None = None
        self._largest = max(len(encode(item)) for item in scenario.items) + PART_OVERHEAD_BYTES  # bytes made at once
        self._results: list[tuple[int, int, bytes]] = []
        self._failures: list[tuple[int, str]] = []
        self._broken: Violation | None = None
        self._over = asyncio.Event()

    def play(self) -> Outcome:
        """A broken promise is in the outcome's ``violation``."""
        self.loop.set_exception_handler(lambda _, said: self._internal_error(str(said.get("exception", said))))
        with seeded(self.loop, self.rnd, self.server), heard(self._logged):
            try:
                self.loop.run_until_complete(WORLD.run(self.loop.create_task, self._story()))
            except (Violation, Deadlock) as violation:
                self._outcome.violation = str(violation)
            outcome = self._outcome
            outcome.seconds = self.loop.time()
            self._put_away()
        return outcome

    def _put_away(self) -> None:
        """Cancels all that is left; what comes of that is of no interest."""
        self._outcome = Outcome(self._scenario)
        self.loop.set_exception_handler(lambda *_: None)
        self.server.stop()
        for process in self._processes:
            process.kill()
            process.bury()
        for _ in range(ROUNDS):
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks, timeout=10.0))
        self.loop.close()

    # The story

    async def _story(self) -> None:
        scenario = self._scenario
        self.server.start()
        for number in range(scenario.workers):
            self._boot(f"w{number}")
        submitter = self._boot(DRIVER)
        await asyncio.sleep(SETTLING_S)
        driving = submitter.process.start(self._drive(submitter.peer))
        driving.add_done_callback(lambda _: self._over.set())
        faults = [asyncio.create_task(self._befall(fault)) for fault in scenario.faults]
        last = max((fault.at + fault.seconds for fault in scenario.faults), default=0.0)
        await self._within(last + len(scenario.items) * scenario.pace_s + PATIENCE_S, self._over)
        if submitter.process.alive:
            driving.result()
        elif self._run is not None:
            self._outcome.ending = check_orphan(self._run, scenario.items, Observed(self._results, self._failures))
        await asyncio.gather(*faults)
        await self._freed()

    async def _within(self, seconds: float, event: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            raise Violation(f"no progress: the run is not over {PATIENCE_S:.0f} s after the last fault") from None
        if self._broken is not None:
            raise self._broken

    async def _freed(self) -> None:
        until = self.loop.time() + FREEING_S
        while left := held(self._living()):
            if self.loop.time() > until:
                raise Violation(f"{FREEING_S:.0f} s after the end of the run {left}")
            await asyncio.sleep(0.5)

    def _boot(self, name: str) -> Member:
        """A worker, or the one that submits the run."""
        process = Process(self.loop, name)
        self._processes.append(process)
        works = name != DRIVER
        invite = self._keys.invite(server="http://sim", subject=name, can=RIGHTS, ttl_s=86_400, now=int(START))
        peer = process.context.run(
            lambda: Peer(
                invite=invite.url,
                name=PeerName(name),
                machine=Machine(labels={"home": name}),
                serve=works,
                engine=self.wires.connect,
                runtimes={"python": self._runtime(name)} if works else {},
                log=lambda text: self._said(name, text),
            )
        )
        self.members[name] = Member(process, peer)
        process.start(_live(peer))
        return self.members[name]

    def _runtime(self, name: str) -> ImaginedRuntime:
        return ImaginedRuntime(
            sorted({node["node_type"] for node in self._scenario.manifest["nodes"]}),
            random.Random(self.rnd.getrandbits(32)),
            epoch=lambda: self._run.plan["epoch"] if self._run is not None and self._run.plan is not None else 1,
            slowness=lambda: self.wires.slow.get(name, 1.0),
            called=lambda node, op: self._event(f"{name}: {op} of {node.id}"),
            made=self._answered,
        )

    async def _drive(self, peer: Peer) -> None:
        self._run = run = peer.run(
            dict(self._scenario.manifest), self._items(), on_error=self._scenario.on_error, on_failure=self._failed
        )
        error: MeshError | None = None
        try:
            async for result in run:
                self._event(f"result {result.seq}.{result.part}")
                check_order(self._results, result.seq, result.part)
                self._results.append((result.seq, result.part, result.payload))
                await asyncio.sleep(SINK_S if self.slow_sink else 0)
        except MeshError as raised:
            error = raised
        observed = Observed(self._results, self._failures)
        self._outcome.ending = check_end(run, error, self._scenario.items, observed)
        self._outcome.epochs, self._outcome.moves = len(run._epochs), len(run.moves.made)

    async def _items(self) -> AsyncIterator[bytes]:
        for item in self._scenario.items:
            yield item
            await asyncio.sleep(self._scenario.pace_s)

    # What happens

    def _event(self, text: str) -> None:
        outcome = self._outcome
        outcome.events += 1
        line = f"{self.loop.time():10.4f} {text}"
        outcome.digest = crc32(line.encode(), outcome.digest)
        outcome.trace.append(line)
        if outcome.events % CHECK_EVERY == 0 and self._run is not None and self._broken is None:
            try:
                check_memory(self._living(), self._run, largest=self._largest)
            except Violation as violation:
                self._break(violation)

    def _answered(self, size: int) -> None:
        self._largest = max(self._largest, size)

    def _break(self, violation: Violation) -> None:
        self._broken = self._broken or violation
        self._over.set()

    def _internal_error(self, text: str) -> None:
        self._break(Violation(f"internal error: {text}"))

    def _said(self, name: str, text: str) -> None:
        """A line of a peer's log. Peers that all keep the protocol never accuse each other."""
        self._event(f"{name}: {text}")
        if any(f"{code}: " in text for code in ACCUSATIONS):
            self._break(Violation(f"{name} says: {text}"))

    def _logged(self, record: logging.LogRecord) -> None:
        self._event(record.getMessage())
        if record.levelno >= logging.ERROR:
            self._internal_error(f"{record.getMessage()} {record.exc_info[1]!r}" if record.exc_info else record.msg)

    def _frame(self, source: str, target: str, lane: Lane, size: int) -> None:
        self._event(f"{source} -> {target}: {size} bytes of {lane.name.lower()}")

    def _failed(self, error: ItemError) -> None:
        self._event(f"failed {error.seq} at {error.node}: {error.cause}")
        self._failures.append((error.seq, error.node))

    # Faults

    async def _befall(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        names = fault.peers or self._concerned(fault.kind)
        if self._over.is_set() or names is None:
            return
        self._event(f"FAULT {fault.kind} {' '.join(names)}, for {fault.seconds:g} s")
        self._count_hits(fault.kind, names)
        with FAULTS[fault.kind](self, *names):
            await asyncio.sleep(fault.seconds)
        self._event(f"END of {fault.kind} {' '.join(names)}")

    def _concerned(self, kind: str) -> tuple[str, ...] | None:
        """Whom a fault without names meets; None: nobody has a part in the run yet, or any more."""
        if kind not in OF_TWO_PEERS and kind not in OF_A_PEER:
            return ()
        epoch = self._run._epochs[-1] if self._run is not None and self._run._epochs else None
        seated = sorted(epoch.workers & {self.members[name].peer.id for name in self.living_workers()}) if epoch else []
        if epoch is None or not seated:
            return None
        worker = self.rnd.choice(seated)
        name = next(name for name, member in self.members.items() if member.peer.id == worker)
        if kind in OF_A_PEER:
            return (DRIVER,) if kind in ("pause", "slow peer") and self.rnd.random() < 0.1 else (name,)
        others = [str(epoch.names[each]) for each in sorted(epoch.placement.neighbours(worker))]
        return name, self.rnd.choice([DRIVER, *others])

    def _count_hits(self, kind: str, names: tuple[str, ...]) -> None:
        epoch = self._run._epochs[-1] if self._run is not None and self._run._epochs else None
        if epoch is None or self._run is None or self._run.graph is None:
            return
        sinks = {edge.source for edge in self._run.graph.edges if edge.target is None}
        for node in self._run.graph.nodes:
            places = set(map(str, epoch.seats()[node.id]))
            if not names or names == (DRIVER,) or places & set(names):
                kinds = kinds_of(node, sinks=sinks, places=len(places))
                self._outcome.hits.update((kind, each) for each in kinds)

    def living_workers(self) -> list[str]:
        """Names of the workers that were not killed."""
        return [name for name, member in self.members.items() if name != DRIVER and member.process.alive]

    def _living(self) -> list[Peer]:
        return [member.peer for member in self.members.values() if member.process.alive]

    def kill(self, name: str) -> None:
        """As SIGKILL: the process stops between two steps, and its kernel closes what it had open."""
        process = self.members[name].process
        process.kill()
        self.server.died(process)

    def drain(self, name: str) -> None:
        """As SIGTERM: it ends when its nodes were moved away, or after its patience, and is started again."""
        member = self.members[name]

        def ended(_: object) -> None:
            if member.process.alive:
                self.kill(name)
            self.loop.call_later(REBOOT_S, self.boot_again, name)

        member.process.start(_drained(member.peer)).add_done_callback(ended)

    def orphan(self) -> None:
        """The driver was killed: nothing more comes of its run."""
        self._over.set()

    def boot_again(self, name: str) -> None:
        """A fresh process in the place of the killed one."""
        if not self.members[name].process.alive:
            self._boot(name)


async def _live(peer: Peer) -> None:
    """Enters the room as soon as that is possible, and stays."""
    while True:
        try:
            await peer.__aenter__()
        except SignalingError:
            await asyncio.sleep(1.0)
        else:
            return


async def _drained(peer: Peer) -> None:
    """What ``mesh worker`` does when it is told to end."""
    with suppress(TimeoutError):
        await asyncio.wait_for(peer.drain(), DRAIN_TIMEOUT_S)
    await peer.__aexit__(None, None, None)


class _Listener(logging.Handler):
    def __init__(self, tell: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record)


@contextmanager
def heard(tell: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Whatever the program logs is told, and goes nowhere else."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, [_Listener(tell)]
    yield
    root.handlers = before


@contextmanager
def seeded(loop: VirtualLoop, rnd: random.Random, server: SignalingServer) -> Iterator[None]:
    """Time, chance and the machine are those of the simulation; the signaling server is found at every address."""
    random.seed(rnd.getrandbits(32))
    with ExitStack() as stack:

        def stand_in(owner: object, name: str, value: object) -> None:
            stack.enter_context(patch.object(owner, name, value, create=name == "__hash__"))

        stand_in(secrets, "token_bytes", lambda size: rnd.randbytes(size))
        stand_in(secrets, "token_hex", lambda size: rnd.randbytes(size).hex())
        stand_in(time, "time", lambda: START + loop.time())
        stand_in(time, "monotonic", loop.time)
        stand_in(time, "perf_counter", loop.time)
        stand_in(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
        stand_in(os, "sched_getaffinity", lambda _: range(4))
        stand_in(Client, "__hash__", lambda client: hash(client.nonce))
        stand_in(mesh.transport.signaling.client, "connect", server.connect)
        stand_in(Ed25519PrivateKey, "generate", lambda: Ed25519PrivateKey.from_private_bytes(rnd.randbytes(32)))
        yield
