"""Sessions, by the traces of tests/vectors/session.json, which the browser asserts too, and by random traffic."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import ProtocolError
from mesh.limits import MAX_FRAME_BYTES, PROBE_S, SESSION_WINDOW_BYTES, SUSPECT_AFTER_S
from mesh.protocol.codec import Ack, Chunk, Lane, Ping, encode_frame
from mesh.protocol.session import Closed, Delivered, Event, Session

TRACES = json.loads((Path(__file__).parents[1] / "vectors" / "session.json").read_text("utf-8"))
LANES = {"control": Lane.CONTROL, "data": Lane.DATA}


def a_message(form: Any) -> bytes:
    return bytes.fromhex(form) if isinstance(form, str) else bytes([form["fill"]]) * form["length"]


def as_vector(event: Event) -> dict[str, str]:
    match event:
        case Delivered(lane, message):
            return {"lane": lane.name.lower(), "message": message.hex()}
        case Closed(code, text):
            return {"code": code, "text": text}


def frames_of(session: Session, lane: Lane) -> list[bytes]:
    frames = []
    expected = session.has_frame(lane)
    while (frame := session.next_frame(lane)) is not None:
        assert expected, "a frame where has_frame says that there is none"
        assert len(frame) <= MAX_FRAME_BYTES
        frames.append(frame)
        expected = session.has_frame(lane)
    return frames


def code_of(error: pytest.ExceptionInfo[ProtocolError]) -> str:
    return error.value.code


def take_step(session: Session, step: dict[str, Any]) -> None:
    match step:
        case {"send": lane, "message": form, "error": code}:
            with pytest.raises(ProtocolError) as caught:
                session.send(LANES[lane], a_message(form))
            assert code_of(caught) == code
        case {"send": lane, "message": form}:
            session.send(LANES[lane], a_message(form))
        case {"receive": lane, "hex": text, "now": now, "error": code}:
            with pytest.raises(ProtocolError) as caught:
                session.receive(LANES[lane], bytes.fromhex(text), now)
            assert code_of(caught) == code
        case {"receive": lane, "hex": text, "now": now, "events": events}:
            frame = bytes.fromhex(text) + bytes(step.get("zeros", 0))
            assert [as_vector(event) for event in session.receive(LANES[lane], frame, now)] == events
        case {"resume": now}:
            session.resume(now)
        case {"tick": now, "silent": silent}:
            assert session.tick(now) == silent
        case {"frames": lane, "hex": frames}:
            assert [frame.hex() for frame in frames_of(session, LANES[lane])] == frames
        case {"frames": lane, "count": count, "sha256": digest}:
            frames = frames_of(session, LANES[lane])
            assert (len(frames), hashlib.sha256(b"".join(frames)).hexdigest()) == (count, digest)
        case {"state": state}:
            check_state(session, state)
        case _:
            pytest.fail(f"no such step: {step}")


def check_state(session: Session, state: dict[str, Any]) -> None:
    actual: dict[str, Any] = {
        "deadline": pytest.approx(session.deadline),
        "settled": session.settled,
        "rtt": pytest.approx(session.rtt_s),
        "backlog": {name: session.backlog(lane) for name, lane in LANES.items()},
    }
    assert {name: actual[name] for name in state} == state


@pytest.mark.parametrize("trace", TRACES, ids=[trace["name"] for trace in TRACES])
def test_a_trace(trace: dict[str, Any]) -> None:
    session = Session(trace["now"])
    for step in trace["steps"]:
        take_step(session, step)


@pytest.mark.parametrize("seed", range(8))
def test_two_sessions_exchange_everything_once_and_in_order(seed: int) -> None:
    rnd = random.Random(seed)
    ends = (Session(0.0), Session(0.0))
    sent: dict[tuple[int, Lane], list[bytes]] = {(side, lane): [] for side in (0, 1) for lane in Lane}
    got: dict[tuple[int, Lane], list[bytes]] = {key: [] for key in sent}
    for key in sent:
        for _ in range(60):
            message = rnd.randbytes(rnd.choice([1, 5, 300, 20_000, 300_000]))
            sent[key].append(message)
            ends[key[0]].send(key[1], message)
    now = 0.0
    while not all(end.settled for end in ends):
        now += rnd.choice([0.001, 0.01, 0.02])
        assert now < 60
        for side, end in enumerate(ends):
            assert now < end.deadline or not end.tick(now)
            lane = rnd.choice(list(Lane))
            if (frame := end.next_frame(lane)) is not None:
                for event in ends[1 - side].receive(lane, frame, now):
                    assert isinstance(event, Delivered)
                    got[side, event.lane].append(event.message)
    assert got == sent


class Broken:
    """Two sessions over connections that break: frames wait on their lane, and those are gone with the connection."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.now = 0.0
        self.ends = (Session(0.0), Session(0.0))
        self.under_way: dict[tuple[int, Lane], list[bytes]] = {(side, lane): [] for side in (0, 1) for lane in Lane}
        self.got: dict[tuple[int, Lane], list[bytes]] = {key: [] for key in self.under_way}

    def step(self) -> None:
        self.now += self.rnd.choice([0.001, 0.01, 0.02])
        (side, lane), frames = self.rnd.choice(list(self.under_way.items()))
        end, other = self.ends[side], self.ends[1 - side]
        assert self.now < end.deadline or not end.tick(self.now)
        if frames and self.rnd.random() < 0.6:
            for event in other.receive(lane, frames.pop(0), self.now):
                assert isinstance(event, Delivered)
                self.got[side, event.lane].append(event.message)
        elif (frame := end.next_frame(lane)) is not None:
            frames.append(frame)

    def break_connection(self) -> None:
        for frames in self.under_way.values():
            frames.clear()
        for end in self.ends:
            end.resume(self.now)


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_lost_doubled_or_reordered_by_connections_that_break(seed: int) -> None:
    broken = Broken(seed)
    rnd = broken.rnd
    sent = {key: [rnd.randbytes(rnd.choice([1, 5, 300, 20_000, 90_000])) for _ in range(40)] for key in broken.got}
    for (side, lane), messages in sent.items():
        for message in messages:
            broken.ends[side].send(lane, message)
    for _ in range(20):
        for _ in range(rnd.choice([0, 3, 30, 90])):
            broken.step()
        broken.break_connection()
    while not all(end.settled for end in broken.ends):
        broken.step()
        assert broken.now < 120
    assert broken.got == sent


