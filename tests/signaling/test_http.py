"""Plain HTTP beside the WebSocket: what is served, with which headers, to whom."""

import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from signaling_server import assets
from signaling_server.assets import Asset, read_assets
from signaling_server.http import Site
from signaling_server.server import Config, serve

HTML = b"<!doctype html>" + b"<p>a page</p>" * 100


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    files = {
        "page/index.html": HTML,
        "page/dashboard.html": b"a dashboard",
        "page/assets/index-B1x_9-Zq.js": b"export {}" * 100,
        "page/assets/index-B1x_9-Zq.js.br": b"brotli",
        "page/pyodide/data.zip": b"PK",
        "nodes/basics.wasm": b"\0asm",
        "examples/calculator.yaml": b"version: v1",
        "examples/.hidden": b"",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.setattr(assets, "ASSETS", tmp_path)
    return Site.read(origins=("https://studio.example/",), local=True)


def ask(site: Site, path: str, *, method: str = "GET", home: str | None = None, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in {"Host": "127.0.0.1:8080", **headers}.items()}
    response = site.answer(
        Request(path, Headers(named), method), home=(lambda: home) if home else None, health=lambda: {"status": "ok"}
    )
    assert response is not None
    return response


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("/", "text/html; charset=utf-8", HTML),
        ("/r/demo", "text/html; charset=utf-8", HTML),
        ("/r/studio~0123456789abcdef0123456789abcdef", "text/html; charset=utf-8", HTML),
        ("/r/demo?x=1", "text/html; charset=utf-8", HTML),
        ("/dashboard", "text/html; charset=utf-8", b"a dashboard"),
        ("/assets/index-B1x_9-Zq.js", "text/javascript; charset=utf-8", b"export {}" * 100),
        ("/nodes/basics.wasm", "application/wasm", b"\0asm"),
        ("/nodes/index.json", "application/json", b'["basics.wasm"]'),
        ("/examples/calculator.yaml", "application/yaml", b"version: v1"),
        ("/examples/index.json", "application/json", b'["calculator.yaml"]'),
        ("/healthz", "application/json", b'{"status": "ok"}'),
        ("/readyz", "application/json", b'{"status": "ok"}'),
    ],
)
def test_what_is_served(site: Site, path: str, content_type: str, body: bytes) -> None:
    response = ask(site, path)
    assert (response.status_code, response.headers["Content-Type"], response.body) == (200, content_type, body)
    assert response.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/r/",
        "/r/..",
        "/r/a b",
        "/../limits.py",
        "/%2e%2e/limits.py",
        "/assets/",
        "/examples/.hidden",
        "//",
        "/demo",
    ],
)
def test_what_is_not(site: Site, path: str) -> None:
    response = ask(site, path)
    assert response.status_code == 404
    assert b"dashboard at /dashboard" in response.body


def test_every_answer_is_guarded(site: Site) -> None:
    for path in ("/", "/nope", "/healthz", "/nodes/basics.wasm"):
        headers = ask(site, path).headers
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_the_best_encoding(site: Site) -> None:
    script = "/assets/index-B1x_9-Zq.js"
    encodings: Mapping[str, str | None] = {
        "gzip, deflate, br": "br",
        "gzip": "gzip",
        "br;q=0, gzip": "gzip",
        "deflate": None,
        "": None,
    }
    for accepted, chosen in encodings.items():
        response = ask(site, script, Accept_Encoding=accepted)
        assert response.headers.get("Content-Encoding") == chosen
        assert response.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(ask(site, script, Accept_Encoding="gzip").body) == b"export {}" * 100
    assert ask(site, script, Accept_Encoding="br").body == b"brotli"
    assert "Content-Encoding" not in ask(site, "/pyodide/data.zip", Accept_Encoding="gzip").headers


def test_caching(site: Site) -> None:
    assert ask(site, "/assets/index-B1x_9-Zq.js").headers["Cache-Control"].endswith("immutable")
    page = ask(site, "/")
    assert page.headers["Cache-Control"] == "no-cache"
    again = ask(site, "/", If_None_Match=f'"other", {page.headers["ETag"]}')
    assert (again.status_code, again.body) == (304, b"")
    assert "Content-Length" not in again.headers
    assert ask(site, "/", If_None_Match=page.headers["ETag"], Accept_Encoding="gzip").status_code == 200


def test_head_and_other_methods(site: Site) -> None:
    head = ask(site, "/", method="HEAD")
    assert (head.status_code, head.body, head.headers["Content-Length"]) == (200, b"", str(len(HTML)))
    post = ask(site, "/", method="POST")
    assert (post.status_code, post.headers["Allow"]) == (405, "GET, HEAD")


def test_home(site: Site) -> None:
    response = ask(site, "/", home="/r/demo#k=1")
    assert (response.status_code, response.headers["Location"]) == (302, "/r/demo#k=1")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::2]", "["])
def test_a_foreign_name_is_no_good(site: Site, host: str) -> None:
    assert ask(site, "/", Host=host, home="/r/demo#k=1").status_code == 421
    assert ask(site, "/ws", Host=host).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:8080", "studio.example"])
def test_names_of_ones_own(site: Site, host: str) -> None:
    assert ask(site, "/dashboard", Host=host).status_code == 200


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        (None, True),
        ("http://127.0.0.1:8080", True),
        ("https://studio.example", True),
        ("http://127.0.0.1:9999", False),
        ("https://evil.example", False),
        ("null", False),
    ],
)
def test_origins_of_websockets(site: Site, origin: str | None, welcome: bool) -> None:
    headers = Headers({"Host": "127.0.0.1:8080", **({"Origin": origin} if origin else {})})
    response = site.answer(Request("/ws", headers), home=None, health=dict)
    assert (response is None) is welcome
    assert welcome or (response is not None and response.status_code == 403)


def test_headers_that_stand_there_twice(site: Site) -> None:
    headers = Headers({"Host": "127.0.0.1", "Origin": "http://127.0.0.1"})
    headers["Origin"] = "http://127.0.0.1"
    response = site.answer(Request("/ws", headers), home=None, health=dict)
    assert response is not None
    assert response.status_code == 403
    headers["Host"] = "127.0.0.1"
    response = site.answer(Request("/", headers), home=None, health=dict)
    assert response is not None
    assert response.status_code == 421


def test_without_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "ASSETS", tmp_path)
    monkeypatch.setattr(assets, "EXAMPLES", tmp_path)
    table = read_assets()
    assert b"make demo" in table["/"].bodies[""]
    assert b"make demo" in table["/dashboard"].bodies[""]


def test_large_files_are_not_compressed_at_start() -> None:
    assert "gzip" not in Asset.of("/a.wasm", bytes(2 * 1024 * 1024), {}).bodies


async def test_over_a_real_socket() -> None:
    import asyncio

    async with serve(Config(port=0)) as server:

        def get(path: str, **headers: str) -> tuple[int, bytes]:
            request = urllib.request.Request(server.url + path, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=5) as response:
                    return response.status, response.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()

        status, body = await asyncio.to_thread(get, "/healthz")
        assert (status, json.loads(body)["clients"]) == (200, 0)
        assert (await asyncio.to_thread(get, "/nope"))[0] == 404
        assert (await asyncio.to_thread(get, "/"))[0] == 200
        assert (await asyncio.to_thread(get, "/", Host="evil.example"))[0] == 421
        assert (await asyncio.to_thread(get, "/ws"))[0] == 426
