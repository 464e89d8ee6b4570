"""Credentials for a TURN server that are good for a while, in coturn's REST form (``use-auth-secret``).

The user name is ``EXPIRY:SUBJECT`` (seconds since 1970), the password base64(HMAC-SHA-1(secret, user name)): the TURN
server checks both with the secret that it shares with us, and keeps no users.
"""

import base64
import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from mesh.errors import ValueFault
from mesh.limits import MAX_TURN_SECRET_BYTES, TURN_CREDENTIALS_S

_URL: Final = re.compile(r"turns?:(\[[0-9A-Fa-f:.]+\]|[^\s?:@/]+)(:\d{1,5})?(\?transport=(udp|tcp))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """TURN URLs (RFC 7065) and the secret of their servers; raises ValueFault for a URL that is none."""

    urls: Sequence[str]
    secret: bytes = field(repr=False)
    credentials_s: float = TURN_CREDENTIALS_S

    def __post_init__(self) -> None:
        for url in self.urls:
            if _URL.fullmatch(url) is None:
                raise ValueFault(f"--turn-url {url}: write turn:HOST[:PORT]?transport=udp, tcp, or turns:HOST[:PORT]")

    @classmethod
    def read(cls, path: Path, urls: Sequence[str]) -> Self:
        """With the secret in a file, which only its owner and group may read; raises ValueFault, without the secret."""
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                secret = file.read(MAX_TURN_SECRET_BYTES + 1).strip()
        except OSError as error:
            raise ValueFault(f"{path}: the TURN secret cannot be read: {error.strerror}") from None
        if os.name == "posix" and mode & 0o007:
            raise ValueFault(f"{path}: everybody on this machine can read this TURN secret; run chmod o= on it")
        if not secret:
            raise ValueFault(f"{path}: this file is empty; write the static-auth-secret of your TURN server into it")
        if len(secret) > MAX_TURN_SECRET_BYTES:
            raise ValueFault(f"{path}: a TURN secret has at most {MAX_TURN_SECRET_BYTES} bytes")
        return cls(urls=tuple(urls), secret=secret)

    def ice_server(self, subject: str, now: float) -> dict[str, Any]:
        """An entry of ``iceServers`` as browsers take it, with credentials for ``subject``."""
        username = f"{int(now + self.credentials_s)}:{subject}"
        mac = hmac.digest(self.secret, username.encode(), "sha1")
        return {"urls": list(self.urls), "username": username, "credential": base64.b64encode(mac).decode()}
