"""A whole mesh in one process: real peers, links, hub and planner, under a virtual clock, and what befalls them."""

import asyncio
import logging
import os
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final
from unittest.mock import patch
from zlib import crc32

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from faults import DRIVER, FAULTS, OF_A_PEER, OF_TWO_PEERS, RIVAL
from imagined_runtime import ImaginedRuntime
from node_kinds import kinds_of
from promises import Violation, check_memory, held
from scenario import Fault, Scenario
from simulated_application import Application
from simulated_signaling import START, SignalingServer
from simulated_wires import Wires
from virtual_time import WORLD, Deadlock, Process, VirtualLoop

import mesh.transport.signaling.client
from mesh.errors import SignalingError
from mesh.ids import NodeId, PeerName
from mesh.limits import DEFAULT_TIMEOUT_S, LEASE_GRACE_S, PART_OVERHEAD_BYTES
from mesh.peer import Machine, Peer, Run
from mesh.peer.driving.epoch import Epoch
from mesh.protocol.grants import ENTROPY_BYTES, RIGHTS, RoomKeys
from mesh.transport.link import Lane
from mesh.values import encode
from signaling_server.client import Client

SETTLING_S = 1.0  # in which the peers find each other before the run begins
PATIENCE_S = 120.0  # after the last fault, by then a run is over
LEASE_S = DEFAULT_TIMEOUT_S + LEASE_GRACE_S  # after which a stuck worker is noticed
FREEING_S = 75.0  # after its end, by then it holds nothing anywhere
CHECK_EVERY = 16  # events
ACCUSATIONS = ("bad-frame", "bad-record", "bad-message", "out-of-order", "not-proven", "bad-proof", "bad-seal")
REBOOT_S = 1.0  # after which a worker that ended is back
SUMS: Final[Mapping[str, Callable[[Mapping[str, Any]], int]]] = {  # of receipts
    "epochs": lambda receipt: len(receipt["epochs"]),
    "moves": lambda receipt: len(receipt["moves"]),
    "replayed": itemgetter("replayed"),
    "duplicates dropped": itemgetter("duplicates_dropped"),
    "seqs dropped by edges": itemgetter("dropped"),
}
ROUNDS = 3  # of cancelling: what ends may begin something else to end well


