"""Plans without the signaling server: whom they are made of, and what a peer answers that is asked for one."""

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from test_neighbours_relaying import GRANT, End

from mesh.ids import PeerId
from mesh.limits import MAX_PLANS_IN_FLIGHT, MAX_SIGNALING_BYTES
from mesh.nodes.spec import NodeSpec, Param
from mesh.peer.neighbours import planning
from mesh.peer.neighbours.planning import PlanningService, plan_alone
from mesh.protocol.messages import Plan, Planned

HALF = NodeSpec("Half", params={"by": Param("number", required=False, default=2.0)}, runtimes=("python",))
TYPES = [HALF.to_json()]
PIPELINE = {"version": "v1", "nodes": [{"id": "n", "node_type": "Half"}]}
ON_BEA = {**PIPELINE, "nodes": [{"id": "n", "node_type": "Half", "placement": {"peer": "bea"}}]}
DRIVER = {"peer": "drv", "name": "drv", "can": ["submit"]}
TAB = PeerId("tab")


def record(name: str, **more: Any) -> dict[str, Any]:
    return {"peer": f"id-{name}", "name": name, "can": ["work"], "types": TYPES, "runtimes": ["python"], **more}


def place(answer: dict[str, Any]) -> str:
    return str(answer["plan"]["steps"][0]["nodes"]["n"]["on"][0]["peer"])


def request(**more: Any) -> dict[str, Any]:
    return {
        "manifest": json.dumps(PIPELINE),
        "announce": {"kind": "browser", "runtimes": [], "types": []},
        "peers": [record("ada", types="d")],
        "catalog": {"d": TYPES},
        "linked": [],
        **more,
    }


def test_who_has_a_link_is_preferred_and_the_others_serve_where_nobody_else_fits() -> None:
    records = [record("ada", load=0.0), record("bea", load=0.9)]
    asked = {"manifest": PIPELINE}
    assert place(plan_alone(asked, records=records, linked=[], driver=DRIVER)) == "id-ada"
    assert place(plan_alone(asked, records=records, linked=[PeerId("id-bea")], driver=DRIVER)) == "id-bea"
    on_bea = {"manifest": ON_BEA}
    assert place(plan_alone(on_bea, records=records, linked=[PeerId("id-ada")], driver=DRIVER)) == "id-bea"
    refused = plan_alone({**asked, "without": ["id-ada"]}, records=records[:1], linked=[], driver=DRIVER)
    assert "faults" in refused or "refused" in refused


class Asking:
    """A peer that plans, and what it answered."""

    def __init__(self, *known: Any) -> None:
        self.answers: list[tuple[PeerId, int, dict[str, Any]]] = []
        self._service = PlanningService(catalog=lambda: dict(known), post=self._post)

    def _post(self, to: PeerId, planned: Planned) -> None:
        self.answers.append((to, planned.id, json.loads(planned.answer)))

    async def ask(self, asked: object, *, number: int = 1, can: str = "submit") -> dict[str, Any]:
        link = End(TAB, replace(GRANT, can=frozenset((can,))))
        data = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
        await self._service.answer(link, Plan(number, data))
        to, _, answer = self.answers[-1]
        assert to == TAB
        return answer


async def test_a_tab_gets_what_the_server_would_answer() -> None:
    answer = await Asking().ask(request())
    assert answer.keys() == {"graph", "plan", "name"}
    assert place(answer) == "id-ada"


async def test_node_types_that_are_known_here_are_taken_as_they_were_announced() -> None:
    """A tab cannot tell 2.0 from 2; the graph must not change with the planner."""
    from_javascript = json.loads(json.dumps(TYPES).replace("2.0", "2"))
    told = await Asking().ask(request(catalog={"d": from_javascript}))
    known = await Asking(("d", TYPES)).ask(request(catalog={"d": from_javascript}))
    whole = plan_alone({"manifest": PIPELINE}, records=[record("ada")], linked=[], driver=DRIVER)
    assert known["graph"] == whole["graph"] != told["graph"]


@pytest.mark.parametrize(
    "asked",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        request(peers=[{}]),
        request(peers=[record("ada", types="unknown")]),
        request(peers=[record("ada", types="d", slots="many")]),
        request(catalog={"d": [{"node_type": 7}]}),
        request(more=1),
        request(announce={"types": 1}),
    ],
    ids=str,
)
async def test_a_request_that_makes_no_sense_gets_an_error(asked: object) -> None:
    assert (await Asking().ask(asked)).keys() == {"error"}


async def test_only_who_may_submit_is_answered() -> None:
    assert "submit" in (await Asking().ask(request(), can="work"))["error"]


async def test_faults_and_refusals_are_answers() -> None:
    assert (await Asking().ask(request(manifest="{}"))).keys() == {"faults"}
    assert (await Asking().ask(request(pins={"n": "cy"}))).keys() == {"refused"}


async def test_a_plan_too_large_for_a_message_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "plan_alone", lambda *_, **__: {"plan": "x" * MAX_SIGNALING_BYTES})
    assert "too large" in (await Asking().ask(request()))["error"]


async def test_plans_in_flight_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()

    def slow(*_: object, **__: object) -> dict[str, Any]:
        may_go_on.wait(10)
        return {"name": "slow"}

    monkeypatch.setattr(planning, "plan_alone", slow)
    asking = Asking()
    waiting = [asyncio.create_task(asking.ask(request(), number=at)) for at in range(MAX_PLANS_IN_FLIGHT)]
    await asyncio.sleep(0)
    assert "wait for one" in (await asking.ask(request(), number=99))["error"]
    may_go_on.set()
    await asyncio.gather(*waiting)
    assert [answer for _, number, answer in asking.answers if number != 99] == [{"name": "slow"}] * MAX_PLANS_IN_FLIGHT
