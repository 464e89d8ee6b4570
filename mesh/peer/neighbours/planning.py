"""Plans without the signaling server: any Python peer can make one, for itself and for a tab that asks (PLAN)."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from mesh.ids import PeerId
from mesh.limits import MAX_PLANS_IN_FLIGHT, MAX_SIGNALING_BYTES
from mesh.partitioner import answer_plan
from mesh.protocol.messages import Plan, Planned
from mesh.protocol.signaling import Record
from mesh.transport.link import Link

_log = logging.getLogger(__name__)


def plan_alone(
    request: Mapping[str, Any],
    *,
    records: Sequence[Record],
    linked: Collection[PeerId],
    driver: Mapping[str, Any],
) -> dict[str, Any]:
    """Answers as the server does (``answer_plan``), from the last registry that the driver has.

    Whom the driver has a link to is known to live; others are thought of only where no plan fits without them.
    """
    near = [record for record in records if record["peer"] in linked]
    answer = answer_plan(request, records=near, driver=driver)
    return answer if "plan" in answer else answer_plan(request, records=records, driver=driver)


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a PLAN asks: a ``plan`` message of docs/wire.md, 6, and the registry as the driver knows it."""

    manifest: str
    announce: dict[str, Any]
    peers: list[dict[str, Any]]
    catalog: dict[str, list[dict[str, Any]]]
    linked: list[str]
    pins: dict[str, str] = {}
    without: list[str] = []
    apart: list[tuple[str, str]] = []

    def records(self, known: Mapping[str, Any]) -> list[Record]:
        """The registry whole. Node types that are ``known`` here by their digest are as they were announced: JavaScript
        makes an int of 2.0.
        """
        catalog = {**self.catalog, **known}
        return [{**record, "types": catalog[record["types"]]} for record in self.peers]


_ASKED: Final = msgspec.json.Decoder(Asked)


class PlanningService:
    """Plans for others, in threads; ``catalog`` is the room's as this peer knows it, ``post`` sends the answers."""

    def __init__(self, *, catalog: Callable[[], Mapping[str, Any]], post: Callable[[PeerId, Planned], None]) -> None:
        self._catalog, self._post = catalog, post
        self._in_flight: Counter[PeerId] = Counter()

    async def answer(self, link: Link, asked: Plan) -> None:
        """PLANNED: what the server would answer, or ``{error}``."""
        driver = {"peer": link.peer, "name": link.name, "can": sorted(link.grant.can)}
        if "submit" not in link.grant.can:
            answer = _error(f"the grant of {link.name} does not let it submit runs")
        elif self._in_flight[link.peer] >= MAX_PLANS_IN_FLIGHT:
            answer = _error(f"{MAX_PLANS_IN_FLIGHT} plans are being made for this peer; wait for one of them")
        else:
            self._in_flight[link.peer] += 1
            try:
                answer = await asyncio.to_thread(_answer, asked.request, driver, self._catalog())
            finally:
                self._in_flight[link.peer] -= 1
        self._post(link.peer, Planned(asked.id, answer))


def _answer(request: bytes, driver: Mapping[str, Any], catalog: Mapping[str, Any]) -> bytes:
    try:
        asked = _ASKED.decode(request)
        wanted = {name: getattr(asked, name) for name in ("manifest", "pins", "without", "apart", "announce")}
        answer = plan_alone(
            wanted, records=asked.records(catalog), linked=list(map(PeerId, asked.linked)), driver=driver
        )
        data = json.dumps(answer, allow_nan=False).encode()
    except Exception as error:  # records that make no sense may break the planner anywhere
        _log.info("a plan that %s asked for could not be made: %r", driver["name"], error)
        return _error("the request makes no sense")
    return data if len(data) <= MAX_SIGNALING_BYTES else _error("the plan is too large for one message")


def _error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()
