"""Fragments that this peer runs for other drivers. Only the driver of a run is obeyed, over its proven link."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mesh import limits
from mesh.errors import LinkError, MeshError, ProtocolError, RunError
from mesh.ids import PeerId, RunId
from mesh.manifest.graph import Graph, from_value
from mesh.peer.host import summaries
from mesh.peer.site import RunKey, Site
from mesh.protocol import messages
from mesh.run.events import Checkpoint, Frame, GiveCredit, HandOver, ReportError
from mesh.run.placement import Placement, Seat
from mesh.run.retention import Resumption

if TYPE_CHECKING:
    from mesh.peer.peer import Peer
    from mesh.transport.link import Link


class Hosting:
    """START makes a site, or a newer one; STOP and the loss of the driver end it."""

    def __init__(self, peer: "Peer") -> None:
        self._peer = peer
        self._sites: dict[RunKey, Site] = {}
        self._names: dict[RunKey, dict[PeerId, str]] = {}
        self._starting: dict[RunKey, asyncio.Task[None]] = {}
        self._epochs: dict[RunKey, int] = {}
        self._preparing: dict[RunKey, asyncio.Task[None]] = {}
        self._freed = asyncio.Event()  # of a run
        self._leaving = ""  # why all should go elsewhere
        self._moves: dict[RunKey, int] = {}  # the number of the last one that was made

    def site(self, key: RunKey, epoch: int) -> Site | None:
        """The site of a run, unless the frame is of another epoch or the run is gone: both are ignored."""
        site = self._sites.get(key)
        return site if site is not None and site.epoch == epoch else None

    def start(self, link: "Link", message: messages.Start) -> None:
        """Answers READY when every node is set up and the neighbours are linked, else REFUSED with the reason."""
        key = RunKey(link.peer, RunId(message.run))
        if message.driver != link.peer:
            raise ProtocolError("bad-message", "only the driver itself starts its run")
        if message.epoch <= self._epochs.get(key, 0):
            late = f"epoch {message.epoch} of run {key.run} is over"
            self._peer.post(link.peer, messages.Refused(key.driver, key.run, message.epoch, late))
            return
        before, names = self._sites.get(key), self._names.get(key, {})
        self.stop(key)
        self._epochs[key] = message.epoch
        self._names[key] = names
        self._starting[key] = self._peer.background(self._start(link, key, message, before))

    async def _start(self, link: "Link", key: RunKey, message: messages.Start, before: Site | None) -> None:
        try:
            site = self._make_site(link, key, message, before)
            self._sites[key] = site
            names = message.body.get("names", {})
            self._names[key] |= {PeerId(str(peer)): str(name) for peer, name in names.items()}
            neighbours = site.placement.neighbours(self._peer.id)
            _, *linked = await asyncio.gather(site.host.setup(), *(self._reaches(site, each) for each in neighbours))
        except MeshError as error:
            self._peer.post(link.peer, messages.Refused(key.driver, key.run, message.epoch, str(error)))
            self.stop(key)
            return
        self._starting.pop(key, None)
        if all(linked):  # if not, the driver plans anew
            self._peer.post(link.peer, messages.Ready(key.driver, key.run, message.epoch))
            if self._leaving:  # planned before that was known
                self._ask_to_leave(site)
            self._peer.log(f"run {key.run} of {link.name}: runs {', '.join(site.placement.nodes(self._peer.id))}")
            self._peer.background(self._tell_progress(site))

    async def _reaches(self, site: Site, neighbour: PeerId) -> bool:
        """Links to a neighbour; where that fails, the driver is told."""
        try:
            await self._peer.link_to(neighbour)
        except LinkError as error:
            self._peer.log(f"run {site.key.run}: {error}")
            self._unreachable(site, neighbour)
            return False
        if not self._peer.hears(neighbour):
            self._tell_silence(site.key, neighbour, silent=True)
        return True

    async def _tell_progress(self, site: Site) -> None:
        """As long as the site lives: without it the driver would have to wait for a node that does not get on."""
        driver, run = site.key.driver, site.key.run
        while self._sites.get(site.key) is site:
            body = {str(node): told for node, told in site.host.progress().items()}
            self._peer.post(driver, messages.Progress(driver, run, site.epoch, body))
            await asyncio.sleep(limits.HEARTBEAT_S)

    def _make_site(self, link: "Link", key: RunKey, message: messages.Start, before: Site | None) -> Site:
        if "submit" not in link.grant.can:
            raise ProtocolError("bad-grant", f"{link.name}'s grant does not let it submit runs")
        if len(self._sites) >= limits.MAX_RUNS:
            raise ProtocolError("too-large", f"{self._peer.name} has {limits.MAX_RUNS} runs already")
        graph = from_value(message.body.get("graph"))
        placement = Placement.from_plan(graph, key.driver, message.body.get("plan"))
        self._check_types(graph, placement.seats(self._peer.id))
        return Site(
            key,
            message.epoch,
            graph,
            placement,
            me=self._peer.id,
            runtimes=self._peer.runtimes,
            outside=_ToDriver(self._peer, self),
            resumption=Resumption(*messages.read_resumption(message.body)),
            before=before,
        )

    def _check_types(self, graph: Graph, seats: Iterable[Seat]) -> None:
        nodes = {node.id: node for node in graph.nodes}
        for seat in seats:
            if not self._peer.serves:
                raise ProtocolError("bad-message", f"{self._peer.name} runs nodes for itself only")
            node = nodes[seat.node]
            spec = self._peer.types.get(node.node_type)
            if spec is None or seat.runtime not in spec.runtimes:
                raise ProtocolError(
                    "bad-message", f"{self._peer.name} does not offer {node.node_type} in {seat.runtime}"
                )
            if (spec.arity, spec.join, spec.stateful, spec.finishes) != (
                node.arity,
                node.join,
                node.stateful,
                node.finishes,
            ):
                raise ProtocolError("bad-message", f"{self._peer.name} has another {node.node_type} than the driver")

    # A planned move

    def prepare(self, link: "Link", message: messages.Prepare) -> None:
        """Answers STEP when every node is set up and the new neighbours are linked, or with what stands against it."""
        site = self.site(RunKey(link.peer, message.run), message.epoch)
        if site is not None:
            self._call_off(site)
            self._preparing[site.key] = self._peer.background(self._prepare(site, message))

    async def _prepare(self, site: Site, message: messages.Prepare) -> None:
        move, nodes, names = (message.body.get(name) for name in ("move", "nodes", "names"))
        fault = ""
        try:
            if isinstance(names, dict):
                self._names[site.key] |= {PeerId(str(peer)): str(name) for peer, name in names.items()}
            coming = site.propose(nodes)
            if coming and self._leaving:
                raise RunError(self._leaving)
            self._check_types(site.graph, coming)
            await site.host.prepare(coming)
            step = {"steps": [{"from_seq": 0, "nodes": nodes}]}
            neighbours = Placement.from_plan(site.graph, site.key.driver, step).neighbours(self._peer.id)
            await asyncio.gather(*(self._peer.link_to(each) for each in neighbours))
        except MeshError as error:
            fault = f"{self._peer.name}: {error}"
        self._step(site, move, "prepared", fault)

    def _call_off(self, site: Site) -> None:
        self._stop_preparing(site.key)
        site.call_off()

    def _stop_preparing(self, key: RunKey) -> None:
        preparing = self._preparing.pop(key, None)
        if preparing is not None:
            preparing.cancel()

    def cut(self, link: "Link", message: messages.Cut) -> None:
        """The step that was prepared begins, or does not."""
        site = self.site(RunKey(link.peer, message.run), message.epoch)
        move, since = messages.read_cut(message.body)
        if site is None:
            return
        if since is None:
            self._call_off(site)
            return
        self._moves[site.key] = move
        site.cut(since)
        self._step(site, move, "cut")

    def state(self, link: "Link", message: messages.State) -> None:
        """A stateful node goes on here."""
        site = self.site(RunKey(link.peer, message.run), message.epoch)
        node, state, _ = messages.read_state(message.body)
        if site is not None and state is not None:
            site.take_state(node, state)

    def through(self, site: Site) -> None:
        """All below the last cut is consumed here."""
        self._step(site, self._moves[site.key], "through")

    def _step(self, site: Site, move: object, stage: str, fault: str = "") -> None:
        body = {"move": move, "stage": stage, "fault": fault[: limits.MAX_CAUSE_CHARS]}
        self._peer.post(site.key.driver, messages.Step(site.key.driver, site.key.run, site.epoch, body))

    async def leave(self, reason: str) -> None:
        """Asks the drivers to move away what runs here, or comes here yet, and waits until nothing does."""
        self._leaving = reason
        for site in self._sites.values():
            self._ask_to_leave(site)
        while self._epochs:
            self._freed.clear()
            await self._freed.wait()

    def _ask_to_leave(self, site: Site) -> None:
        driver, run = site.key.driver, site.key.run
        self._peer.post(driver, messages.Leaving(driver, run, site.epoch, self._leaving))

    # The end

    def cancel(self, link: "Link", message: messages.Cancel) -> None:
        """Nobody wants a seq of the run any more."""
        site = self.site(RunKey(link.peer, RunId(message.run)), message.epoch)
        if site is not None:
            site.host.cancel(message.seq)

    def stats(self, link: "Link", message: messages.Stats) -> None:
        site = self._sites.get(RunKey(link.peer, RunId(message.run)))
        if site is not None:
            links = site.link_bytes(self._names[site.key])
            body = {"since": site.since, "nodes": summaries(site.host.times), "links": links}
            self._peer.post(link.peer, messages.StatsReply(site.key.driver, site.key.run, body))

    def stop(self, key: RunKey) -> None:
        """Frees everything of a run; nothing happens where there is none."""
        starting = self._starting.pop(key, None)
        if starting is not None and starting is not asyncio.current_task():
            starting.cancel()
        self._epochs.pop(key, None)
        self._names.pop(key, None)
        self._moves.pop(key, None)
        self._stop_preparing(key)
        self._freed.set()
        site = self._sites.pop(key, None)
        if site is not None:
            self._peer.background(self._close(site))

    async def _close(self, site: Site) -> None:
        await site.close()
        self._peer.learn(site.host.costs())

    def lost(self, peer: PeerId) -> None:
        """A link is gone: its runs end here, and runs that need it are told to their drivers."""
        for key, site in tuple(self._sites.items()):
            if key.driver == peer:
                self.stop(key)
            elif peer in site.placement.neighbours(self._peer.id):
                self._unreachable(site, peer)

    def suspected(self, peer: PeerId) -> None:
        """Nothing is heard of a peer: runs that need it are told to their drivers."""
        for key, site in self._sites.items():
            if peer in site.placement.neighbours(self._peer.id):
                self._tell_silence(key, peer, silent=True)

    def linked(self, peer: PeerId) -> None:
        """A peer is heard, perhaps again. A run that does not need it now may have done so in an earlier epoch."""
        for key, names in self._names.items():
            if peer in names and peer != key.driver:
                self._tell_silence(key, peer, silent=False)

    def _tell_silence(self, key: RunKey, neighbour: PeerId, *, silent: bool) -> None:
        epoch = self._epochs[key]
        self._peer.post(key.driver, messages.Silence(key.driver, key.run, epoch, neighbour, silent))

    def _unreachable(self, site: Site, neighbour: PeerId) -> None:
        driver, run = site.key.driver, site.key.run
        self._peer.post(driver, messages.Unreachable(driver, run, site.epoch, neighbour))

    async def close(self) -> None:
        for task in tuple(self._starting.values()):
            task.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await asyncio.gather(*(site.close() for site in self._sites.values()))


class _ToDriver:
    """What a hosted site sends: results to its neighbours, everything else to the driver."""

    def __init__(self, peer: "Peer", hosting: Hosting) -> None:
        self._peer, self._hosting = peer, hosting

    def send_frame(self, site: Site, to: PeerId, frame: Frame) -> None:
        self._peer.post_frame(site, to, frame)

    def send_credit(self, site: Site, to: PeerId, credit: GiveCredit) -> None:
        self._peer.post_credit(site, to, credit)

    def item_failed(self, site: Site, error: ReportError) -> None:
        body = {
            "seq": error.seq,
            "node": error.node,
            "kind": error.kind,
            "cause": error.cause[: limits.MAX_CAUSE_CHARS],
        }
        self._peer.post(site.key.driver, messages.Error(site.key.driver, site.key.run, site.epoch, body))

    def state_saved(self, site: Site, saved: Checkpoint) -> None:
        body = {"node": saved.node, "seq": saved.seq, "state": saved.state, "fault": saved.fault}
        self._peer.post(site.key.driver, messages.Checkpoint(site.key.driver, site.key.run, site.epoch, body))

    def handed_over(self, site: Site, state: HandOver) -> None:
        body = {"node": state.node, "state": state.state, "fault": state.fault}
        self._peer.post(site.key.driver, messages.State(site.key.driver, site.key.run, site.epoch, body))

    def through(self, site: Site) -> None:
        self._hosting.through(site)

    def run_failed(self, site: Site, reason: str) -> None:
        self._peer.post(
            site.key.driver, messages.Failed(site.key.driver, site.key.run, site.epoch, f"{self._peer.name}: {reason}")
        )
