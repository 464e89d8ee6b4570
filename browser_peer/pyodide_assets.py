"""What Pyodide needs of ours beside the page: ``python browser_peer/pyodide_assets.py OUT``.

Writes OUT/mesh.zip, which has the modules of ``mesh`` that nodes need (the very files) and msgpack, and OUT/nodes.json,
the node types.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgpack

import mesh
from mesh.nodes import Registry, builtin

PACKAGE: Final = Path(mesh.__file__).parent
MODULES: Final = ("__init__.py", "errors.py", "ids.py", "limits.py", "values/*.py", "nodes/*.py")
WHEEL: Final = (  # msgpack in C for the Pyodide that package.json pins
    "msgpack==1.2.4 --hash=sha256:06a0657a4110d563255006b7cb7147432f67827144e429c2cdb1c967548d1817"
)
PLATFORM: Final = ("--platform", "pyemscripten_2026_0_wasm32", "--python-version", "314", "--abi", "cp314")


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out / "mesh.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*mesh_files(), *msgpack_files()]:
            # no date: the same sources make the same file
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    registry = Registry()
    # those of other modules need packages that this machine may have and Pyodide has not
    specs = [spec for spec in registry.specs() if registry.get(spec.node_type).__module__ == builtin.__name__]
    (out / "nodes.json").write_text(json.dumps([spec.to_json() for spec in specs]))


def mesh_files() -> Iterator[tuple[str, bytes]]:
    for pattern in MODULES:
        for path in sorted(PACKAGE.glob(pattern)):
            yield f"mesh/{path.relative_to(PACKAGE).as_posix()}", path.read_bytes()


def msgpack_files() -> Iterator[tuple[str, bytes]]:
    """The files of the wheel for Pyodide; of msgpack in plain Python, which is slower, where it cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(WHEEL)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*pip, "--only-binary=:all:", *PLATFORM, "--require-hashes", "-r", str(requirements), "-d", folder],
            capture_output=True,
            text=True,
        )
        for wheel in Path(folder).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                yield from ((name, archive.read(name)) for name in sorted(archive.namelist()))
                return
    print(f"msgpack for Pyodide cannot be had, so its plain Python is taken: {done.stderr.strip()}", file=sys.stderr)
    for path in sorted(Path(msgpack.__file__).parent.glob("*.py")):
        yield f"msgpack/{path.name}", path.read_bytes()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
