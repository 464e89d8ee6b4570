"""The page, the node modules and the examples, read once into a table: a GET is a look-up, so no path leads outside."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mesh
from mesh.limits import MAX_GZIP_BYTES

TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".py": "text/x-python; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
    ".zip": "application/zip",
}
PACKED: Final = frozenset((".png", ".woff2", ".zip", ".whl"))  # compressing them again gains nothing
ENCODINGS: Final[Mapping[str, str]] = {"br": ".br", "gzip": ".gz"}  # in the order of preference
HASHED: Final = re.compile(r"/assets/.+-[A-Za-z0-9_-]{8}\.\w+")  # the bundler's names, which change with the content
_UNWANTED: Final = re.compile(r";\s*q=0(\.0*)?\s*$")
IMMUTABLE: Final = "public, max-age=31536000, immutable"
REVALIDATE: Final = "no-cache"

ASSETS: Final = Path(mesh.__file__).parent / "_assets"
EXAMPLES: Final = Path(mesh.__file__).parent.parent / "examples"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, in each encoding in which it can be sent (``""``: as it is)."""

    content_type: str
    cache_control: str
    etag: str
    bodies: Mapping[str, bytes]

    @classmethod
    def of(cls, path: str, body: bytes, packed: Mapping[str, bytes]) -> "Asset":
        suffix = Path(path).suffix
        bodies = {"": body, **packed}
        if "gzip" not in bodies and suffix not in PACKED and len(body) <= MAX_GZIP_BYTES:
            bodies["gzip"] = gzip.compress(body, mtime=0)
        return cls(
            TYPES.get(suffix, "application/octet-stream"),
            IMMUTABLE if HASHED.fullmatch(path) else REVALIDATE,
            hashlib.sha256(body).hexdigest()[:32],
            bodies,
        )

    def encoding_for(self, accept: str) -> str:
        """The best encoding that the header Accept-Encoding allows (RFC 9110, 12.5.3)."""
        parts = [part for part in accept.split(",") if not _UNWANTED.search(part)]
        wanted = {part.split(";")[0].strip() for part in parts}
        return next((each for each in ENCODINGS if each in self.bodies and each in wanted), "")


def read_assets() -> dict[str, Asset]:
    """Every path that can be asked for, without the rooms' ``/r/ROOM``, which show ``/``."""
    table = dict(_files(ASSETS / "page", ""))
    for path, page in (("/", "/index.html"), ("/dashboard", "/dashboard.html")):
        table[path] = table.get(page, _NOT_BUILT)
    table |= _files(ASSETS / "nodes", "/nodes")
    table |= _files(ASSETS / "examples" if (ASSETS / "examples").is_dir() else EXAMPLES, "/examples")
    for folder in ("/nodes", "/examples"):
        names = sorted(path.removeprefix(folder + "/") for path in table if path.startswith(folder + "/"))
        index = f"{folder}/index.json"
        table[index] = Asset.of(index, json.dumps(names).encode(), {})
    return table


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, Asset]]:
    files = {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
    variants = {path for path in files if path.suffix in ENCODINGS.values() and path.with_suffix("") in files}
    for path in files - variants:
        beside = {name: path.with_name(path.name + suffix) for name, suffix in ENCODINGS.items()}
        packed = {name: variant.read_bytes() for name, variant in beside.items() if variant in variants}
        url = f"{prefix}/{path.relative_to(folder).as_posix()}"
        yield url, Asset.of(url, path.read_bytes(), packed)


_NOT_BUILT: Final = Asset.of(
    "/index.html",
    b"<!doctype html><title>RemoteMedia Mesh</title><p>Signaling is up, but the page was not built: run <code>make demo"
    b"</code> in the checkout, or install the wheel that <code>make wheel</code> makes.",
    {},
)
