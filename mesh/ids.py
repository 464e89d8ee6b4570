"""The identifiers of the system, as types that cannot be mixed up, and how they are made."""

import hashlib
import re
import secrets
from typing import Final, NewType

from mesh.errors import ValueFault

PeerId = NewType("PeerId", str)  # 16 hex digits: the start of the SHA-256 of the peer's Ed25519 public key
PeerName = NewType("PeerName", str)  # what people call it; unique in its room
RunId = NewType("RunId", str)  # 12 hex digits, made by the driver
NodeId = NewType("NodeId", str)  # a vertex of the pipeline graph

DRIVER: Final = PeerName("driver")  # reserved: the peer that submits, in placements and receipts
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def peer_id(public_key: bytes) -> PeerId:
    """The id of the peer that holds the Ed25519 key whose 32 raw public bytes these are."""
    return PeerId(hashlib.sha256(public_key).hexdigest()[:16])


def new_run_id() -> RunId:
    """A run id that no other run has."""
    return RunId(secrets.token_hex(6))


def peer_name(text: str) -> PeerName:
    """``text`` as a peer name; raises ValueFault if it is none."""
    if not _NAME.fullmatch(text) or text == DRIVER:
        raise ValueFault(f"{text!r} is no peer name: write 1 to 64 of A-Z a-z 0-9 . _ - (and not 'driver')")
    return PeerName(text)
