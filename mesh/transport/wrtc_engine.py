"""The native engine: Chrome's libwebrtc through the package wrtc. It trickles candidates.

Its native module ``webrtc`` is used, not its imitation of aiortc, which hides states, trickle and statistics.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import webrtc

from mesh.errors import LinkError
from mesh.limits import LANE_HIGH_WATER_BYTES
from mesh.transport.ice import path_between
from mesh.transport.link import Connection, ConnectionEvents, IceServer, Lane, Path

_CONNECTED = webrtc.RTCPeerConnectionState.connected
_OPEN = webrtc.RTCDataChannelState.open


class WrtcConnection(Connection):
    engine = "wrtc"

    def __init__(self, events: ConnectionEvents, ice_servers: Sequence[IceServer]) -> None:
        self._events = events
        self._open = False  # both channels have been open: then a state of "failed" is not the end, it may come back
        servers = [
            webrtc.RTCIceServer(server["urls"], server.get("username"), server.get("credential"))
            for server in ice_servers
        ]
        self._pc = webrtc.RTCPeerConnection(webrtc.RTCConfiguration(ice_servers=servers))
        self._pc.on("icecandidate", self._candidate_found)
        self._pc.on("iceconnectionstatechange", self._state_changed)
        self._pc.on("connectionstatechange", self._state_changed)
        self._channels = {lane: self._make_channel(lane) for lane in Lane}

    def _make_channel(self, lane: Lane) -> webrtc.RTCDataChannel:
        init = webrtc.RTCDataChannelInit(negotiated=True, id=int(lane))
        channel = self._pc.create_data_channel(lane.name.lower(), init)
        channel.buffered_amount_low_threshold = LANE_HIGH_WATER_BYTES // 2
        channel.on("open", self._channel_opened)
        channel.on("message", lambda event: self._message_came(lane, event))
        channel.on("bufferedamountlow", lambda _event: self._events.writable(lane))
        channel.on("close", lambda _event: self._events.closed("the channel was closed"))
        return channel

    def _message_came(self, lane: Lane, event: webrtc.MessageEvent) -> None:
        if isinstance(event.data, bytes | str):
            self._events.frame(lane, event.data)

    def _channel_opened(self, _event: webrtc.Event) -> None:
        if all(channel.ready_state == _OPEN for channel in self._channels.values()):
            self._open = True
            self._events.opened()

    def _candidate_found(self, event: webrtc.RTCPeerConnectionIceEvent) -> None:
        if event.candidate is not None:
            self._events.candidate(event.candidate.to_json())

    def _state_changed(self, _event: webrtc.Event) -> None:
        if self._pc.ice_connection_state.value in ("connected", "completed"):
            self.step = "channel" if self._pc.connection_state == _CONNECTED else "dtls"
        state = self._pc.connection_state.value
        if state == "closed" or (state == "failed" and not self._open):
            self._events.closed(f"the connection is {state}")

    async def create_offer(self) -> str:
        await _unless_closed(self._pc.set_local_description())
        return self._local_sdp()

    async def accept_offer(self, sdp: str) -> str:
        await _unless_closed(self._pc.set_remote_description(webrtc.RTCSessionDescriptionInit("offer", sdp)))
        await _unless_closed(self._pc.set_local_description())
        return self._local_sdp()

    def _local_sdp(self) -> str:
        description = self._pc.local_description
        if description is None:
            raise LinkError("signaling", "the connection was closed")
        return str(description.sdp)

    async def accept_answer(self, sdp: str) -> None:
        await _unless_closed(self._pc.set_remote_description(webrtc.RTCSessionDescriptionInit("answer", sdp)))

    async def add_candidate(self, candidate: Mapping[str, Any]) -> None:
        await _unless_closed(self._pc.add_ice_candidate(webrtc.RTCIceCandidateInit.from_json(dict(candidate))))

    def send(self, lane: Lane, frame: bytes) -> None:
        try:
            self._channels[lane].send(frame)
        except webrtc.RTCException as error:
            raise LinkError("channel", f"the {lane.name.lower()} channel cannot send: {error}") from None

    def buffered(self, lane: Lane) -> int:
        return int(self._channels[lane].buffered_amount)

    async def path(self) -> Path:
        report = await self._pc.get_stats()
        for transport in report.values():
            if isinstance(transport, webrtc.RTCTransportStats):
                pair = report.get(transport.selected_candidate_pair_id or "")
                if isinstance(pair, webrtc.RTCIceCandidatePairStats):
                    return _path(report.get(pair.local_candidate_id), report.get(pair.remote_candidate_id))
        return "unknown"

    async def close(self) -> None:
        self._pc.close()


def _path(local: webrtc.RTCStats | None, remote: webrtc.RTCStats | None) -> Path:
    if not isinstance(local, webrtc.RTCIceCandidateStats) or not isinstance(remote, webrtc.RTCIceCandidateStats):
        return "unknown"
    return path_between(
        webrtc.RTCIceCandidateType(local.candidate_type).value,
        webrtc.RTCIceCandidateType(remote.candidate_type).value,
        remote_host=remote.address,
        relay_transport=local.relay_protocol,
    )


async def _unless_closed(operation: Coroutine[Any, Any, None]) -> None:
    """The native module cancels what is under way when its connection is closed; that must not cancel the caller."""
    task = asyncio.ensure_future(operation)
    try:
        await asyncio.wait((task,))
    finally:
        task.cancel()
    if task.cancelled():
        raise LinkError("link", "the connection was closed")
    task.result()