def test_numbers_of_messages_wrap_around() -> None:
    sender, receiver = Session(0.0), Session(0.0)
    for end in (sender._out, receiver._in):  # four thousand million messages would take a while
        end[Lane.CONTROL]._number = 0xFFFFFFFE
    for message in (b"a", b"b", b"c", b"d"):
        sender.send(Lane.CONTROL, message)
    frame = sender.next_frame(Lane.CONTROL)
    assert frame is not None
    events = receiver.receive(Lane.CONTROL, frame, 0.0)
    assert [event.message for event in events if isinstance(event, Delivered)] == [b"a", b"b", b"c", b"d"]
    receiver.tick(0.02)
    answer = receiver.next_frame(Lane.CONTROL)
    assert answer is not None
    assert encode_frame([Ack(2, 0)]) in answer
    sender.receive(Lane.CONTROL, answer, 0.03)
    assert sender.settled


def test_a_large_announcement_allocates_nothing() -> None:
    session = Session(0.0)
    session.receive(Lane.DATA, encode_frame([Chunk(0, 256 * 1024 * 1024, b"x", False)]), 0.0)
    assert session._in[Lane.DATA]._buffer.__sizeof__() < 1000


def test_a_peer_that_never_acknowledges_gets_one_window() -> None:
    session = Session(0.0)
    session.receive(Lane.CONTROL, encode_frame([Ack(0, 0)]), 0.0)
    for _ in range(12):
        session.send(Lane.DATA, bytes(1024 * 1024))
    assert sum(map(len, frames_of(session, Lane.DATA))) < SESSION_WINDOW_BYTES + 16 * 1024


@given(st.lists(st.tuples(st.sampled_from(Lane), st.binary(max_size=60)), max_size=20))
def test_random_frames_raise_nothing_but_protocol_errors(frames: list[tuple[Lane, bytes]]) -> None:
    session = Session(0.0)
    for lane, frame in frames:
        try:
            session.receive(lane, frame, 0.0)
        except ProtocolError:
            break


NUMBERS = st.integers(0, 3) | st.sampled_from([2**32 - 1, 256 * 1024 * 1024])
CHUNKS = st.builds(Chunk, NUMBERS, st.none() | NUMBERS, st.binary(max_size=4), st.booleans())


@given(st.lists(st.tuples(st.sampled_from(Lane), CHUNKS | st.builds(Ack, NUMBERS, NUMBERS)), max_size=40))
def test_nothing_grows_by_what_comes(records: list[tuple[Lane, Any]]) -> None:
    session = Session(0.0)
    received = 0
    for lane, record in records:
        received += len(getattr(record, "data", b""))
        try:
            session.receive(lane, encode_frame([record]), 0.0)
        except ProtocolError:
            break
    assert sum(len(inbound._buffer) for inbound in session._in.values()) <= received
    for lane in Lane:
        assert len(frames_of(session, lane)) <= 1


def test_a_probe_leaves_a_second_to_be_heard() -> None:
    session = Session(0.0)
    session.receive(Lane.CONTROL, encode_frame([Ping(1)]), 1.0)
    session.probe(1.5)
    assert session.deadline <= 1.5 + PROBE_S
    assert session.tick(1.5 + PROBE_S)
    session.receive(Lane.CONTROL, encode_frame([Ping(2)]), 2.0)
    assert not session.tick(2.0 + PROBE_S)


def test_suspicion_needs_three_seconds_without_any_frame() -> None:
    session = Session(0.0)
    now = 0.0
    while not session.tick(now):
        now = session.deadline
    assert now == pytest.approx(SUSPECT_AFTER_S)
