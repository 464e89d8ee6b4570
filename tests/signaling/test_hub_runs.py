"""Plans, and what dashboards see (docs/wire.md, 6)."""

import json
from typing import Any, Final

import pytest
from signaling_world import STUDIO, Caller, World, announcement

from mesh.limits import MAX_EVENT_HISTORY, MAX_PLANS_IN_FLIGHT, MAX_RUN_HISTORY
from signaling_server.planner import PlanRequest

MANIFEST: Final[dict[str, Any]] = {
    "version": "v1",
    "metadata": {"name": "x"},
    "nodes": [{"id": "n", "node_type": "AddNode"}],
    "connections": [],
}
RUN: Final[dict[str, Any]] = {"id": "r1", "name": "calculator", "state": "running", "placement": {"n": ["bea"]}}


def ask(caller: Caller, number: int, **more: Any) -> PlanRequest:
    request = caller.say({"type": "plan", "id": number, "manifest": json.dumps(MANIFEST), **more})
    assert request is not None, caller.end.said[-1]
    return request


class TestPlans:
    def test_a_plan_goes_to_the_planner_and_back(self) -> None:
        world = World()
        ada = world.peer("ada", can=["submit"], announce={**announcement(), "types": []})
        bea = world.peer("bea", announce=announcement("AddNode"))
        request = ask(ada, 7)
        world.hub.planned(request, request.answer())
        plan = ada.end.last("plan")
        assert (plan["id"], plan["name"]) == (7, "x")
        assert plan["plan"]["steps"][0]["nodes"]["n"]["on"] == [{"peer": bea.id, "runtime": "python"}]

    def test_a_manifest_may_be_an_object(self) -> None:
        request = World().peer("ada").say({"type": "plan", "id": 1, "manifest": MANIFEST})
        assert request is not None
        assert json.loads(request.manifest) == MANIFEST

    @pytest.mark.parametrize("manifest", [None, 1, [], True])
    def test_a_manifest_of_another_form(self, manifest: object) -> None:
        ada = World().peer("ada")
        assert ada.say({"type": "plan", "id": 1, "manifest": manifest}) is None
        assert ada.end.last("error")["id"] == 1

    def test_what_the_driver_offers_itself(self) -> None:
        world = World()
        ada = world.peer("ada", announce={**announcement(), "types": []})
        assert "plan" in ask(ada, 1, announce=announcement("AddNode")).answer()
        assert "faults" in ask(ada, 2).answer()

    def test_a_peer_without_work_serves_nobody_else(self) -> None:
        world = World()
        ada = world.peer("ada", announce={**announcement(), "types": []})
        world.peer("bea", can=["submit"], announce=announcement("AddNode"))
        assert "refused" in ask(ada, 1).answer()

    @pytest.mark.parametrize(("can", "watches"), [(["work"], False), (["watch"], True)])
    def test_planning_needs_submit(self, can: list[str], watches: bool) -> None:
        ada = World().peer("ada", can=can, watches=watches)
        assert ada.say({"type": "plan", "id": 3, "manifest": MANIFEST}) is None
        error = ada.end.last("error")
        assert (error["code"], error["id"]) == ("not-allowed", 3)

    def test_a_few_at_a_time(self) -> None:
        world = World()
        ada = world.peer("ada")
        requests = [ask(ada, number) for number in range(MAX_PLANS_IN_FLIGHT)]
        assert ada.say({"type": "plan", "id": 99, "manifest": MANIFEST}) is None
        assert ada.end.last("error")["code"] == "busy"
        world.hub.planned(requests[0], {"faults": []})
        ask(ada, 100)

    def test_a_planner_that_failed(self) -> None:
        world = World()
        ada = world.peer("ada")
        world.hub.planned(ask(ada, 3), None)
        assert (ada.end.last("error")["code"], ada.end.last("error")["id"]) == ("plan-failed", 3)

    def test_an_answer_for_one_who_left(self) -> None:
        world = World()
        ada = world.peer("ada")
        request = ask(ada, 3)
        ada.hang_up()
        world.hub.planned(request, {"faults": []})
        assert not ada.end.all("plan")

    def test_an_answer_that_is_too_large(self) -> None:
        world = World()
        ada = world.peer("ada")
        world.hub.planned(ask(ada, 3), {"plan": {"why": "x" * 3_000_000}})
        assert ada.end.last("error")["code"] == "too-large"

    def test_measured_costs_and_links_reach_the_planner(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        bea.say({"type": "costs", "nodes": {"AddNode": {"python": 1.5}}})
        bea.say({"type": "heartbeat", "links": [{"peer": ada.id, "rtt_ms": 2.0}, {"peer": "nobody"}]})
        request = ask(ada, 1)
        assert request.costs == {"AddNode": {(bea.id, "python"): 1.5}}
        assert [link["rtt_ms"] for link in request.links.values()] == [2.0]


class TestWatching:
    def test_the_whole_state_first(self) -> None:
        world = World()
        ada = world.peer("ada")
        ada.say({"type": "report", "run": RUN})
        world.pass_time(2)
        eve = world.peer("eve", can=["watch"], watches=True)
        eve.say({"type": "watch"})
        state = eve.end.last("state")
        assert state["room"] == STUDIO.room
        assert state["since_s"] == 2
        assert [(run["id"], run["driver"], run["started"]) for run in state["runs"]] == [("r1", "ada", world.now - 2)]
        assert [event["kind"] for event in state["events"]] == ["joined", "run-started"]

    def test_what_changes_follows(self) -> None:
        world = World()
        ada, eve = world.peer("ada"), world.peer("eve", can=["watch"], watches=True)
        eve.say({"type": "watch"})
        world.pass_time(0.1)
        ada.say({"type": "report", "run": RUN})
        ada.say({"type": "report", "run": {**RUN, "state": "failed", "reason": "bea is gone"}})
        world.pass_time(0.1)
        assert [run["state"] for run in eve.end.last("runs")["runs"]] == ["failed"]
        assert [event["text"] for event in eve.end.last("events")["events"]] == [
            "ada started calculator",
            "calculator of ada: failed: bea is gone",
        ]

    def test_links_once_a_second(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        eve = world.peer("eve", can=["watch"], watches=True)
        eve.say({"type": "watch"})
        for _ in range(6):
            ada.say({"type": "heartbeat", "links": [{"peer": bea.id, "rtt_ms": 3.0, "path": "direct"}]})
            bea.say({"type": "heartbeat"})
            eve.say({"type": "heartbeat"})
            world.pass_time(0.5)
        told = eve.end.all("links")
        assert 2 <= len(told) <= 4
        a, b = sorted((ada.id, bea.id))
        link = {"a": a, "b": b, "rtt_ms": 3.0, "bytes_per_s": 0.0, "path": "direct", "engine": ""}
        assert told[-1]["links"] == [link]

    def test_a_lost_peer_takes_its_links_along(self) -> None:
        world = World()
        ada, bea = world.peer("ada"), world.peer("bea")
        ada.say({"type": "heartbeat", "links": [{"peer": bea.id}]})
        bea.hang_up()
        ada.say({"type": "watch"})
        assert ada.end.last("state")["links"] == []

    @pytest.mark.parametrize("message", [{"type": "watch"}, {"type": "report", "run": RUN}])
    def test_rights(self, message: dict[str, Any]) -> None:
        ada = World().peer("ada", can=["work"])
        ada.say(message)
        assert ada.end.last("error")["code"] == "not-allowed"

    def test_histories_are_bounded(self) -> None:
        world = World()
        ada = world.peer("ada")
        for number in range(MAX_EVENT_HISTORY + MAX_RUN_HISTORY):
            ada.say({"type": "report", "run": {**RUN, "id": f"r{number}", "reason": "x" * 4000}})
        ada.say({"type": "watch"})
        state = ada.end.last("state")
        assert len(state["events"]) == MAX_EVENT_HISTORY
        assert len(state["runs"]) == MAX_RUN_HISTORY
        assert state["runs"][-1]["id"] == f"r{number}"
        wide = {str(node): ["x" * 60] * 10 for node in range(900)}
        for name in ("a", "b"):
            ada.say({"type": "report", "run": {**RUN, "id": name, "placement": wide}})
        ada.say({"type": "watch"})
        assert [run["id"] for run in ada.end.last("state")["runs"]] == ["b"]

    def test_lost_and_left_are_told_apart(self) -> None:
        world = World()
        eve = world.peer("eve")
        eve.say({"type": "watch"})
        world.peer("ada").hang_up()
        world.peer("bea")
        for _ in range(10):
            eve.say({"type": "heartbeat"})
            world.pass_time(0.5)
        events = [(event["kind"], event["text"]) for told in eve.end.all("events") for event in told["events"]]
        assert ("left", "ada left (closed)") in events
        assert ("lost", "bea left (silent)") in events

    def test_a_run_ends_with_its_driver(self) -> None:
        world = World()
        ada, eve = world.peer("ada"), world.peer("eve")
        ada.say({"type": "report", "run": RUN})
        ada.say({"type": "report", "run": {**RUN, "id": "r0", "state": "done"}})
        eve.say({"type": "watch"})
        ada.hang_up()
        world.pass_time(0.1)
        (run,) = (run for run in eve.end.last("runs")["runs"] if run["id"] == "r1")
        assert (run["state"], run["reason"]) == ("failed", "its driver is gone")
        texts = [event["text"] for event in eve.end.last("events")["events"]]
        assert texts[-2:] == ["ada left (closed)", "calculator of ada: failed: its driver is gone"]
