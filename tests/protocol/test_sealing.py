"""Sealed relays, by tests/vectors/sealing.json, which the browser asserts too."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import ProtocolError
from mesh.ids import PeerId, peer_id
from mesh.protocol.codec import REGISTRY
from mesh.protocol.grants import from_base64url
from mesh.protocol.sealing import seal, unseal

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sealing.json").read_text("utf-8"))
KEY = Ed25519PrivateKey.from_private_bytes(from_base64url(VECTORS["sender"]["jwk"]["d"], "d"))
ROOM_KEY = bytes.fromhex(VECTORS["room_key"])
SENDER, TO = PeerId(VECTORS["sender"]["peer"]), PeerId(VECTORS["to"])


@pytest.mark.parametrize("vector", VECTORS["sealed"], ids=lambda vector: vector["data"]["kind"])
def test_what_is_sealed_and_its_bytes(vector: dict[str, Any]) -> None:
    assert peer_id(KEY.public_key().public_bytes_raw()) == SENDER
    sealed = bytes.fromhex(vector["sealed"])
    assert unseal(sealed, sender=SENDER, to=TO, room_key=ROOM_KEY) == vector["data"]
    nonce = bytes.fromhex(VECTORS["nonce"])
    assert seal(vector["data"], key=KEY, sender=SENDER, to=TO, room_key=ROOM_KEY, nonce=nonce) == sealed


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_what_is_not_sealed_by_that_peer_for_this_one_is_refused(vector: dict[str, Any]) -> None:
    assert "bad-seal" in REGISTRY["errors"]
    with pytest.raises(ProtocolError, match="bad-seal"):
        unseal(
            bytes.fromhex(vector["sealed"]),
            sender=PeerId(vector["sender"]),
            to=PeerId(vector["to"]),
            room_key=bytes.fromhex(vector["room_key"]),
        )


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(sealed: bytes) -> None:
    with pytest.raises(ProtocolError, match="bad-seal"):
        unseal(sealed, sender=SENDER, to=TO, room_key=ROOM_KEY)


def test_what_is_too_large_to_relay_is_refused_by_its_sender() -> None:
    with pytest.raises(ProtocolError, match="too-large"):
        seal({"sdp": "x" * 70_000}, key=KEY, sender=SENDER, to=TO, room_key=ROOM_KEY, nonce=bytes(12))
