"""The hub: every client, room and rule of signaling (docs/wire.md, 6). Sans-IO: events come in with ``now`` (seconds
since 1970), and what is to be sent or closed goes out through ``Socket``.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from mesh.errors import ProtocolError, ValueFault
from mesh.ids import PeerId, PeerName, peer_id, peer_name
from mesh.limits import (
    LOAD_STEP,
    MAX_PLANS_IN_FLIGHT,
    MAX_RELAY_BYTES,
    MAX_ROOMS,
    MAX_SIGNALING_BYTES,
    SIGNALING_SILENCE_S,
    SWEEP_INTERVAL_S,
)
from mesh.protocol.grants import Grant, owns, verify, verify_join
from mesh.protocol.signaling import POLICY_VIOLATION, VERSION
from signaling_server import messages
from signaling_server.client import Client, SharedOffer, Socket
from signaling_server.messages import Announcement, Offer, Refused, Types, read
from signaling_server.planner import PlanRequest
from signaling_server.room import Room
from signaling_server.turn import Turn

MAX_REASON_BYTES: Final = 123  # RFC 6455, 5.5
FATAL: Final = frozenset(("bad-message", "bad-version"))
STALLED_S: Final = 4 * SWEEP_INTERVAL_S  # a sweep as late as this: we were away, or the clock was set, not the clients

encode = msgspec.json.encode


class Hub:
    """``owners`` maps the rooms that this server itself vouches for (``demo``) to their owner's public key; every other
    room certifies itself by its id. With ``only``, no other rooms are served. ``denied`` are ids of grants. Every
    client gets ``ice_servers`` and, with ``turn``, credentials of its own for a TURN server.
    """

    def __init__(
        self,
        *,
        random: Callable[[int], bytes],
        owners: Mapping[str, bytes] | None = None,
        only: frozenset[str] | None = None,
        denied: frozenset[str] = frozenset(),
        ice_servers: Sequence[Mapping[str, Any]] = (),
        turn: Turn | None = None,
    ) -> None:
        self._random = random
        self._owners = owners or {}
        self._only = only
        self._denied = denied
        self._ice_servers, self._turn = list(ice_servers), turn
        self.clients: set[Client] = set()
        self.rooms: dict[str, Room] = {}
        self.counters: Counter[str] = Counter()
        self._types: WeakValueDictionary[str, Types] = WeakValueDictionary()
        self._offers: WeakValueDictionary[bytes, SharedOffer] = WeakValueDictionary()
        self._busy: set[Room] = set()  # rooms with something to tell, or with somebody who watches
        self._swept: float | None = None

    # Events

    def connect(self, socket: Socket, now: float) -> Client:
        """A socket opened: greets it with the challenge that its ``join`` must sign."""
        client = Client(socket, self._random(32).hex(), now)
        self.clients.add(client)
        client.post(encode({"type": "challenge", "version": VERSION, "nonce": client.nonce}))
        return client

    def receive(self, client: Client, data: str | bytes, now: float) -> PlanRequest | None:
        """A message came. Answers a plan that somebody has to compute, where one was asked."""
        if client not in self.clients:  # kicked, and not yet closed
            return None
        client.seen = now
        self.counters["received_bytes"] += len(data)
        message = None
        try:
            message = read(data)
            return self._handle(client, message, now)
        except Refused as refused:
            about = message.id if isinstance(message, messages.Plan) else None
            self._error(client, refused.code, str(refused), about=about)
            if client.room is None or refused.code in FATAL:
                self._kick(client, refused.code, str(refused), now)
        return None

    def disconnect(self, client: Client, now: float) -> None:
        """The socket closed; the peer has left at once."""
        self._remove(client, "closed", "left", now)

    def planned(self, request: PlanRequest, answer: Mapping[str, Any] | None) -> None:
        """A plan that ``receive`` asked for is made; None: the planner failed."""
        client = request.client
        client.plans -= 1
        if client not in self.clients:
            return
        if answer is None:
            self._error(client, "plan-failed", "the planner failed; the server's log says why", about=request.id)
            return
        data = encode({"type": "plan", "id": request.id, **answer})
        if len(data) > MAX_SIGNALING_BYTES:
            text = f"the plan takes {len(data)} bytes, and a message at most {MAX_SIGNALING_BYTES}"
            self._error(client, "too-large", text, about=request.id)
        else:
            self._post(client, data)

    def tick(self, now: float) -> None:
        """To be called every PRESENCE_INTERVAL_S: tells the rooms what changed, and drops who is silent."""
        if self._swept is None or not 0 <= now - self._swept < STALLED_S:
            for client in self.clients:
                client.seen = now
            self._swept = now
        elif now - self._swept >= SWEEP_INTERVAL_S:
            self._swept = now
            for client in [each for each in self.clients if now - each.seen > SIGNALING_SILENCE_S]:
                self._kick(client, "silent", f"nothing heard for {SIGNALING_SILENCE_S:.0f} s", now)
        busy, self._busy = self._busy, set()
        for room in busy:
            self._tell(room, now)
            if room.watchers:
                self._busy.add(room)
            elif not room.clients and self.rooms.get(room.id) is room:
                del self.rooms[room.id]

    def health(self) -> dict[str, Any]:
        """What ``/healthz`` answers."""
        counted = {name: self.counters[name] for name in ("received_bytes", "slow")}
        return {"status": "ok", "rooms": len(self.rooms), "clients": len(self.clients), **counted}

    # What each message does

    def _handle(self, client: Client, message: messages.Message, now: float) -> PlanRequest | None:
        room = client.room
        if room is None:
            if not isinstance(message, messages.Join):
                raise Refused("not-joined", "the first message of a client is its join")
            self._join(client, message, now)
            return None
        match message:
            case messages.Join():
                raise Refused("bad-message", "this connection has joined already")
            case messages.Heartbeat():
                self._heartbeat(client, room, message)
            case messages.Relay():
                self._relay(client, room, message)
            case messages.Announce():
                _need_peer(client)
                room.offer(client, self._shared(message.announce))
                self._busy.add(room)
            case messages.Plan():
                return self._plan(client, room, message)
            case messages.Report():
                _need(client, "submit")
                room.report(client, message.run, now)
                self._busy.add(room)
            case messages.Costs():
                _need_peer(client)
                client.costs = message.nodes
            case messages.Watch():
                _need(client, "watch")
                self._post(client, room.watch(client, now))
                self._busy.add(room)
            case messages.Ice():
                self._post(client, encode({"type": "ice", "ice_servers": self._ice_for(client, now)}))
        return None

    def _join(self, client: Client, join: messages.Join, now: float) -> None:
        grant = self._check_join(client, join, now)
        client.id, client.name, client.can = peer_id(bytes.fromhex(join.key)), _name(join.name), grant.can
        room = self._room(join.room, now)
        before = None
        if join.announce is not None:
            before, namesake = room.peers.get(client.id), room.names.get(client.name)
            if namesake is not None and namesake is not before:
                raise Refused("name-taken", f"the room has a peer {client.name!r} already; choose another name")
        room.admit(client, self._shared(join.announce) if join.announce else None)
        client.room = self.rooms[room.id] = room
        self._busy.add(room)
        joined = {"type": "joined", "peer": client.id, "name": client.name, "room": room.id, "can": sorted(client.can)}
        head = encode({**joined, "ice_servers": self._ice_for(client, now)})
        client.post(head[:-1] + b"," + room.registry() + b"}")
        if before is not None:
            room.happened(now, "took-over", f"{client.name} came back", client)
            self._kick(before, "taken-over", "the same peer has joined from another connection", now)
        elif join.announce is not None:
            room.happened(now, "joined", f"{client.name} joined", client)

    def _ice_for(self, client: Client, now: float) -> list[Mapping[str, Any]]:
        """What a client gets each time it asks, which it does for each connection."""
        return [*self._ice_servers, *([] if self._turn is None else [self._turn.ice_server(client.id, now)])]

    def _check_join(self, client: Client, join: messages.Join, now: float) -> Grant:
        if join.version != VERSION:
            raise Refused("bad-version", f"this server speaks version {VERSION}, the client {join.version}")
        try:
            grant = verify(join.grant, owner_key=self._owner(join), room=join.room, now=now)
        except ProtocolError as error:
            raise Refused("bad-grant", error.message) from None
        if grant.id in self._denied:
            raise Refused("denied", f"the grant {grant.id} has been withdrawn")
        needed = ("watch",) if join.announce is None else ("submit", "work")
        if not grant.can.intersection(needed):
            raise Refused("not-allowed", f"the grant allows {_list(grant.can)}; to join so needs {' or '.join(needed)}")
        if not verify_join(bytes.fromhex(join.key), join.room, client.nonce, join.signature):
            raise Refused("bad-signature", "the signature does not fit the key and this connection's nonce")
        return grant

    def _owner(self, join: messages.Join) -> bytes:
        """The public key that the room's grants must be signed with."""
        key = bytes.fromhex(join.owner)
        known = self._owners.get(join.room)
        if known is not None and known != key:
            raise Refused("bad-grant", f"room {join.room} has new keys: open its present invite")
        if known is None and not owns(key, join.room):
            raise Refused(
                "bad-grant", f"this server has no room {join.room!r}, and its id is not made from the owner's key"
            )
        if known is None and self._only is not None and join.room not in self._only:
            raise Refused("denied", f"this server does not serve room {join.room!r}; its operator adds it with --room")
        return key

    def _room(self, room_id: str, now: float) -> Room:
        room = self.rooms.get(room_id)
        if room is None and len(self.rooms) >= MAX_ROOMS:
            raise Refused("room-full", "this server has no place for another room")
        return room or Room(room_id, now)

    def _heartbeat(self, client: Client, room: Room, beat: messages.Heartbeat) -> None:
        client.links = tuple(beat.links)
        if abs(beat.load - client.load) >= LOAD_STEP or beat.hidden != client.hidden:
            client.load, client.hidden = beat.load, beat.hidden
            if client.offer is not None:
                room.touch(client)
                self._busy.add(room)

    def _relay(self, client: Client, room: Room, relay: messages.Relay) -> None:
        _need_peer(client)
        data = encode(relay.data)
        if len(data) > MAX_RELAY_BYTES:
            raise Refused("too-large", f"a relayed message has at most {MAX_RELAY_BYTES} bytes")
        target = room.peers.get(PeerId(relay.to))
        if target is None:
            raise Refused("unknown-peer", f"there is no peer {relay.to} in the room")
        self._post(target, b'{"type":"relay","from":"' + client.id.encode() + b'","data":' + data + b"}")

    def _plan(self, client: Client, room: Room, plan: messages.Plan) -> PlanRequest:
        _need(client, "submit")
        if client.plans >= MAX_PLANS_IN_FLIGHT:
            raise Refused("busy", f"{client.plans} plans are being made for this peer; wait for one of them")
        own = self._shared(plan.announce) if plan.announce is not None else client.offer
        text = plan.text()
        client.plans += 1
        records = [(each.record(), each.offer.types) for each in room.peers.values() if each.offer]
        driver = (client.head() + own.json[1:], own.types) if own is not None else (client.head()[:-1] + b"}", None)
        asked = (client, plan.id, text, plan.pins, plan.without, plan.apart)
        return PlanRequest(*asked, driver, records, room.links(), room.costs())

    # Announcements are shared by content: thousands of peers of the same make offer the same things

    def _shared(self, announce: Announcement) -> SharedOffer:
        raw = bytes(announce.types)
        digest = messages.digest(raw)
        types = self._types.get(digest) or self._types.setdefault(digest, Types(raw))
        fields = {name: getattr(announce, name) for name in Offer.__struct_fields__ if name != "types"}
        offer = SharedOffer(Offer(**fields, types=digest), types)
        return self._offers.setdefault(offer.json, offer)

    # Sending

    def _tell(self, room: Room, now: float) -> None:
        presence = room.presence()
        if presence is not None:
            for client in list(room.clients):
                self._post(client, presence)
        for delta in room.deltas(now):
            for client in list(room.watchers):
                self._post(client, delta)

    def _post(self, client: Client, data: bytes) -> None:
        if not client.post(data):
            self.counters["slow"] += 1
            client.outbox.clear()
            self._kick(client, "slow", "this client does not read what it is sent", client.seen)

    def _error(self, client: Client, code: str, text: str, *, about: int | None = None) -> None:
        error = {"type": "error", "code": code, "message": text}
        self._post(client, encode(error if about is None else {**error, "id": about}))

    def _kick(self, client: Client, code: str, text: str, now: float) -> None:
        if client not in self.clients:
            return
        self._remove(client, code, "lost", now)
        client.socket.kick(POLICY_VIOLATION, f"{code}: {text}".encode()[:MAX_REASON_BYTES].decode(errors="ignore"))

    def _remove(self, client: Client, reason: str, kind: str, now: float) -> None:
        self.clients.discard(client)
        room, client.room = client.room, None
        if room is not None:
            self._busy.add(room)
            if room.dismiss(client, reason):
                room.lost(now, kind, reason, client)


def _name(text: str) -> PeerName:
    try:
        return peer_name(text)
    except ValueFault as fault:
        raise Refused("bad-message", str(fault)) from None


def _need(client: Client, right: str) -> None:
    if right not in client.can:
        raise Refused("not-allowed", f"the grant of {client.name} allows {_list(client.can)}, not {right}")


def _need_peer(client: Client) -> None:
    if client.offer is None:
        raise Refused("not-allowed", f"{client.name} joined to watch; only peers may do this")


def _list(rights: Iterable[str]) -> str:
    return ", ".join(sorted(rights))
