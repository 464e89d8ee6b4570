"""A room: its registry, what there is to tell of it, and what dashboards see. Sans-IO."""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from mesh.ids import PeerId, PeerName
from mesh.limits import (
    LINKS_INTERVAL_S,
    MAX_EVENT_HISTORY,
    MAX_LINKS_SHOWN,
    MAX_PEERS_PER_ROOM,
    MAX_REGISTRY_BYTES,
    MAX_RUN_HISTORY,
    MAX_RUN_HISTORY_BYTES,
)
from mesh.nodes.spec import RuntimeName
from signaling_server.client import Client, SharedOffer
from signaling_server.messages import Refused, RunReport, Types

HEAD_BYTES: Final = 256  # more than any record has besides its offer
ENDED: Final = frozenset(("done", "failed", "cancelled"))

encode = msgspec.json.encode


class Room:
    """The clients of one room. Changes are gathered here and told by ``presence`` and ``deltas``."""

    def __init__(self, room_id: str, now: float) -> None:
        self.id = room_id
        self.since = now
        self.clients: set[Client] = set()
        self.peers: dict[PeerId, Client] = {}  # in the order in which they came
        self.names: dict[PeerName, Client] = {}
        self.watchers: set[Client] = set()
        self._types: Counter[Types] = Counter()
        self._told: set[Types] = set()  # lists of node types that everybody here has seen
        self._bytes = 0
        self._arrived: set[PeerId] = set()
        self._changed: set[PeerId] = set()
        self._gone: list[dict[str, str]] = []
        self._history = History()
        self._links_due = now

    def admit(self, client: Client, offer: SharedOffer | None) -> None:
        """Takes the client in, in place of one with the same id; raises Refused("room-full")."""
        if len(self.clients) >= MAX_PEERS_PER_ROOM:
            raise Refused("room-full", f"the room has {MAX_PEERS_PER_ROOM} clients already")
        if offer is not None:
            self.offer(client, offer)
            if client.id not in self.peers:
                self._arrived.add(client.id)
            self.peers[client.id] = self.names[client.name] = client
        self.clients.add(client)

    def offer(self, client: Client, offer: SharedOffer) -> None:
        """Puts what a peer announces into the registry, in place of what it announced before."""
        added = len(offer.json) + HEAD_BYTES + (0 if offer.types in self._types else len(offer.types.json))
        if self._bytes + added > MAX_REGISTRY_BYTES:
            raise Refused("room-full", "the room's registry is full: its peers announce too much")
        self._forget_offer(client)
        self._bytes += added
        self._types[offer.types] += 1
        client.offer = offer
        self.touch(client)

    def _forget_offer(self, client: Client) -> None:
        if client.offer is None:
            return
        types = client.offer.types
        self._bytes -= len(client.offer.json) + HEAD_BYTES
        self._types[types] -= 1
        if not self._types[types]:
            del self._types[types]
            self._told.discard(types)
            self._bytes -= len(types.json)
        client.offer = None

    def touch(self, client: Client) -> None:
        """The peer's record has changed."""
        client.changed()
        self._changed.add(client.id)

    def dismiss(self, client: Client, reason: str) -> bool:
        """The client is no longer here. Answers whether the room has lost a peer: not if its place was taken over."""
        self.clients.discard(client)
        self.watchers.discard(client)
        self._forget_offer(client)
        if self.names.get(client.name) is client:
            del self.names[client.name]
        if self.peers.get(client.id) is client:
            del self.peers[client.id]
            self._arrived.discard(client.id)
            self._changed.discard(client.id)
            self._gone.append({"peer": client.id, "name": client.name, "reason": reason})
            return True
        return False

    def registry(self) -> bytes:
        """``"peers": [record…], "catalog": {digest: [spec…]}``, without braces, for one who has just come."""
        return _listing(b"peers", self.peers.values()) + b"," + _catalog(self._types)

    def presence(self) -> bytes | None:
        """What changed since the last call, for everybody; None if nothing did. ``left`` comes before ``joined``."""
        if not (self._arrived or self._changed or self._gone):
            return None
        joined = [self.peers[peer] for peer in self._arrived]
        updated = [self.peers[peer] for peer in self._changed - self._arrived]
        fresh = {client.offer.types for client in (*joined, *updated) if client.offer} - self._told
        parts = (
            b'"left":' + encode(self._gone),
            _listing(b"joined", joined),
            _listing(b"updated", updated),
            _catalog(fresh),
        )
        self._told |= fresh
        self._arrived, self._changed, self._gone = set(), set(), []
        return b'{"type":"presence",' + b",".join(parts) + b"}"

    def watch(self, client: Client, now: float) -> bytes:
        """Subscribes to the deltas; the whole state first."""
        self.watchers.add(client)
        state = {"room": self.id, "since_s": round(now - self.since, 1), "links": self._shown_links()}
        return encode({"type": "state", **state, **self._history.all()})

    def happened(self, now: float, kind: str, text: str, client: Client) -> None:
        """Puts a line into the room's events."""
        self._history.event({"t": round(now, 3), "kind": kind, "text": text, "peer": client.id})

    def lost(self, now: float, kind: str, reason: str, client: Client) -> None:
        """A peer is gone, and the runs that it drove with it."""
        self.happened(now, kind, f"{client.name} left ({reason})", client)
        for run in self._history.abandon(client.id, "its driver is gone"):
            self.happened(now, "run-ended", f"{run['name']} of {client.name}: {run['state']}: {run['reason']}", client)

    def report(self, client: Client, run: RunReport, now: float) -> None:
        """A driver tells how its run stands."""
        before = self._history.report((client.id, run.id), run, client.name, now)
        if before is None:
            self.happened(now, "run-started", f"{client.name} started {run.name}", client)
        if run.state in ENDED and before != run.state:
            reason = f": {run.reason}" if run.reason else ""
            self.happened(now, "run-ended", f"{run.name} of {client.name}: {run.state}{reason}", client)

    def deltas(self, now: float) -> Iterable[bytes]:
        """What dashboards have not heard yet; links at most every LINKS_INTERVAL_S."""
        for kind, entries in self._history.fresh().items():
            if entries and self.watchers:
                yield encode({"type": kind, kind: entries})
        if self.watchers and now >= self._links_due:
            self._links_due = now + LINKS_INTERVAL_S
            yield encode({"type": "links", "links": self._shown_links()})

    def links(self) -> dict[tuple[PeerId, PeerId], dict[str, Any]]:
        """Every link between two peers that are here, by their ids in order, as the later reporter sees it."""
        links: dict[tuple[PeerId, PeerId], dict[str, Any]] = {}
        for client in self.peers.values():
            for link in client.links:
                other = PeerId(link.peer)
                if other in self.peers and other != client.id:
                    a, b = min(client.id, other), max(client.id, other)
                    links[a, b] = {
                        "rtt_ms": link.rtt_ms,
                        "bytes_per_s": link.bytes_per_s,
                        "path": link.path,
                        "engine": link.engine,
                    }
        return links

    def costs(self) -> dict[str, dict[tuple[PeerId, RuntimeName], float]]:
        """What the peers have measured: node type → (peer, runtime) → ms of one call."""
        costs: dict[str, dict[tuple[PeerId, RuntimeName], float]] = {}
        for client in self.peers.values():
            for node_type, times in client.costs.items():
                for runtime, ms in times.items():
                    costs.setdefault(node_type, {})[client.id, runtime] = ms
        return costs

    def _shown_links(self) -> list[dict[str, Any]]:
        return [{"a": a, "b": b, **link} for (a, b), link in list(self.links().items())[:MAX_LINKS_SHOWN]]


