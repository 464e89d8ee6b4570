"""Real workers are killed, or stand still, within a stream, and the stream goes on: every result once, in order."""

import re
import signal
import time
from pathlib import Path

import deadly_nodes
import pytest
from processes import Process, Room, calls_that_do_not_end
from receipts import adds_up
from streams import Stream, pipeline, worker

COUNT, BEFORE = 500, 100  # results in all, and before anything happens
NUMBERS = range(1000, 1000 + COUNT)
DOUBLE = {"id": "double", "node_type": "Multiply", "params": {"factor": 2}}


def doubled(numbers: range) -> list[int]:
    return [2 * number for number in numbers]


@pytest.mark.parametrize("engine", ["aiortc", "wrtc"])
def test_a_spare_worker_takes_over(room: Room, tmp_path: Path, engine: str) -> None:
    ada = worker(room, "ada", "--engine", engine)
    stream = Stream(room, pipeline(tmp_path, DOUBLE, seconds=0.02), NUMBERS)  # longer than the spare takes to start
    stream.take(BEFORE)
    worker(room, "bea", "--engine", engine)
    stall = stream.stall_after(ada.kill)
    print(f"{engine}: the stream flows again {stall:.2f} s after kill -9")
    assert stream.take_all() == doubled(NUMBERS)
    receipt = stream.receipt()
    assert receipt["seqs"] == {"done": COUNT, "filtered": 0, "failed": 0}
    first, second = receipt["epochs"]
    assert (first["epoch"], first["reason"], first["placement"]["double"]) == (1, "start", ["ada"])
    assert (second["epoch"], second["placement"]["double"]) == (2, ["bea"])
    assert second["reason"].startswith("ada was lost")
    assert receipt["replayed"] > 0


def test_state_goes_on_from_the_last_checkpoint(room: Room, tmp_path: Path) -> None:
    ada = worker(room, "ada")
    stream = Stream(room, pipeline(tmp_path, {"id": "count", "node_type": "Counter"}, seconds=0.02), NUMBERS)
    stream.take(BEFORE)
    worker(room, "bea")
    ada.kill()
    assert stream.take_all() == [{"count": count, "value": number} for count, number in enumerate(NUMBERS, 1)]
    assert 0 < stream.receipt()["replayed"] < 200  # it did not begin anew


def test_the_neighbour_of_a_lost_worker_goes_on(room: Room, tmp_path: Path) -> None:
    ada = worker(room, "ada", "--allow", "Multiply")
    worker(room, "bea", "--allow", "Delay")
    stream = Stream(room, pipeline(tmp_path, DOUBLE), NUMBERS)
    stream.take(BEFORE)
    worker(room, "cleo", "--allow", "Multiply")
    ada.kill()
    assert stream.take_all() == doubled(NUMBERS)
    receipt = stream.receipt()
    assert [epoch["placement"]["double"] for epoch in receipt["epochs"]] == [["ada"], ["cleo"]]
    adds_up(receipt, slow="bea", lost="ada", spare="cleo")


def test_a_worker_that_stood_still_is_waited_for_where_nobody_else_fits(room: Room, tmp_path: Path) -> None:
    ada = worker(room, "ada")
    stream = Stream(room, pipeline(tmp_path, DOUBLE), NUMBERS)
    stream.take(BEFORE)
    stand_still(ada, 5)
    assert stream.take_all() == doubled(NUMBERS)
    assert {str(epoch["placement"]) for epoch in stream.receipt()["epochs"]} == {"{'slow': ['ada'], 'double': ['ada']}"}


def test_a_worker_that_stood_still_is_fenced_off(room: Room, tmp_path: Path) -> None:
    ada = worker(room, "ada")
    numbers = range(1000)
    stream = Stream(room, pipeline(tmp_path, DOUBLE), numbers)
    stream.take(BEFORE)
    worker(room, "bea")
    stand_still(ada, 5)
    assert stream.take_all() == doubled(numbers)
    first, second = stream.receipt()["epochs"]
    assert (first["placement"]["double"], second["placement"]["double"]) == (["ada"], ["bea"])
    assert second["reason"].startswith("ada was suspected: nothing was heard")


@pytest.mark.long
def test_a_worker_whose_link_was_lost_while_it_stood_still_serves_again(room: Room, tmp_path: Path) -> None:
    ada = worker(room, "ada")
    numbers = range(1900)
    stream = Stream(room, pipeline(tmp_path, DOUBLE), numbers)
    stream.take(BEFORE)
    bea = worker(room, "bea")
    stand_still(ada, 20)
    bea.kill()  # so that the next plan needs ada again
    assert stream.take_all() == doubled(numbers)
    assert [epoch["placement"]["double"] for epoch in stream.receipt()["epochs"]] == [["ada"], ["bea"], ["ada"]]


def stand_still(process: Process, seconds: float) -> None:
    process.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.process.send_signal(signal.SIGCONT)


@pytest.mark.long
def test_a_worker_that_beats_but_does_not_get_on_is_replaced(room: Room, tmp_path: Path) -> None:
    """Twelve seconds, of which the lease takes six."""
    ada = worker(room, "ada")
    numbers = range(1000, 1200)
    stream = Stream(room, pipeline(tmp_path, DOUBLE, timeout_s=1), numbers)
    stream.take(BEFORE)
    worker(room, "bea")
    with calls_that_do_not_end(ada):
        assert stream.take_all() == doubled(numbers)
    first, second = stream.receipt()["epochs"]
    assert (first["placement"]["double"], second["placement"]["double"]) == (["ada"], ["bea"])
    assert re.match(
        r"ada is stuck: node '(slow|double)' stands still there at seq \d+: nothing was heard", second["reason"]
    )
    assert ada.process.poll() is None


def test_an_item_that_kills_its_workers_fails_and_no_other_does(room: Room, tmp_path: Path) -> None:
    names = ("ada", "bea", "cleo", "dora", "emma", "fay")
    workers = {name: worker(room, name, "--nodes", deadly_nodes.__file__) for name in names}
    numbers = range(1000, 1060)
    path = pipeline(tmp_path, {"id": "killer", "node_type": "kills"})
    stream = Stream(room, path, numbers, "--on-error", "continue")
    assert stream.take_all() == [2 * number for number in numbers if number != deadly_nodes.DEADLY]
    receipt = stream.receipt(code=1)
    assert receipt["seqs"] == {"done": len(numbers) - 1, "filtered": 0, "failed": 1}
    (error,) = receipt["errors"]
    died = [name for name, each in workers.items() if each.process.poll() is not None]
    assert len(died) == 4  # one with others on their way, three with it alone
    assert error["seq"] == 30
    assert error["cause"].startswith("peers were lost while it was alone in slow or killer: ")
    assert error["peer"] in died
