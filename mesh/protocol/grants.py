"""Who may enter a room, and how that is shown: room keys, grants, invites, peer keys (docs/wire.md, 7).

Time and randomness come in as arguments; everything here is deterministic.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mesh.errors import ProtocolError, ValueFault
from mesh.limits import MAX_GRANT_BYTES, MAX_INVITE_CHARS, MAX_NAME_CHARS

RIGHTS: Final = ("submit", "work", "watch")
KEY_BYTES: Final = 32
ENTROPY_BYTES: Final = 2 * KEY_BYTES
JOIN_LABEL: Final = "remotemedia-mesh join 1"

_LABEL: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}"
_LABELLED: Final = re.compile(_LABEL)
_ROOM: Final = re.compile(rf"{_LABEL}(~[0-9a-f]{{32}})?")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows: ``subject`` may do what ``can`` lists in ``room`` until ``expires`` (seconds since 1970)."""

    room: str
    subject: str
    can: frozenset[str]
    expires: int
    id: str


def room_id(label: str, owner_key: bytes) -> str:
    """The room that the holder of this owner key may call ``label``: ``label~HASH``, so any server can check it.

    HASH is the first half of the SHA-256 of the public key: 128 bits, too many to find a second key for.
    """
    if not _LABELLED.fullmatch(label):
        raise ValueFault(
            f"{label!r} is no room name: write 1 to 31 of A-Z a-z 0-9 . _ - and begin with a letter or digit"
        )
    return f"{label}~{hashlib.sha256(owner_key).hexdigest()[:32]}"


def is_room(text: str) -> bool:
    """Whether ``text`` has the form of a room id."""
    return _ROOM.fullmatch(text) is not None


def owns(owner_key: bytes, room: str) -> bool:
    """Whether ``room`` is a self-certifying id of this owner's key."""
    label, tilde, _ = room.partition("~")
    return bool(tilde) and is_room(room) and room_id(label, owner_key) == room


def mint(owner: Ed25519PrivateKey, *, room: str, subject: str, can: Iterable[str], ttl_s: float, now: float) -> str:
    """A grant as a JWT (RFC 7519, EdDSA of RFC 8037). Its id is a hash of its claims, so equal grants are one grant."""
    rights = sorted(set(can))
    if not rights or not set(rights) <= set(RIGHTS):
        raise ValueFault(f"a grant allows some of {', '.join(RIGHTS)}; got {', '.join(rights) or 'nothing'}")
    if not 1 <= len(subject) <= MAX_NAME_CHARS:
        raise ValueFault(f"the subject of a grant has 1 to {MAX_NAME_CHARS} characters")
    claims: dict[str, Any] = {"room": room, "sub": subject, "can": rights, "iat": int(now), "exp": int(now + ttl_s)}
    claims["jti"] = hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).hexdigest()[:16]
    return jwt.encode(claims, owner, algorithm="EdDSA")


def verify(token: str, *, owner_key: bytes, room: str | None, now: float) -> Grant:
    """The grant in ``token``; raises ProtocolError("bad-grant"): not the owner's, of another room, or expired."""
    if len(token) > MAX_GRANT_BYTES:
        raise _bad(f"it is longer than {MAX_GRANT_BYTES} bytes")
    try:
        key = Ed25519PublicKey.from_public_bytes(owner_key)
        claims = jwt.decode(token, key, algorithms=["EdDSA"], options=_OWN_CHECKS)
    except jwt.InvalidSignatureError:
        raise _bad("its signature is not by the owner of this room") from None
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _bad(f"it cannot be read: {error}") from None
    grant = _grant(claims)
    if room is not None and grant.room != room:
        raise _bad(f"it is for room {grant.room!r}, not for {room!r}")
    if grant.expires <= now:
        raise _bad(f"it expired {_ago(now - grant.expires)} ago; ask the room's owner for a new invite")
    return grant