@dataclass
class Outcome:
    """What came of a scenario. ``hits`` counts (fault, kind of node) for every node that a fault met."""

    scenario: Scenario
    events: int = 0
    digest: int = 0
    violation: str = ""
    endings: list[str] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
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
        self.stuck: set[str] = set()  # whose nodes do not answer
        self.leaving: set[str] = set()  # who was drained, and is not back
        self._processes: list[Process] = []  # also those that were killed
        self._scenario = scenario
        self._outcome = Outcome(scenario, trace=deque(maxlen=trace_length))
        self._keys = RoomKeys.make("sim", self.rnd.randbytes(ENTROPY_BYTES))
        self.applications: list[Application] = []
        items = (item for pipeline in scenario.runs for item in pipeline.items)
        self._largest = max(len(encode(item)) for item in items) + PART_OVERHEAD_BYTES  # bytes made at once
        self._broken: Violation | None = None

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
        drivers = {name: self._boot(name) for name in dict.fromkeys((DRIVER, *(each.driver for each in scenario.runs)))}
        await asyncio.sleep(SETTLING_S)
        for pipeline in scenario.runs:
            other = self.applications[0] if self.applications else None
            self.applications.append(
                Application(pipeline, tell=self._event, slow=lambda: self.slow_sink > 0, other=other)
            )
        for application in self.applications:
            driver = drivers[application.pipeline.driver]
            application.start(driver.process, driver.peer)
        faults = [asyncio.create_task(self._befall(fault)) for fault in scenario.faults]
        last = max((fault.at + fault.seconds for fault in scenario.faults), default=0.0)
        last += LEASE_S * sum(fault.kind == "stuck" for fault in scenario.faults)
        for application in self.applications:  # one that stalls waits for those before
            await self._within(last + application.pipeline.seconds + PATIENCE_S, application.over)
        self._outcome.endings = [each.ending() for each in self.applications]
        for run in self._runs():
            self._outcome.sums.update({word: sum_of(run.receipt) for word, sum_of in SUMS.items() if run.receipt})
        await asyncio.gather(*faults)
        await self._freed()

    async def _within(self, seconds: float, event: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            raise Violation(f"no progress: a run is not over {PATIENCE_S:.0f} s after the last fault") from None
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
        works = name not in (DRIVER, RIVAL)
        self.stuck.discard(name)
        self.leaving.discard(name)
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
            sorted({node["node_type"] for pipeline in self._scenario.runs for node in pipeline.manifest["nodes"]}),
            random.Random(self.rnd.getrandbits(32)),
            epoch=self._epoch_of,
            slowness=lambda: self.wires.slow.get(name, 1.0),
            stuck=lambda: name in self.stuck,
            called=lambda node, op: self._event(f"{name}: {op} of {node.id}"),
            made=self._answered,
        )

    def _epoch_of(self, node: NodeId) -> int:
        """The number of the epoch of the run that has this node; no two runs have one of the same name."""
        plans = (run.plan for run in self._runs() if run.plan is not None)
        return next((plan["epoch"] for plan in plans if node in plan["why"]), 1)

    def _runs(self) -> list[Run]:
        return [application.run for application in self.applications if application.run is not None]

    # What happens

    def _event(self, text: str) -> None:
        outcome = self._outcome
        outcome.events += 1
        line = f"{self.loop.time():10.4f} {text}"
        outcome.digest = crc32(line.encode(), outcome.digest)
        outcome.trace.append(line)
        if outcome.events % CHECK_EVERY == 0 and self._broken is None:
            try:
                check_memory(self._living(), self._runs(), largest=self._largest)
            except Violation as violation:
                self._break(violation)

    def _answered(self, size: int) -> None:
        self._largest = max(self._largest, size)

    def _break(self, violation: Violation) -> None:
        self._broken = self._broken or violation
        for application in self.applications:
            application.over.set()

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

    # Faults

    async def _befall(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        names = fault.peers or self._concerned(fault.kind)
        if names is None or all(application.over.is_set() for application in self.applications):
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
        present = self._present()
        application, epoch = self.rnd.choice(present) if present else (None, None)
        seated = sorted(epoch.workers & {self.members[name].peer.id for name in self.living_workers()}) if epoch else []
        if application is None or epoch is None or not seated:
            return None
        worker = self.rnd.choice(seated)
        name = next(name for name, member in self.members.items() if member.peer.id == worker)
        if kind in OF_A_PEER:
            return (DRIVER,) if kind in ("pause", "slow peer") and self.rnd.random() < 0.1 else (name,)
        others = [str(epoch.names[each]) for each in sorted(epoch.placement.neighbours(worker))]
        return name, self.rnd.choice([application.pipeline.driver, *others])

    def _present(self) -> list[tuple[Application, Epoch]]:
        """The epochs of the runs that are under way."""
        begun = [each for each in self.applications if each.run is not None and not each.over.is_set()]
        return [(each, each.run._epochs[-1]) for each in begun if each.run is not None and each.run._epochs]

    def _count_hits(self, kind: str, names: tuple[str, ...]) -> None:
        present = self._present()
        for application, epoch in present:
            for node in epoch._graph.nodes:
                places = set(map(str, epoch.seats()[node.id]))
                if not names or names == (application.pipeline.driver,) or places & set(names):
                    kinds = kinds_of(node, epoch._graph, places=len(places), runs=len(present))
                    self._outcome.hits.update((kind, each) for each in kinds)

    def living_workers(self) -> list[str]:
        """Names of the workers that were not killed, and are not stuck."""
        working = {name: each for name, each in self.members.items() if each.peer.serves and name not in self.stuck}
        return [name for name, each in working.items() if each.process.alive]

    def staying_workers(self) -> set[str]:
        """Those of them that were not told to end either."""
        return set(self.living_workers()) - self.leaving

    def _living(self) -> list[Peer]:
        return [member.peer for member in self.members.values() if member.process.alive]

    def kill(self, name: str) -> None:
        """As SIGKILL: the process stops between two steps, and its kernel closes what it had open."""
        process = self.members[name].process
        process.kill()
        self.server.died(process)

    def drain(self, name: str, *, patience_s: float) -> None:
        """As SIGTERM: it ends when its nodes were moved away, or after its patience, and is started again."""
        member = self.members[name]

        def ended(_: object) -> None:
            if member.process.alive:
                self.kill(name)
            self.loop.call_later(REBOOT_S, self.boot_again, name)

        self.leaving.add(name)
        member.process.start(_drained(member.peer, patience_s)).add_done_callback(ended)

    def start_over(self, name: str) -> None:
        """A fresh process, whatever has become of the one before."""
        if self.members[name].process.alive:
            self.kill(name)
        self._boot(name)

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


async def _drained(peer: Peer, patience_s: float) -> None:
    """What ``mesh worker`` does when it is told to end."""
    with suppress(TimeoutError):
        await asyncio.wait_for(peer.drain(), patience_s)
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
