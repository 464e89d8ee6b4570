"""A run whose plan gives a node several places, on one peer."""

import pytest

from mesh import Peer
from mesh.peer.peer import Planned

PIPELINE = {
    "version": "v1",
    "nodes": [
        {"id": "twice", "node_type": "Multiply", "params": {"factor": 2}},
        {"id": "count", "node_type": "Counter"},
    ],
    "connections": [{"from": "twice", "to": "count"}],
}


@pytest.fixture
def plan_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planner's answer, with three places for the stateless node: one in wasm, two in Python."""
    plan = Peer.plan

    async def with_replicas(self: Peer, *args: object, **options: object) -> Planned:
        planned = await plan(self, *args, **options)
        (step,) = planned.plan["steps"]
        places = [{"peer": self.id, "runtime": runtime} for runtime in ("wasm", "python", "python")]
        step["nodes"]["twice"]["on"] = places
        return planned

    monkeypatch.setattr(Peer, "plan", with_replicas)


@pytest.mark.usefixtures("plan_replicas")
async def test_three_replicas_give_what_one_gives_in_order() -> None:
    async with Peer.alone() as peer:
        run = peer.run(PIPELINE, range(200))
        values = [each.value async for each in run]
    assert values == [{"count": seq + 1, "value": 2 * seq} for seq in range(200)]
    assert run.receipt is not None
    assert run.receipt["node_ms"]["twice"]["count"] == 200
    assert run.receipt["epochs"][0]["placement"] == {"twice": ["driver"] * 3, "count": ["driver"]}