class History:
    """The latest runs and events of a room, within bounds."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENT_HISTORY)
        self._runs: dict[tuple[PeerId, str], dict[str, Any]] = {}
        self._sizes: dict[tuple[PeerId, str], int] = {}
        self._fresh_events: list[dict[str, Any]] = []
        self._fresh_runs: set[tuple[PeerId, str]] = set()

    def event(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        self._fresh_events.append(event)

    def report(self, key: tuple[PeerId, str], run: RunReport, driver: str, now: float) -> str | None:
        """Keeps the run's newest report; answers the state it had before, None for a new run."""
        known = self._runs.pop(key, None)
        entry = {**msgspec.to_builtins(run), "driver": driver, "started": known["started"] if known else round(now, 3)}
        self._runs[key] = entry  # the dict is in the order of the reports, so the one heard of least goes first
        self._sizes[key] = len(encode(entry))
        self._fresh_runs.add(key)
        while len(self._runs) > MAX_RUN_HISTORY or sum(self._sizes.values()) > MAX_RUN_HISTORY_BYTES:
            oldest = next(iter(self._runs))
            del self._runs[oldest], self._sizes[oldest]
            self._fresh_runs.discard(oldest)
        return known["state"] if known else None

    def abandon(self, driver: PeerId, reason: str) -> list[dict[str, Any]]:
        """Every run of ``driver`` that had not ended has failed; answers them."""
        keys = [key for key, run in self._runs.items() if key[0] == driver and run["state"] not in ENDED]
        for key in keys:
            self._runs[key] |= {"state": "failed", "reason": reason}
        self._fresh_runs.update(keys)
        return [self._runs[key] for key in keys]

    def all(self) -> dict[str, list[dict[str, Any]]]:
        return {"runs": list(self._runs.values()), "events": list(self._events)}

    def fresh(self) -> dict[str, list[dict[str, Any]]]:
        """What came since the last call."""
        fresh = {"runs": [self._runs[key] for key in self._fresh_runs], "events": self._fresh_events}
        self._fresh_runs, self._fresh_events = set(), []
        return fresh


def _listing(name: bytes, clients: Iterable[Client]) -> bytes:
    return b'"' + name + b'":[' + b",".join(client.record() for client in clients) + b"]"


def _catalog(types: Iterable[Types]) -> bytes:
    return b'"catalog":{' + b",".join(b'"' + each.digest.encode() + b'":' + each.json for each in types) + b"}"