# The library's clock and its rules for claims are not used: `now` is an argument, and every claim is checked in _grant.
_OWN_CHECKS: Final[Any] = {f"verify_{claim}": False for claim in ("exp", "iat", "nbf", "aud", "iss", "sub", "jti")}


def _grant(claims: Mapping[str, Any]) -> Grant:
    room, subject, can = claims.get("room"), claims.get("sub"), claims.get("can")
    expires, token_id = claims.get("exp"), claims.get("jti")
    if not isinstance(room, str) or not is_room(room):
        raise _bad("its claim 'room' is no room id")
    if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_NAME_CHARS:
        raise _bad(f"its claim 'sub' must be text of 1 to {MAX_NAME_CHARS} characters")
    if not isinstance(can, list) or not can or not all(right in RIGHTS for right in can):
        raise _bad(f"its claim 'can' must list some of {', '.join(RIGHTS)}")
    if type(expires) is not int:
        raise _bad("its claim 'exp' must be an integer")
    if not isinstance(token_id, str) or not 1 <= len(token_id) <= MAX_NAME_CHARS:
        raise _bad(f"its claim 'jti' must be text of 1 to {MAX_NAME_CHARS} characters")
    return Grant(room, subject, frozenset(can), expires, token_id)


def _bad(text: str) -> ProtocolError:
    return ProtocolError("bad-grant", f"the grant is refused: {text}")


def _ago(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} s"


def sign_join(key: Ed25519PrivateKey, room: str, nonce: str) -> str:
    """The ``signature`` of a ``join``: hex, over the room and the server's nonce (as hex, the way it came)."""
    return key.sign(_join_text(room, nonce)).hex()


