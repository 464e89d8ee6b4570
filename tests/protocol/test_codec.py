"""Frames, records and messages, by tests/vectors/frames.json, which the browser asserts too."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import ProtocolError
from mesh.limits import MAX_FRAME_BYTES
from mesh.protocol import codec, messages
from mesh.protocol.codec import REGISTRY, Lane, decode_frame, encode_frame

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text("utf-8"))
RECORDS = {"CHUNK": codec.Chunk, "ACK": codec.Ack, "PING": codec.Ping, "PONG": codec.Pong, "HELLO": codec.Hello,
           "PROOF": codec.Proof, "CLOSE": codec.Close, "RESUME": codec.Resume}  # fmt: skip
MESSAGES = {"START": messages.Start, "READY": messages.Ready, "REFUSED": messages.Refused, "CREDIT": messages.Credit,
            "ERROR": messages.Error, "STOP": messages.Stop, "STATS": messages.Stats,
            "STATS_REPLY": messages.StatsReply, "FAILED": messages.Failed,
            "CHECKPOINT": messages.Checkpoint, "UNREACHABLE": messages.Unreachable, "RELAY": messages.Relay,
            "PLAN": messages.Plan, "PLANNED": messages.Planned, "PREPARE": messages.Prepare, "CUT": messages.Cut,
            "STEP": messages.Step, "STATE": messages.State, "LEAVING": messages.Leaving,
            "PROGRESS": messages.Progress, "CANCEL": messages.Cancel, "SILENCE": messages.Silence,
            "PART": messages.Part}  # fmt: skip
LANES = {"control": Lane.CONTROL, "data": Lane.DATA}


def by_name(vectors: list[dict[str, Any]]) -> Callable[[Any], Any]:
    return pytest.mark.parametrize(
        "vector", vectors, ids=[str(each.get("name", index)) for index, each in enumerate(vectors)]
    )


def refusal(act: Callable[[], object]) -> str | None:
    """The code of the ProtocolError that ``act`` raises, None if it raises nothing; anything else fails the test."""
    try:
        act()
    except ProtocolError as error:
        return error.code
    return None


def a_record(fields: dict[str, Any]) -> codec.Record:
    values = {name: value for name, value in fields.items() if name != "type"}
    if fields["type"] == "RESUME":
        return codec.Resume(codec.Ack(*values["control"]), codec.Ack(*values["data"]))
    for name in ("data", "body"):
        if name in values:
            values[name] = bytes.fromhex(values[name])
    return RECORDS[fields["type"]](**values)


def a_message(fields: dict[str, Any]) -> messages.Message:
    values = {name: value for name, value in fields.items() if name != "type"}
    for name in ("payload", "sealed", "request", "answer"):
        if values.get(name) is not None:
            values[name] = bytes.fromhex(values[name])
    return MESSAGES[fields["type"]](**values)


def test_every_record_and_message_of_the_registry_has_its_class() -> None:
    assert set(RECORDS) == set(REGISTRY["records"])
    assert set(MESSAGES) == set(REGISTRY["messages"])


@by_name(VECTORS["frames"])
def test_a_frame_and_its_records(vector: dict[str, Any]) -> None:
    records = [a_record(fields) for fields in vector["records"]]
    decoded = decode_frame(bytes.fromhex(vector["hex"]))
    assert decoded == records
    assert [type(record) for record in decoded] == [type(record) for record in records]
    assert encode_frame(records).hex() == vector["hex"]


@by_name(VECTORS["errors"])
def test_a_malformed_frame_has_its_code(vector: dict[str, Any]) -> None:
    frame = bytes(vector["zeros"]) if "zeros" in vector else bytes.fromhex(vector["hex"])
    with pytest.raises(ProtocolError) as caught:
        decode_frame(frame)
    assert caught.value.code == vector["code"]
    assert vector["code"] in REGISTRY["errors"]


@by_name(VECTORS["messages"])
def test_a_message_and_its_bytes(vector: dict[str, Any]) -> None:
    message = a_message(vector["message"])
    decoded = messages.decode(LANES[vector["lane"]], bytes.fromhex(vector["hex"]))
    assert (type(decoded), decoded) == (type(message), message)
    assert messages.encode(message).hex() == vector["hex"]


@by_name(VECTORS["message_errors"])
def test_a_malformed_message_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        messages.decode(LANES[vector["lane"]], bytes.fromhex(vector["hex"]))
    assert caught.value.code == "bad-message"


@given(st.binary(max_size=600))
def test_random_bytes_are_a_frame_or_a_protocol_error(frame: bytes) -> None:
    code = refusal(lambda: decode_frame(frame))
    if code is None:
        assert decode_frame(encode_frame(decode_frame(frame))) == decode_frame(frame)
    else:
        assert code in REGISTRY["errors"]


@given(st.sampled_from(Lane), st.binary(max_size=200))
def test_random_bytes_are_a_message_or_a_protocol_error(lane: Lane, data: bytes) -> None:
    assert refusal(lambda: messages.decode(lane, data)) in (None, "bad-message")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(Lane), st.integers(0, 20), st.lists(VALUES, max_size=9))
def test_wrong_fields_are_a_protocol_error(lane: Lane, kind: int, fields: list[Any]) -> None:
    data = msgpack.packb([kind, *fields])
    code = refusal(lambda: messages.decode(lane, data))
    if code is None:
        assert messages.encode(messages.decode(lane, data)) == data
    else:
        assert code == "bad-message"


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=50), st.booleans()), min_size=1))
def test_what_is_encoded_is_decoded(chunks: list[tuple[int, bytes, bool]]) -> None:
    records = [codec.Chunk(number, len(data) if last else None, data, last) for number, data, last in chunks]
    frame = encode_frame(records)
    if len(frame) <= MAX_FRAME_BYTES:
        assert decode_frame(frame) == records


@pytest.mark.parametrize("told", [None, [1, 2], [1, 2, 3], [True, 2, True], [1, "2", True]])
def test_a_progress_that_makes_no_sense_is_refused(told: Any) -> None:
    assert messages.read_progress({"a": [1, 2, True]}) == {"a": (1, 2, True)}
    with pytest.raises(ProtocolError):
        messages.read_progress({"a": told})
