"""The engine that is always there: aiortc, WebRTC in Python. It sends whole descriptions, without trickling."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from mesh.errors import LinkError
from mesh.limits import CLOSE_TIMEOUT_S, LANE_HIGH_WATER_BYTES
from mesh.transport.ice import path_between
from mesh.transport.link import Connection, ConnectionEvents, IceServer, Lane, Path

_log = logging.getLogger(__name__)
_CANDIDATE: Final = "a=candidate:"


class AiortcConnection(Connection):
    engine = "aiortc"

    def __init__(self, events: ConnectionEvents, ice_servers: Sequence[IceServer]) -> None:
        self._events = events
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Future[None] | None = None
        # always a list: without one aiortc asks a public server
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[_ice_server(server) for server in ice_servers]))
        self._pc.on("iceconnectionstatechange", self._state_changed)
        self._pc.on("connectionstatechange", self._state_changed)
        self._channels = {lane: self._make_channel(lane) for lane in Lane}

    def _make_channel(self, lane: Lane) -> RTCDataChannel:
        channel = self._pc.createDataChannel(lane.name.lower(), negotiated=True, id=int(lane))
        channel.bufferedAmountLowThreshold = LANE_HIGH_WATER_BYTES // 2
        channel.on("open", self._channel_opened)
        channel.on("message", lambda frame: self._events.frame(lane, frame))
        channel.on("bufferedamountlow", lambda: self._events.writable(lane))
        channel.on("close", lambda: self._events.closed("the channel was closed"))
        return channel

    def _channel_opened(self) -> None:
        if all(channel.readyState == "open" for channel in self._channels.values()):
            self._events.opened()

    def _state_changed(self) -> None:
        if self._pc.iceConnectionState in ("connected", "completed"):
            self.step = "channel" if self._pc.connectionState == "connected" else "dtls"
        if self._pc.connectionState in ("failed", "closed"):
            self._events.closed(f"the connection is {self._pc.connectionState}")

    async def create_offer(self) -> str:
        await self._pc.setLocalDescription(await self._pc.createOffer())
        return str(self._pc.localDescription.sdp)

    async def accept_offer(self, sdp: str) -> str:
        await self._accept(sdp, "offer")
        await self._pc.setLocalDescription(await self._pc.createAnswer())
        return str(self._pc.localDescription.sdp)

    async def accept_answer(self, sdp: str) -> None:
        await self._accept(sdp, "answer")

    async def _accept(self, sdp: str, kind: str) -> None:
        """Resolving the mDNS name of a candidate can take a second of silence, so those are added in the background."""
        lines = sdp.splitlines()
        local = [line for line in lines if _is_mdns(line)]
        rest = "".join(f"{line}\r\n" for line in lines if line not in local)
        await self._pc.setRemoteDescription(RTCSessionDescription(rest, kind))
        for line in local:
            await self.add_candidate({"candidate": line.removeprefix("a="), "sdpMLineIndex": 0})

    async def add_candidate(self, candidate: Mapping[str, Any]) -> None:
        line = str(candidate["candidate"]).removeprefix("candidate:")
        if line:
            parsed = candidate_from_sdp(line)
            parsed.sdpMid, parsed.sdpMLineIndex = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
            task = asyncio.create_task(self._pc.addIceCandidate(parsed))
            self._tasks.add(task)
            task.add_done_callback(self._added)

    def _added(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("an ICE candidate was of no use: %s", error)

    def send(self, lane: Lane, frame: bytes) -> None:
        channel = self._channels[lane]
        if channel.readyState != "open":
            raise LinkError("channel", f"the {lane.name.lower()} channel is {channel.readyState}")
        channel.send(frame)

    def buffered(self, lane: Lane) -> int:
        return int(self._channels[lane].bufferedAmount)

    async def path(self) -> Path:
        sctp = self._pc.sctp
        # aioice has no public name for the pair of candidates in use
        ice = None if sctp is None else sctp.transport.transport._connection
        pair = None if ice is None else ice._nominated.get(1)
        if ice is None or pair is None:
            return "unknown"
        local, remote = pair.local_candidate, pair.remote_candidate
        return path_between(local.type, remote.type, remote_host=remote.host, relay_transport=ice.turn_transport)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        # a TURN server that is out of reach is told good-bye for half a minute, which nobody waits for
        self._closing = asyncio.ensure_future(self._pc.close())
        await asyncio.wait((self._closing,), timeout=CLOSE_TIMEOUT_S)


def _ice_server(server: IceServer) -> RTCIceServer:
    return RTCIceServer(urls=server["urls"], username=server.get("username"), credential=server.get("credential"))


def _is_mdns(line: str) -> bool:
    fields = line.split()
    return line.startswith(_CANDIDATE) and len(fields) > 4 and fields[4].endswith(".local")