def verify_join(public_key: bytes, room: str, nonce: str, signature: str) -> bool:
    """Whether ``signature`` shows that the joining peer holds the private half of ``public_key`` (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(signature), _join_text(room, nonce))
    except (InvalidSignature, ValueError):
        return False
    return True


def _join_text(room: str, nonce: str) -> bytes:
    return f"{JOIN_LABEL}\n{room}\n{nonce}".encode()


@dataclass(frozen=True, slots=True)
class Invite:
    """The URL that lets a peer in: where the room is, its key, its owner's public key, and a grant.

    The secrets stand behind the ``#``, which browsers do not send to servers.
    """

    server: str  # http(s)://host[:port]
    room: str
    room_key: bytes = field(repr=False)
    owner_key: bytes
    grant: str = field(repr=False)

    @property
    def url(self) -> str:
        secrets = f"k={to_base64url(self.room_key)}&o={to_base64url(self.owner_key)}&g={self.grant}"
        return f"{self.server}/r/{self.room}#{secrets}"

    @property
    def dashboard(self) -> str:
        """The page that watches the room."""
        return self.url.replace(f"/r/{self.room}#", f"/dashboard#r={self.room}&")

    @property
    def websocket(self) -> str:
        """Where the signaling of its server listens."""
        return f"ws{self.server.removeprefix('http')}/ws"

    @classmethod
    def parse(cls, url: str) -> "Invite":
        """Reads an invite; raises ValueFault that says which part is missing or wrong."""
        if len(url) > MAX_INVITE_CHARS:
            raise ValueFault(f"an invite has at most {MAX_INVITE_CHARS} characters")
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError as error:
            raise ValueFault(f"the invite is no URL: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or port == 0:
            raise ValueFault("an invite begins with http://HOST:PORT/r/ROOM or https://HOST/r/ROOM")
        secrets = dict(parse_qsl(parts.fragment))
        room = secrets.get("r", "") if parts.path == "/dashboard" else parts.path.removeprefix("/r/")
        if room == parts.path or not is_room(room) or parts.query:
            raise ValueFault(
                f"the invite's path must be /r/ROOM, not {parts.path!r}; what lets you in stands after the #"
            )
        room_key, owner_key = _invite_key(secrets, "k"), _invite_key(secrets, "o")
        grant = secrets.get("g", "")
        if not grant:
            raise ValueFault("the invite lacks g=GRANT after the #; was it copied as a whole, in quotes?")
        if len(grant) > MAX_GRANT_BYTES:
            raise ValueFault(f"the invite's grant is longer than {MAX_GRANT_BYTES} bytes")
        if "~" in room and not owns(owner_key, room):
            raise ValueFault("the invite's owner key (o=) does not belong to its room")
        return cls(f"{parts.scheme}://{parts.netloc}", room, room_key, owner_key, grant)


def _invite_key(secrets: Mapping[str, str], name: str) -> bytes:
    if name not in secrets:
        raise ValueFault(f"the invite lacks {name}=… after the #; was it copied as a whole, in quotes?")
    key = from_base64url(secrets[name], f"the invite's {name}=")
    if len(key) != KEY_BYTES:
        raise ValueFault(f"the invite's {name}= must be {KEY_BYTES} bytes in base64url")
    return key


@dataclass(frozen=True, slots=True)
class RoomKeys:
    """What the owner of a room holds: the key that its peers share, and the key pair that signs its grants."""

    room: str
    room_key: bytes = field(repr=False)
    owner: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def make(cls, label: str, entropy: bytes) -> "RoomKeys":
        """Keys of a new self-certifying room from ``ENTROPY_BYTES`` random bytes."""
        room_key, owner = cls._halves(entropy)
        return cls(room_id(label, _public(owner)), room_key, owner)

    @classmethod
    def registered(cls, room: str, entropy: bytes) -> "RoomKeys":
        """Keys of a room whose owner key the server itself knows, as it does for ``demo``: the id is just the name."""
        return cls(room, *cls._halves(entropy))

    @staticmethod
    def _halves(entropy: bytes) -> tuple[bytes, Ed25519PrivateKey]:
        if len(entropy) != ENTROPY_BYTES:
            raise ValueError(f"room keys are made of {ENTROPY_BYTES} random bytes")
        return entropy[:KEY_BYTES], Ed25519PrivateKey.from_private_bytes(entropy[KEY_BYTES:])

    @property
    def owner_key(self) -> bytes:
        """The public half, 32 bytes."""
        return _public(self.owner)

    def invite(self, *, server: str, subject: str, can: Iterable[str], ttl_s: float, now: float) -> Invite:
        """An invite with a fresh grant."""
        grant = mint(self.owner, room=self.room, subject=subject, can=can, ttl_s=ttl_s, now=now)
        return Invite(server, self.room, self.room_key, self.owner_key, grant)

    def save(self, path: Path) -> None:
        """Writes a new file that only its owner may read; raises ValueFault where there is one already."""
        content = {
            "room": self.room,
            "room_key": to_base64url(self.room_key),
            "owner_private_key": to_base64url(self.owner.private_bytes_raw()),
        }
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise ValueFault(f"{path}: the keys cannot be written: {error.strerror}") from None
        with open(descriptor, "w") as file:
            json.dump(content, file, indent=2)
            file.write("\n")

    @classmethod
    def load(cls, path: Path) -> "RoomKeys":
        """Reads what ``save`` wrote; raises ValueFault, also where others could have read it."""
        try:
            if os.name == "posix" and path.stat().st_mode & 0o077:
                raise ValueFault(f"{path}: others can read these keys; run chmod 600 {path}")
            content = json.loads(path.read_bytes())
            room = str(content["room"])
            entropy = from_base64url(content["room_key"], "it") + from_base64url(content["owner_private_key"], "it")
            keys = cls.registered(room, entropy)
        except OSError as error:
            raise ValueFault(f"{path}: the keys cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueFault(f"{path}: this is no file of room keys") from None
        if not is_room(room) or ("~" in room and not owns(keys.owner_key, room)):
            raise ValueFault(f"{path}: the room {room!r} does not belong to the keys in it")
        return keys


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def to_base64url(data: bytes) -> str:
    """RFC 4648, 5, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str, what: str) -> bytes:
    """The bytes; raises ValueFault that begins with ``what``."""
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise ValueFault(f"{what} is not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
