"""The proof that opens a link (docs/wire.md, 3): HELLO and PROOF each way, before anything else.

Sans-IO: nonces and the check of grants come in as arguments. ``start`` gives the first frame to send; every frame of
the control channel then goes to ``receive``, whose answer is to be sent, until ``remote`` is there.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgpack

from mesh.errors import HandshakeError, ProtocolError, ValueFault
from mesh.ids import PeerId, PeerName, peer_name
from mesh.limits import MAX_GRANT_BYTES
from mesh.protocol.codec import REGISTRY, Close, Hello, Proof, Record, decode_frame, encode_frame, unpack
from mesh.protocol.grants import Grant

type Role = Literal["offerer", "answerer"]

VERSION: Final[int] = REGISTRY["version"]
NONCE_BYTES: Final = 32
SESSION_BYTES: Final = 8
_FIELDS: Final = frozenset(("version", "peer", "name", "session", "nonce", "grant", "resume"))


@dataclass(frozen=True, slots=True)
class Me:
    """This peer, as links prove it. ``verify`` checks another peer's grant and raises ProtocolError("bad-grant")."""

    peer: PeerId
    name: PeerName
    room_key: bytes
    grant: str
    verify: Callable[[str], Grant]


@dataclass(frozen=True, slots=True)
class Remote:
    """The other peer, proven. ``session`` names its end. ``resumed``: both sides know both ends, and go on."""

    peer: PeerId
    name: PeerName
    grant: Grant
    session: bytes
    resumed: bool


@dataclass(frozen=True, slots=True)
class _End:
    """One end of the link, as the mac covers it."""

    peer: str
    grant: str
    nonce: bytes
    fingerprint: bytes


class Handshake:
    """One end's half of the proof. ``nonce`` is 32 fresh random bytes.

    ``session`` (8 bytes) names our end of the session: fresh random bytes too, or those of the session to resume, whose
    other end is ``resume``.
    """

    def __init__(
        self,
        me: Me,
        *,
        peer: PeerId,
        role: Role,
        local_fingerprint: bytes,
        remote_fingerprint: bytes,
        session: bytes,
        resume: bytes | None,
        nonce: bytes,
    ) -> None:
        self._me, self._peer, self._role = me, peer, role
        self._session, self._resume = session, resume
        self._local = _End(me.peer, me.grant, nonce, local_fingerprint)
        self._remote_fingerprint = remote_fingerprint
        self._hello: tuple[_End, Remote] | None = None
        self.remote: Remote | None = None

    def start(self) -> bytes:
        """The frame with our HELLO."""
        me = self._me
        fields = {
            "version": VERSION, "peer": me.peer, "name": me.name, "session": self._session,
            "nonce": self._local.nonce, "grant": me.grant, "resume": self._resume,
        }  # fmt: skip
        return encode_frame([Hello(msgpack.packb(fields))])

    def receive(self, frame: bytes) -> bytes | None:
        """Takes a frame of the control channel; the answer, if any, is to be sent.

        Raises HandshakeError, or ProtocolError for a frame that is none; the link must then be closed.
        """
        match decode_frame(frame):
            case [Hello(body)] if self._hello is None:
                self._hello = self._read_hello(body)
                return encode_frame([Proof(msgpack.packb({"mac": self._mac(self._role, self._hello[0])}))])
            case [Proof(body)] if self._hello is not None and self.remote is None:
                end, remote = self._hello
                other: Role = "answerer" if self._role == "offerer" else "offerer"
                if not hmac.compare_digest(_read_mac(body), self._mac(other, end)):
                    raise HandshakeError(
                        "bad-proof", "the other side has another room key, or another connection than this one"
                    )
                self.remote = remote
                return None
            case [Close(code, text)]:
                raise HandshakeError("refused", f"the other side says {code}: {text}")
            case records:
                raise HandshakeError("not-proven", f"{_names(records)} came before the proof")

    def _read_hello(self, body: bytes) -> tuple[_End, Remote]:
        fields = unpack(body, "bad-hello")
        version = fields.get("version", VERSION) if isinstance(fields, dict) else VERSION
        if type(version) is not int or version != VERSION:
            raise HandshakeError("bad-version", f"the other side speaks version {version!r:.40}, this one {VERSION}")
        match fields:
            case {
                "peer": str(peer), "name": str(name), "session": bytes(session), "nonce": bytes(nonce),
                "grant": str(grant), "resume": None | bytes() as resume,
            } if (
                fields.keys() == _FIELDS and len(session) == SESSION_BYTES and len(nonce) == NONCE_BYTES
                and (resume is None or len(resume) == SESSION_BYTES)
            ):  # fmt: skip
                pass
            case _:
                raise HandshakeError("bad-hello", "HELLO does not have its fields")
        if peer != self._peer:
            raise HandshakeError("wrong-peer", f"the other side is {peer[:16]!r}, not {self._peer!r}")
        if nonce == self._local.nonce:
            raise HandshakeError("bad-hello", "the nonce is our own")
        resumed = (session, resume) == (self._resume, self._session)
        remote = Remote(PeerId(peer), _read_name(name), self._read_grant(grant), session, resumed)
        return _End(peer, grant, nonce, self._remote_fingerprint), remote

    def _read_grant(self, grant: str) -> Grant:
        if len(grant) > MAX_GRANT_BYTES:
            raise HandshakeError("bad-grant", f"the grant is longer than {MAX_GRANT_BYTES} characters")
        try:
            return self._me.verify(grant)
        except ProtocolError as error:
            raise HandshakeError(error.code, str(error).removeprefix(f"{error.code}: ")) from None

    def _mac(self, prover: Role, remote: _End) -> bytes:
        """What the prover of that role owes (docs/wire.md, 3)."""
        offerer, answerer = (self._local, remote) if self._role == "offerer" else (remote, self._local)
        covered: list[Any] = [REGISTRY["link_label"], prover]
        for field in ("peer", "grant", "nonce", "fingerprint"):
            covered += (getattr(offerer, field), getattr(answerer, field))
        return hmac.digest(self._me.room_key, msgpack.packb(covered), "sha256")


def _read_name(name: str) -> PeerName:
    try:
        return peer_name(name)
    except ValueFault as fault:
        raise HandshakeError("bad-hello", str(fault)[:200]) from None


def _read_mac(body: bytes) -> bytes:
    match unpack(body, "bad-proof"):
        case {"mac": bytes(mac), **rest} if not rest:
            return mac
    raise HandshakeError("bad-proof", "PROOF does not have its fields")


def _names(records: list[Record]) -> str:
    return " and ".join(sorted({type(record).__name__.upper() for record in records}))
