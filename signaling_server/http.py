"""Plain HTTP beside the WebSocket: who may ask, and what the answer is. Pure: a request in, a response out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from mesh.protocol.grants import is_room
from signaling_server.assets import Asset, read_assets

WEBSOCKET: Final = "/ws"
LOCAL_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1"))
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "connect-src 'self' ws: wss:",
        "worker-src 'self' blob:",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Site:
    """``origins`` may open WebSockets from other sites. A ``local`` server answers only to this machine's own names, so
    that no foreign name can be rebound to it (DNS rebinding).
    """

    assets: Mapping[str, Asset]
    origins: frozenset[str]
    local: bool

    @classmethod
    def read(cls, *, origins: Sequence[str], local: bool) -> "Site":
        return cls(read_assets(), frozenset(origin.rstrip("/") for origin in origins), local)

    def answer(
        self, request: Request, *, home: Callable[[], str] | None, health: Callable[[], Mapping[str, Any]]
    ) -> Response | None:
        """The response; None lets a WebSocket in. ``home`` says where ``/`` leads a browser, if anywhere."""
        path = unquote(request.path.partition("?")[0])
        host = _header(request, "Host")
        if self.local and not self._is_known(host):
            return _text(HTTPStatus.MISDIRECTED_REQUEST, f"This server does not answer to the name {host!r}.")
        if path == WEBSOCKET:
            return self._refuse_origin(request, host)
        if request.method not in ("GET", "HEAD"):
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not served; use GET.", Allow="GET, HEAD")
        if path in ("/healthz", "/readyz"):
            return _respond(HTTPStatus.OK, json.dumps(health()).encode(), {"Content-Type": "application/json"})
        if path == "/" and home is not None:
            return _text(HTTPStatus.FOUND, "The demo room is elsewhere.", Location=home())
        asset = self.assets.get("/" if is_room(path.removeprefix("/r/")) else path)
        if asset is None:
            return _text(
                HTTPStatus.NOT_FOUND, f"There is no {path} here; the page is at /, the dashboard at /dashboard."
            )
        return _send(asset, request)

    def _is_known(self, host: str) -> bool:
        name = _name(host)
        return name in LOCAL_NAMES or name in {_name(origin.partition("://")[2]) for origin in self.origins}

    def _refuse_origin(self, request: Request, host: str) -> Response | None:
        """Browsers say which page opens a WebSocket; pages of other sites may not, programs may."""
        origin = _header(request, "Origin")
        if not request.headers.get_all("Origin") or origin in self.origins or origin.partition("://")[2] == host:
            return None
        return _text(
            HTTPStatus.FORBIDDEN, f"Pages of {origin} may not connect; the operator allows them with --origin."
        )


def _header(request: Request, name: str) -> str:
    """Its value; empty where it is absent or stands there more than once."""
    values = request.headers.get_all(name)
    return values[0] if len(values) == 1 else ""


def _name(host: str) -> str:
    """The name in ``name:port``, empty where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # a bracket without its partner
        return ""


def _send(asset: Asset, request: Request) -> Response:
    encoding = asset.encoding_for(_header(request, "Accept-Encoding"))
    etag = f'"{asset.etag}{"-" if encoding else ""}{encoding}"'
    headers = {"Cache-Control": asset.cache_control, "ETag": etag, "Vary": "Accept-Encoding"}
    if etag in [each.strip().removeprefix("W/") for each in _header(request, "If-None-Match").split(",")]:
        return _respond(HTTPStatus.NOT_MODIFIED, b"", headers)
    headers["Content-Type"] = asset.content_type
    if encoding:
        headers["Content-Encoding"] = encoding
    body = asset.bodies[encoding]
    headers["Content-Length"] = str(len(body))
    return _respond(HTTPStatus.OK, b"" if request.method == "HEAD" else body, headers)


def _text(status: HTTPStatus, text: str, **headers: str) -> Response:
    plain = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
    return _respond(status, f"{text}\n".encode(), {**plain, **headers})


def _respond(status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> Response:
    every = {"Date": formatdate(usegmt=True), "Connection": "close"}
    if status is not HTTPStatus.NOT_MODIFIED:
        every["Content-Length"] = str(len(body))
    return Response(status, status.phrase, Headers({**every, **SECURITY_HEADERS, **headers}), body)
