"""What can befall a simulated mesh: each fault is a block, which begins when it is entered and ends when it is left."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final

from mesh.limits import DRAIN_TIMEOUT_S

if TYPE_CHECKING:
    from simulated_mesh import SimulatedMesh

DRIVER: Final = "submitter"
RIVAL: Final = "rival"  # who drives another run
SLOWNESS: Final = 20.0
LAST_WORKERS: Final = 2  # that are never killed, nor stuck, for good
SPARED_S: Final = 1.0  # after which they are back instead; and the patience of the last one that is drained


@contextmanager
def _connection(mesh: "SimulatedMesh", a: str, b: str) -> Iterator[None]:
    mesh.wires.break_between(a, b, tell_both=mesh.rnd.random() < 0.5)
    yield


@contextmanager
def _partition(mesh: "SimulatedMesh", a: str, b: str) -> Iterator[None]:
    mesh.wires.cut_pair(a, b)
    yield
    mesh.wires.heal_pair(a, b)


@contextmanager
def _crash(mesh: "SimulatedMesh", name: str) -> Iterator[None]:
    mesh.kill(name)
    if len(mesh.staying_workers()) < LAST_WORKERS:
        mesh.loop.call_later(SPARED_S, mesh.boot_again, name)
    yield


@contextmanager
def _restart(mesh: "SimulatedMesh", name: str) -> Iterator[None]:
    mesh.kill(name)
    yield
    mesh.boot_again(name)


@contextmanager
def _drain(mesh: "SimulatedMesh", name: str) -> Iterator[None]:
    others = mesh.staying_workers() - {name}
    mesh.drain(name, patience_s=DRAIN_TIMEOUT_S if others else SPARED_S)
    yield


@contextmanager
def _pause(mesh: "SimulatedMesh", name: str) -> Iterator[None]:
    process = mesh.members[name].process
    process.stop()
    yield
    process.go_on()


@contextmanager
def _stuck(mesh: "SimulatedMesh", name: str) -> Iterator[None]:
    mesh.stuck.add(name)
    if len(mesh.staying_workers()) < LAST_WORKERS:
        mesh.loop.call_later(SPARED_S, mesh.start_over, name)
    yield


@contextmanager
def _slow_peer(mesh: "SimulatedMesh", name: str) -> Iterator[None]:
    mesh.wires.slow[name] = SLOWNESS
    yield
    mesh.wires.slow.pop(name, None)


@contextmanager
def _slow_sink(mesh: "SimulatedMesh") -> Iterator[None]:
    mesh.slow_sink += 1
    yield
    mesh.slow_sink -= 1


@contextmanager
def _signaling(mesh: "SimulatedMesh") -> Iterator[None]:
    mesh.server.stop()
    mesh.outages += 1
    yield
    mesh.outages -= 1
    if not mesh.outages:
        mesh.server.start()


@contextmanager
def _driver_crash(mesh: "SimulatedMesh") -> Iterator[None]:
    mesh.kill(DRIVER)
    for application in mesh.applications:
        application.orphaned()
    yield


@contextmanager
def _cancel(mesh: "SimulatedMesh") -> Iterator[None]:
    mesh.applications[0].give_up()
    yield


OF_TWO_PEERS: Final[dict[str, Callable[..., AbstractContextManager[None]]]] = {
    "connection": _connection,  # breaks; one end or both are told
    "partition": _partition,  # nothing passes between the two
}
OF_A_PEER: Final[dict[str, Callable[..., AbstractContextManager[None]]]] = {
    "crash": _crash,  # kill -9
    "restart": _restart,  # kill -9, and started again
    "drain": _drain,  # SIGTERM: its nodes are moved away, it ends, and is started again
    "pause": _pause,  # SIGSTOP, and SIGCONT
    "stuck": _stuck,  # its nodes never answer again, though it beats
    "slow peer": _slow_peer,  # computes and sends so much slower
}
OF_ALL: Final[dict[str, Callable[..., AbstractContextManager[None]]]] = {
    "slow sink": _slow_sink,  # the application takes its results slowly
    "signaling": _signaling,  # the server is killed, and comes back without a memory
    "driver crash": _driver_crash,  # its runs end with it
    "cancel": _cancel,  # the application ends the run
}
FAULTS: Final = OF_TWO_PEERS | OF_A_PEER | OF_ALL
WEIGHTS: Final = {"drain": 1.5, "driver crash": 0.4, "cancel": 0.4}  # how often, where that is not 1
