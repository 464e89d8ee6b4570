"""What two peers say to one another through a third, sealed and signed (docs/wire.md, 8).

The key of the seal comes from the room key and both ids: nobody outside the room reads it, and it fits no other pair.
The signature is by the sender's own key: the peer in between, which has the room key too, cannot speak for another.
Nonces come in as arguments.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mesh.errors import ProtocolError
from mesh.ids import PeerId, peer_id
from mesh.limits import MAX_SEALED_BYTES
from mesh.protocol.codec import REGISTRY

SEAL_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


def seal(
    data: Mapping[str, Any], *, key: Ed25519PrivateKey, sender: PeerId, to: PeerId, room_key: bytes, nonce: bytes
) -> bytes:
    """``nonce`` (12 fresh random bytes), then AES-256-GCM of public key, signature and ``data`` as JSON.

    Raises ProtocolError("too-large").
    """
    content = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    public = key.public_key().public_bytes_raw()
    signature = key.sign(_signed(sender, to, nonce, content))
    sealed = nonce + _cipher(room_key, sender, to).encrypt(nonce, public + signature + content, None)
    if len(sealed) > MAX_SEALED_BYTES:
        raise ProtocolError("too-large", f"{len(sealed)} bytes sealed; at most {MAX_SEALED_BYTES} are relayed")
    return sealed


def unseal(sealed: bytes, *, sender: PeerId, to: PeerId, room_key: bytes) -> dict[str, Any]:
    """The data; raises ProtocolError("bad-seal") where it was not sealed by that sender for that peer of the room."""
    nonce = sealed[:SEAL_NONCE_BYTES]
    try:
        plain = _cipher(room_key, sender, to).decrypt(nonce, sealed[SEAL_NONCE_BYTES:], None)
        public, signature = plain[:_KEY_BYTES], plain[_KEY_BYTES : _KEY_BYTES + _SIGNATURE_BYTES]
        content = plain[_KEY_BYTES + _SIGNATURE_BYTES :]
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(sender, to, nonce, content))
        data = json.loads(content)
    except (InvalidTag, InvalidSignature, ValueError, RecursionError):
        raise ProtocolError("bad-seal", f"what claims to be from {sender!r:.40} is not, or is not for {to}") from None
    if peer_id(public) != sender or not isinstance(data, dict):
        raise ProtocolError("bad-seal", f"{sender!r:.40} is not who sealed it, or it is no object")
    return data


def _cipher(room_key: bytes, sender: PeerId, to: PeerId) -> AESGCM:
    """The key for one direction between two peers: HKDF (RFC 5869) with SHA-256, without salt."""
    info = f"{REGISTRY['relay_label']}\n{sender}\n{to}".encode()
    return AESGCM(HKDF(SHA256(), _KEY_BYTES, salt=None, info=info).derive(room_key))


def _signed(sender: PeerId, to: PeerId, nonce: bytes, content: bytes) -> bytes:
    return f"{REGISTRY['relay_label']}\n{sender}\n{to}\n".encode() + nonce + content
