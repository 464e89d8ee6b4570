"""The proof of links and the fingerprints it covers, by tests/vectors/handshake.json, which the browser asserts too."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import HandshakeError, ProtocolError
from mesh.ids import PeerId, PeerName
from mesh.protocol.codec import REGISTRY, Hello, Proof, encode_frame
from mesh.protocol.fingerprint import canonical, fingerprint
from mesh.protocol.grants import Grant
from mesh.protocol.handshake import Handshake, Me, Role

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "handshake.json").read_text("utf-8"))
OTHER: dict[Role, Role] = {"offerer": "answerer", "answerer": "offerer"}


def verify(text: str) -> Grant:
    """Of the vectors: what begins with ``ok.`` is a grant."""
    if not text.startswith("ok."):
        raise ProtocolError("bad-grant", "not signed by the room's owner")
    return Grant(room="r", subject=text, can=frozenset({"work"}), expires=2**31, id="1")


def an_end(
    role: Role, *, room_key: bytes = bytes.fromhex(VECTORS["room_key"]), resume: bytes | None = None
) -> Handshake:
    mine, theirs = VECTORS["ends"][role], VECTORS["ends"][OTHER[role]]
    return Handshake(
        Me(PeerId(mine["peer"]), PeerName(mine["name"]), room_key, mine["grant"], verify),
        peer=PeerId(theirs["peer"]),
        role=role,
        local_fingerprint=bytes.fromhex(mine["fingerprint"]),
        remote_fingerprint=bytes.fromhex(theirs["fingerprint"]),
        session=bytes.fromhex(mine["session"]),
        resume=resume,
        nonce=bytes.fromhex(mine["nonce"]),
    )


@pytest.mark.parametrize("role", ["offerer", "answerer"])
def test_the_frames_of_a_proof(role: Role) -> None:
    end, other = an_end(role), OTHER[role]
    assert end.start().hex() == VECTORS["hello"][role]
    answer = end.receive(bytes.fromhex(VECTORS["hello"][other]))
    assert answer is not None
    assert answer.hex() == VECTORS["proof"][role]
    assert end.remote is None
    assert end.receive(bytes.fromhex(VECTORS["proof"][other])) is None
    theirs = VECTORS["ends"][other]
    assert end.remote is not None
    assert (end.remote.peer, end.remote.name) == (theirs["peer"], theirs["name"])
    assert end.remote.session.hex() == theirs["session"]
    assert not end.remote.resumed
    assert end.remote.grant.subject == theirs["grant"]


@pytest.mark.parametrize("vector", VECTORS["errors"], ids=[each["name"] for each in VECTORS["errors"]])
def test_what_is_no_proof_has_its_code(vector: dict[str, Any]) -> None:
    """As the offerer sees it."""
    end = an_end("offerer")
    *before, last = map(bytes.fromhex, vector["frames"])
    for frame in before:
        end.receive(frame)
    with pytest.raises(ProtocolError) as caught:
        end.receive(last)
    assert caught.value.code == vector["code"]
    assert vector["code"] in REGISTRY["errors"]
    assert end.remote is None


@pytest.mark.parametrize("vector", VECTORS["resume"], ids=[each["name"] for each in VECTORS["resume"]])
def test_a_session_is_resumed_where_both_know_both_its_ends(vector: dict[str, Any]) -> None:
    """``mine`` and ``theirs`` are the ends that the offerer and the answerer want to resume."""
    knows = {"offerer": vector["mine"], "answerer": vector["theirs"]}
    ends = {role: an_end(role, resume=knows[role] and bytes.fromhex(knows[role])) for role in OTHER}
    assert ends["offerer"].start().hex() == vector["hello"]
    proofs = {role: end.receive(ends[OTHER[role]].start()) for role, end in ends.items()}
    for role, end in ends.items():
        proof = proofs[OTHER[role]]
        assert proof is not None
        end.receive(proof)
        assert end.remote is not None
        assert end.remote.resumed == vector["resumed"]


def test_another_room_key_is_noticed_by_both() -> None:
    ends = an_end("offerer"), an_end("answerer", room_key=bytes(32))
    hellos = [end.start() for end in ends]
    proofs = [end.receive(hello) for end, hello in zip(ends, reversed(hellos), strict=True)]
    for end, proof in zip(ends, reversed(proofs), strict=True):
        assert proof is not None
        with pytest.raises(HandshakeError) as caught:
            end.receive(proof)
        assert caught.value.code == "bad-proof"


@pytest.mark.parametrize("vector", VECTORS["fingerprints"], ids=[each["name"] for each in VECTORS["fingerprints"]])
def test_a_fingerprint(vector: dict[str, Any]) -> None:
    assert fingerprint(vector["sdp"]).hex() == vector["hex"]
    assert canonical(vector["sdp"]) == vector["canonical"]


@pytest.mark.parametrize(
    "vector", VECTORS["fingerprint_errors"], ids=[each["name"] for each in VECTORS["fingerprint_errors"]]
)
def test_a_description_without_one_fingerprint_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(HandshakeError) as caught:
        fingerprint(vector["sdp"])
    assert caught.value.code == "bad-fingerprint"


@given(st.lists(st.binary(max_size=120) | st.builds(lambda body: encode_frame([Hello(body)]), st.binary(max_size=80))))
def test_random_frames_prove_nothing(frames: list[bytes]) -> None:
    end = an_end("answerer")
    for frame in frames:
        with pytest.raises(ProtocolError):
            end.receive(frame)
    assert end.remote is None


@given(st.binary(max_size=80))
def test_random_macs_prove_nothing(body: bytes) -> None:
    end = an_end("answerer")
    end.receive(bytes.fromhex(VECTORS["hello"]["offerer"]))
    with pytest.raises(ProtocolError):
        end.receive(encode_frame([Proof(body)]))
    assert end.remote is None


@given(st.text(max_size=200))
def test_a_canonical_description_stays_as_it_is(sdp: str) -> None:
    try:
        once = canonical(sdp)
    except HandshakeError:
        return
    assert canonical(once) == once
