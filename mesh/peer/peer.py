"""A peer: a process in a room, or alone, with its runtimes and the runs that it drives or hosts."""

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Coroutine, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from mesh.errors import Fault, ItemError, LinkError, ManifestError, NoPlanError, ProtocolError, Refusal, SignalingError
from mesh.ids import PeerId, PeerName
from mesh.manifest.graph import Graph, from_json
from mesh.nodes import Registry
from mesh.nodes.spec import NodeSpec
from mesh.partitioner import answer_plan
from mesh.peer.announce import Machine, announcement, offered_types
from mesh.peer.driving.items import Items, Manifest
from mesh.peer.driving.run import Run
from mesh.peer.host import Runtimes
from mesh.peer.hosting import Hosting
from mesh.peer.site import RunKey, Site
from mesh.protocol import messages
from mesh.run.driver import OnError
from mesh.run.events import Frame, GiveCredit
from mesh.runtimes.python import PythonRuntime
from mesh.runtimes.wasm import WasmRuntime

if TYPE_CHECKING:  # a peer alone needs no WebRTC engine, and starts without loading one
    from mesh.peer.network import Network
    from mesh.transport.link import IceServer, Link
    from mesh.transport.negotiation import Engine

ALONE: Final = PeerId("0" * 16)  # the id of a peer without a room
MODULES: Final = Path(__file__).parent.parent / "_assets" / "nodes"
_IDLE: Final[dict[str, Any]] = {"runtimes": [], "types": []}  # what a peer that serves nobody adds to its announcement


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be run, and where (docs/wire.md, 5)."""

    name: str
    graph: Graph
    plan: dict[str, Any]


class Peer:
    """``async with Peer.join(invite) as peer: async for result in peer.run(pipeline, items): …``"""

    def __init__(
        self,
        *,
        invite: str | None,
        name: PeerName | None = None,
        nodes: Sequence[str] = (),
        allow: Sequence[str] | None = None,
        machine: Machine | None = None,
        serve: bool = False,
        engine: "str | Engine" = "auto",
        ice_servers: "Sequence[IceServer]" = (),
        log: Callable[[str], None] = lambda _: None,
        runtimes: Runtimes | None = None,
    ) -> None:
        """As ``join``; ``runtimes`` take the place of Python's and WebAssembly's, and of ``nodes``."""
        self.id = ALONE
        self.name = name or default_name()
        self.room = ""
        self.serves = serve
        self.log = log
        self.runtimes: Runtimes = _runtimes(nodes, allow) if runtimes is None else runtimes
        self.types: dict[str, NodeSpec] = offered_types(self.runtimes, allow)
        self._announcement = announcement(self.runtimes, self.types, machine or Machine())
        self._hosting = Hosting(self)
        self._runs: dict[RunKey, Run] = {}
        self._costs: dict[str, dict[str, float]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._network: Network | None = None
        if invite is not None:
            from mesh.peer import network

            self._network = network.Network(
                invite,
                name=self.name,
                announce=self._announcement if serve else {**self._announcement, **_IDLE},
                receiver=self,
                engine=engine,
                ice_servers=ice_servers,
                load=_load,
                log=log,
            )

    @classmethod
    def join(
        cls,
        invite: str,
        *,
        name: PeerName | None = None,
        nodes: Sequence[str] = (),
        allow: Sequence[str] | None = None,
        machine: Machine | None = None,
        serve: bool = False,
        engine: str = "auto",
        ice_servers: "Sequence[IceServer]" = (),
        log: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """A peer that enters the room of ``invite`` (a URL) when it is entered itself.

        ``nodes``: files or modules with node types; ``allow`` narrows what is offered; with ``serve`` it runs nodes for
        others too (its grant must have ``work``); ``engine`` is ``auto``, ``aiortc`` or ``wrtc``. Raises ValueFault for
        an invite that is none, NodeSourceError for nodes that do not load, and on entering SignalingError.
        """
        return cls(
            invite=invite,
            name=name,
            nodes=nodes,
            allow=allow,
            machine=machine,
            serve=serve,
            engine=engine,
            ice_servers=ice_servers,
            log=log,
        )

    @classmethod
    def alone(cls, *, nodes: Sequence[str] = ()) -> Self:
        """A mesh of one: it runs everything in this process and its children."""
        return cls(invite=None, nodes=nodes)

    async def __aenter__(self) -> Self:
        if self._network is not None:
            await self._network.open()
            self.id, self.room = self._network.signaling.peer, self._network.signaling.room
            self.name = self._network.signaling.name
            if self.serves and "work" not in self._network.signaling.can:
                await self._network.close()
                raise SignalingError("not-allowed", "this invite does not let a peer work; ask for one that does")
        if self.serves:
            for runtime in self.runtimes.values():
                runtime.warm()  # the first run should not wait for it
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(run.cancel() for run in tuple(self._runs.values())))
        await self._hosting.close()
        if self._network is not None:
            await self._network.close()
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(runtime.close() for runtime in self.runtimes.values()))

    async def wait_closed(self) -> None:
        """Waits until the room is closed to this peer for good; raises SignalingError, which says why."""
        assert self._network is not None
        await self._network.signaling.wait_closed()

    async def drain(self) -> None:
        """Is offered to no plan any more, and waits until what runs here for others has ended or been moved away."""
        if self._network is not None:
            self._network.signaling.announce({**self._announcement, **_IDLE})
        await self._hosting.leave(f"{self.name} drains")

    def cut_links(self) -> None:
        """Ends every connection of this peer, to see that nothing is lost by it: the links make new ones at once."""
        if self._network is not None:
            self._network.cut_links()

    def run(
        self,
        pipeline: Manifest | Path,
        items: Items,
        *,
        on_error: OnError = "stop",
        pins: Mapping[str, str] | None = None,
        on_failure: Callable[[ItemError], None] | None = None,
    ) -> Run:
        """Runs a pipeline (a manifest's text, its map, or the path of its file) over items, which are values.

        Iterate the Run for its results. It raises ManifestError, NoPlanError, ItemError (with ``on_error="stop"``) and
        RunError. With ``continue``, ``on_failure`` is told each item error. ``pins`` maps node ids to peer names.
        """
        manifest = pipeline.read_text(encoding="utf-8") if isinstance(pipeline, Path) else pipeline
        run = Run(self, manifest, items, on_error=on_error, pins=pins, on_failure=on_failure)
        self._runs[run.key] = run
        return run

    async def plan(
        self,
        manifest: Manifest,
        *,
        pins: Mapping[str, str] | None = None,
        without: Collection[PeerId] = (),
        apart: Collection[frozenset[PeerId]] = (),
    ) -> Planned:
        """Where each node would run now, and why; ``without``: peers that are left out; ``apart``: pairs of peers that
        cannot exchange results.

        Raises ManifestError with every fault, NoPlanError, or SignalingError.
        """
        if self._network is not None:
            answer = await self._network.plan(
                manifest, pins=pins or {}, without=without, apart=apart, announce=self._announcement
            )
        else:
            me = {
                "peer": self.id,
                "name": "driver",
                "can": ["submit"],
                "load": 0.0,
                "hidden": False,
                **self._announcement,
            }
            answer = answer_plan({"manifest": manifest, "pins": dict(pins or {})}, records=[], driver=me)
        if "faults" in answer:
            raise ManifestError([Fault(str(each["path"]), str(each["message"])) for each in answer["faults"]])
        if "refused" in answer:
            refusals = [
                Refusal(each["node"], each["peer"], tuple(each["lacks"])) for each in answer["refused"]["refusals"]
            ]
            raise NoPlanError(answer["refused"]["message"], refusals)
        return Planned(str(answer["name"]), from_json(answer["graph"]), answer["plan"])

    # What runs and hosted fragments need

    async def link_to(self, peer: PeerId) -> None:
        """Makes the link to a peer where there is none; raises LinkError."""
        if self._network is None:
            raise LinkError("signaling", "this peer is in no room")
        await self._network.link(peer)

    def call(self, peers: Collection[PeerId]) -> None:
        """Tries for a link to each, without waiting; where one comes of it, every run hears so."""
        for peer in peers:
            self.background(self._try_link(peer))

    def hears(self, peer: PeerId) -> bool:
        """Whether there is a link to a peer that is not silent."""
        return self._network is not None and self._network.hears(peer)

    def probe(self, peer: PeerId) -> None:
        """Doubts the link to a peer: it is suspected unless it is heard soon."""
        if self._network is not None:
            self._network.probe(peer)

    async def _try_link(self, peer: PeerId) -> None:
        with suppress(LinkError):
            await self.link_to(peer)

    def post(self, to: PeerId, message: messages.Message) -> None:
        """Sends a message, in order, without waiting."""
        if self._network is not None:
            self._network.post(to, message)

    def post_frame(self, site: Site, to: PeerId, frame: Frame) -> None:
        """Sends a frame of a run."""
        key = site.key
        self.post(
            to,
            messages.Part(
                key.driver, key.run, site.epoch, frame.edge, frame.seq, frame.part, frame.flags, frame.payload
            ),
        )

    def post_credit(self, site: Site, to: PeerId, credit: GiveCredit) -> None:
        """Sends credit of a run."""
        driver, run = site.key.driver, site.key.run
        self.post(to, messages.Credit(driver, run, site.epoch, credit.edge, credit.seq, credit.bytes))

    def name_of(self, peer: PeerId) -> str:
        """What people call a peer."""
        if peer == self.id or self._network is None:
            return self.name
        return self._network.name_of(peer)

    def offers(self) -> Mapping[PeerId, Hashable]:
        """What matters of every peer of the room to where nodes should run, in a form that can be compared."""
        return self._network.offers() if self._network is not None else {}

    def report(self, summary: Mapping[str, Any]) -> None:
        """Tells the dashboard how a run of this peer goes."""
        if self._network is not None and "submit" in self._network.signaling.can:
            self._network.signaling.report(summary)

    def learn(self, costs: Mapping[str, Mapping[str, float]]) -> None:
        """Tells the planner what calls took here: node type → runtime → ms."""
        for node_type, times in costs.items():
            self._costs.setdefault(node_type, {}).update(times)
        if self._network is not None and costs:
            self._network.signaling.costs(self._costs)

    def run_ended(self, run: Run) -> None:
        self._runs.pop(run.key, None)

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that the peer ends with itself at the latest."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    # What the network tells (network.Receiver)

    def received(self, link: "Link", message: messages.RunMessage) -> None:
        key = RunKey(message.driver, message.run)
        match message:
            case messages.Part():
                site = self._site(key, message.epoch)
                if site is not None:
                    site.receive_frame(
                        link.peer, Frame(message.edge, message.seq, message.part, message.flags, message.payload)
                    )
            case messages.Start():
                self._hosting.start(link, message)
            case messages.Stop() if link.peer == key.driver:
                self._hosting.stop(key)
            case messages.Stats() if link.peer == key.driver:
                self._hosting.stats(link, message)
            case messages.Prepare() if link.peer == key.driver:
                self._hosting.prepare(link, message)
            case messages.Cut() if link.peer == key.driver:
                self._hosting.cut(link, message)
            case messages.Cancel() if link.peer == key.driver:
                self._hosting.cancel(link, message)
            case messages.State() if link.peer == key.driver:
                self._hosting.state(link, message)
            case messages.Credit() if key not in self._runs:
                site = self._site(key, message.epoch)
                if site is not None:
                    site.receive_credit(link.peer, GiveCredit(message.edge, message.seq, message.amount))
            case _ if key in self._runs:
                self._runs[key].receive(link.peer, message)
            case messages.Stop() | messages.Stats() | messages.Prepare() | messages.Cut() | messages.Cancel():
                raise ProtocolError("bad-message", "only its driver moves or ends a run, or asks after it")

    def _site(self, key: RunKey, epoch: int) -> Site | None:
        run = self._runs.get(key)
        return run.site(epoch) if run is not None else self._hosting.site(key, epoch)

    def suspected(self, peer: PeerId, reason: str, *, died: bool) -> None:
        for run in self._runs.values():
            run.absence.suspected(peer, reason, died=died)
        self._hosting.suspected(peer)

    def linked(self, peer: PeerId) -> None:
        for run in self._runs.values():
            run.absence.linked(peer)
        self._hosting.linked(peer)

    def lost(self, peer: PeerId, reason: str, *, died: bool) -> None:
        for run in self._runs.values():
            run.lost(peer, reason, died=died)
        self._hosting.lost(peer)

    def joined(self, peer: PeerId) -> None:
        for run in self._runs.values():
            run.absence.joined(peer)

    def room_changed(self) -> None:
        for run in self._runs.values():
            run.moves.room_changed()


def _runtimes(nodes: Sequence[str], allow: Sequence[str] | None) -> Runtimes:
    """Python's and WebAssembly's, with what is built in, installed and named in ``nodes``."""
    registry = Registry(allow=allow)
    registry.load_entry_points()
    modules = [source for source in nodes if source.endswith(".wasm")]
    sources = [source for source in nodes if source not in modules]
    for source in sources:
        registry.load(source)
    wasm = WasmRuntime(sorted(MODULES.glob("*.wasm")))
    for source in modules:
        wasm.load(source)
    return {"python": PythonRuntime(registry, sources), "wasm": wasm}


def default_name() -> PeerName:
    """The host's name and the process id, as far as a peer name takes them."""
    host = "".join(each if each.isalnum() or each in "._-" else "-" for each in socket.gethostname())[:40]
    return PeerName(f"{host or 'peer'}-{os.getpid()}")


def _load() -> float:
    """The share of this machine's processors that is busy (0 … 1), as the last minute saw it."""
    if not hasattr(os, "getloadavg"):
        return 0.0
    return min(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
