"""The fingerprint of a session description (RFC 8122): what a link's proof binds the DTLS certificates with.

Engines differ in how leniently they read a description, and a check is worth nothing where the engine reads something
else than the check did. So engines only ever get the canonical form of what comes from outside.
"""

import re
from typing import Final

from mesh.errors import HandshakeError

_BREAK: Final = re.compile(r"\r\n|\r|\n")
_PLAIN: Final = re.compile(r"[\x20-\x7e\r\n\t]*")
_ANY: Final = re.compile(r"a\s*=\s*fingerprint\b", re.IGNORECASE)
_ONE: Final = re.compile(r"a=fingerprint:([A-Za-z0-9-]+) ([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)")
_DIGEST_BYTES: Final = 32


def canonical(sdp: str) -> str:
    """``sdp`` with one kind of line break and only SHA-256 fingerprints: the proof covers no others."""
    if not _PLAIN.fullmatch(sdp):
        raise HandshakeError("bad-fingerprint", "the session description has characters beyond printable ASCII")
    lines = [line for line in _BREAK.split(sdp) if line and _hash_of(line) in (None, "sha-256")]
    return "".join(f"{line}\r\n" for line in lines)


def fingerprint(sdp: str) -> bytes:
    """The 32 bytes of the one SHA-256 fingerprint of ``sdp``; HandshakeError("bad-fingerprint") for none or several."""
    values = {line.split(" ")[1].upper() for line in _BREAK.split(canonical(sdp)) if _hash_of(line)}
    if len(values) != 1:
        raise HandshakeError(
            "bad-fingerprint", f"the session description has {len(values)} SHA-256 fingerprints, not one"
        )
    digest = bytes.fromhex(values.pop().replace(":", ""))
    if len(digest) != _DIGEST_BYTES:
        raise HandshakeError("bad-fingerprint", f"{len(digest)} bytes are no SHA-256 fingerprint")
    return digest


def _hash_of(line: str) -> str | None:
    """The hash function of a fingerprint line, None for any other line."""
    if not _ANY.match(line):
        return None
    match = _ONE.fullmatch(line)
    if match is None:
        raise HandshakeError("bad-fingerprint", f"{line!r} is no fingerprint")
    return match[1].lower()
