"""The signaling server is killed within a stream, stays away while a worker is killed too, and comes back."""

from pathlib import Path

from processes import Room, mesh, results, until
from streams import Stream, pipeline, worker

from mesh import Peer

NUMBERS = range(1000)
RATHER_BEA = {"labels": {"name": "bea"}}
DOUBLE = {"id": "double", "node_type": "Multiply", "params": {"factor": 2}, "prefers": RATHER_BEA}
PLUS = {"id": "plus", "node_type": "Add", "params": {"addend": 1}}
WORKERS = {  # the only one for its type, but for dan, who can take bea's place
    "ada": ("aiortc", "Delay"),
    "bea": ("wrtc", "Multiply"),
    "cy": ("aiortc", "Add"),
    "dan": ("wrtc", "Multiply"),
}


def test_a_stream_outlives_the_server_and_then_a_worker(room: Room, tmp_path: Path) -> None:
    for name, (engine, node_type) in WORKERS.items():
        worker(room, name, "--engine", engine, "--allow", node_type, "--label", f"name={name}")
    path = pipeline(tmp_path, DOUBLE, PLUS, seconds=0.005)
    stream = Stream(room, path, NUMBERS)
    stream.take(100)
    room.server.kill()
    stream.take(200)
    lost = room.workers.pop("bea")
    lost.kill()
    lost.end()
    assert stream.take_all() == [2 * number + 1 for number in NUMBERS]
    receipt = stream.receipt()
    assert [epoch["placement"] for epoch in receipt["epochs"]] == [
        {"slow": ["ada"], "double": ["bea"], "plus": ["cy"]},
        {"slow": ["ada"], "double": ["dan"], "plus": ["cy"]},
    ]
    assert receipt["link_bytes"]["ada->dan"] > 0  # over links that were negotiated through the driver
    assert receipt["link_bytes"]["dan->cy"] > 0

    room.restart()
    until(lambda: room.clients() == len(room.workers), seconds=5)
    again = mesh("run", path, "--join", room.invites["submit"], "--input", "[1, 2, 3]")
    assert results(again) == [3, 5, 7]


async def test_a_driver_begins_a_run_while_the_server_is_away(room: Room) -> None:
    """It has links to both workers, and they have none to each other."""
    for name, engine in (("ada", "wrtc"), ("bea", "aiortc")):
        room.worker(name, "--engine", engine)
    nodes = [{**PLUS, "id": name, "placement": {"peer": name}} for name in ("ada", "bea")]
    async with Peer.join(room.invites["submit"]) as peer:
        for node in nodes:
            alone = peer.run({"version": "v1", "nodes": [node]}, [1])
            assert [result.value async for result in alone] == [2]
        room.server.kill()
        both = peer.run({"version": "v1", "nodes": nodes, "connections": [{"from": "ada", "to": "bea"}]}, range(100))
        assert [result.value async for result in both] == [number + 2 for number in range(100)]
    assert both.receipt is not None
    assert both.receipt["link_bytes"]["ada->bea"] > 0
